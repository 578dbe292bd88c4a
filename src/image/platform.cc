#include "image/platform.h"

#include <algorithm>
#include <map>

namespace gantry::image {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), ::tolower);
  return out;
}

constexpr std::string_view kArchitectures[] = {
    "386",    "amd64",    "arm",   "arm64",   "loong64", "mips",  "mipsle",
    "mips64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x", "wasm"};

bool known_architecture(const std::string& name) {
  return std::find(std::begin(kArchitectures), std::end(kArchitectures), name) !=
         std::end(kArchitectures);
}

// What an arm of this variant can run as well, the best first.
std::vector<std::string> runs(const Platform& platform) {
  if (platform.architecture != "arm") return {platform.variant};
  std::vector<std::string> out;
  for (char version = '8'; version >= '5'; --version)
    if (platform.variant.size() == 2 && version <= platform.variant[1])
      out.push_back(std::string("v") + version);
  return out;
}

}  // namespace

Platform host_platform() {
  Platform platform;
  platform.os = "linux";
#if defined(__x86_64__)
  platform.architecture = "amd64";
#elif defined(__aarch64__)
  platform.architecture = "arm64";
#elif defined(__riscv)
  platform.architecture = "riscv64";
#else
  platform.architecture = "unknown";
#endif
  return platform;
}

Platform normalized(Platform platform) {
  platform.os = lower(platform.os);
  platform.architecture = lower(platform.architecture);
  platform.variant = lower(platform.variant);
  if (platform.architecture == "x86_64" || platform.architecture == "x86-64")
    platform.architecture = "amd64";
  if (platform.architecture == "aarch64") platform.architecture = "arm64";
  if (platform.architecture == "i386") platform.architecture = "386";
  if (platform.architecture == "armhf") platform.architecture = "arm", platform.variant = "v7";
  if (platform.architecture == "armel") platform.architecture = "arm", platform.variant = "v6";
  std::string& variant = platform.variant;
  if (!variant.empty() && variant.front() >= '0' && variant.front() <= '9') variant.insert(0, "v");
  if (platform.architecture == "arm64" && variant == "v8") variant.clear();
  if (platform.architecture == "amd64" && variant == "v1") variant.clear();
  if (platform.architecture == "arm" && variant.empty()) variant = "v7";
  return platform;
}

Result<Platform> parse_platform(std::string_view text) {
  if (text.empty()) return host_platform();
  std::vector<std::string> parts;
  std::string_view rest = text;
  while (true) {
    size_t slash = std::min(rest.find('/'), rest.size());
    parts.emplace_back(rest.substr(0, slash));
    if (slash == rest.size()) break;
    rest.remove_prefix(slash + 1);
  }
  auto valid = [](const std::string& part) {
    return !part.empty() && part.find_first_not_of(
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
                                "()") == std::string::npos;
  };
  if (parts.size() > 3 || !std::all_of(parts.begin(), parts.end(), valid))
    return invalid(
        "\"{}\" is an invalid component of \"{}\": platform specifier component must match "
        "\"^[A-Za-z0-9_-]+$\": invalid argument",
        parts.back(), text);
  Platform platform = host_platform();
  if (parts.size() == 1) {
    Platform one = normalized({.architecture = parts[0]});
    if (known_architecture(one.architecture)) {
      platform.architecture = one.architecture;
      platform.variant = one.variant;
    } else if (lower(parts[0]) == "linux" || lower(parts[0]) == "windows") {
      platform.os = lower(parts[0]);
    } else {
      return invalid("\"{}\": unknown operating system or architecture: invalid argument", text);
    }
    return normalized(platform);
  }
  platform.os = parts[0].substr(0, parts[0].find('('));
  platform.architecture = parts[1];
  platform.variant = parts.size() == 3 ? parts[2] : "";
  return normalized(platform);
}

std::string to_string(const Platform& platform) {
  std::string out = platform.os + "/" + platform.architecture;
  return platform.variant.empty() ? out : out + "/" + platform.variant;
}

bool matches(const Platform& wanted, const Platform& offered) {
  Platform a = normalized(wanted);
  Platform b = normalized(offered);
  if (a.os != b.os || a.architecture != b.architecture) return false;
  std::vector<std::string> variants = runs(a);
  return std::find(variants.begin(), variants.end(), b.variant) != variants.end();
}

const Descriptor* choose(const std::vector<Descriptor>& manifests, const Platform& wanted) {
  Platform normal = normalized(wanted);
  for (const std::string& variant : runs(normal)) {
    for (const Descriptor& descriptor : manifests) {
      if (!descriptor.platform || descriptor.annotations.contains("vnd.docker.reference.type"))
        continue;
      Platform offered = normalized(*descriptor.platform);
      if (offered.os == normal.os && offered.architecture == normal.architecture &&
          offered.variant == variant)
        return &descriptor;
    }
  }
  return nullptr;
}

}  // namespace gantry::image

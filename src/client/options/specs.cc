#include "client/options/specs.h"

#include <arpa/inet.h>
#include <strings.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/fs.h"
#include "base/units.h"
#include "client/cli/flags.h"

namespace gantry::client {
namespace {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> out;
  for (size_t start = 0; start <= text.size();) {
    size_t end = std::min(text.find(separator, start), text.size());
    out.emplace_back(text.substr(start, end - start));
    start = end + 1;
  }
  return out;
}

bool is_device_mode(std::string_view text) {
  return !text.empty() && text.find_first_not_of("rwm") == text.npos;
}

}  // namespace

Result<json::object> parse_ulimit(std::string_view spec) {
  static constexpr std::string_view kNames[] = {
      "core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue", "nice",
      "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack"};
  size_t equals = spec.find('=');
  if (equals == spec.npos) return invalid("invalid ulimit argument: {}", spec);
  std::string_view name = spec.substr(0, equals);
  if (std::ranges::find(kNames, name) == std::end(kNames))
    return invalid("invalid ulimit type: {}", name);
  auto values = split(spec.substr(equals + 1), ':');
  if (values.size() > 2)
    return invalid("too many limit value arguments - {}, can only have up to two, `soft[:hard]`",
                   spec.substr(equals + 1));
  int64_t limits[2] = {0, 0};
  for (size_t i = 0; i < values.size(); ++i) TRY(set_signed(limits[i], values[i], 64));
  if (values.size() == 1) limits[1] = limits[0];
  if (limits[1] != -1 && (limits[0] == -1 || limits[0] > limits[1])) {
    if (limits[0] == -1)
      return invalid(
          "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: "
          "{}",
          limits[1]);
    return invalid("ulimit soft limit must be less than or equal to hard limit: {} > {}", limits[0],
                   limits[1]);
  }
  return json::object{{"Name", name}, {"Hard", limits[1]}, {"Soft", limits[0]}};
}

Result<json::object> parse_device(std::string_view spec) {
  auto parts = split(spec, ':');
  if (parts.size() > 3 || parts[0].empty())
    return invalid("invalid device specification: {}", spec);
  std::string permissions = "rwm", inside = parts[0];
  if (parts.size() == 3) {
    if (!is_device_mode(parts[2])) return invalid("bad mode specified: {}", parts[2]);
    inside = parts[1];
    permissions = parts[2];
  } else if (parts.size() == 2) {
    (is_device_mode(parts[1]) ? permissions : inside) = parts[1];
  }
  return json::object{
      {"PathOnHost", parts[0]}, {"PathInContainer", inside}, {"CgroupPermissions", permissions}};
}

Result<json::object> parse_restart(std::string_view spec) {
  json::object out{{"Name", ""}, {"MaximumRetryCount", 0}};
  if (spec.empty()) return out;
  auto parts = split(spec, ':');
  if (parts.size() > 2)
    return invalid("invalid restart policy format: maximum retry count must be an integer");
  if (parts[0].empty())
    return invalid("invalid restart policy format: no policy provided before colon");
  out["Name"] = parts[0];
  if (parts.size() == 2) {
    int64_t count = 0;
    if (!set_signed(count, parts[1], 32))
      return invalid("invalid restart policy format: maximum retry count must be an integer");
    out["MaximumRetryCount"] = count;
  }
  return out;
}

Result<json::object> parse_weight_device(std::string_view spec) {
  size_t colon = spec.find(':');
  if (colon == spec.npos || colon == 0) return invalid("bad format: {}", spec);
  if (!spec.starts_with("/dev/")) return invalid("bad format for device path: {}", spec);
  int64_t weight = 0;
  if (!set_signed(weight, spec.substr(colon + 1), 32) ||
      (weight != 0 && (weight < 10 || weight > 1000)))
    return invalid("invalid weight for device: {}", spec);
  return json::object{{"Path", spec.substr(0, colon)}, {"Weight", weight}};
}

Result<json::object> parse_rate_device(std::string_view spec) {
  size_t colon = spec.find(':');
  if (colon == spec.npos || colon == 0) return invalid("bad format: {}", spec);
  if (!spec.starts_with("/dev/")) return invalid("bad format for device path: {}", spec);
  auto rate = parse_ram_size(spec.substr(colon + 1));
  if (!rate)
    return invalid(
        "invalid rate for device: {}. The correct format is <device-path>:<number>[<unit>]. "
        "Number must be a positive integer. Unit is optional and can be kb, mb, or gb",
        spec);
  return json::object{{"Path", spec.substr(0, colon)}, {"Rate", *rate}};
}

Result<std::string> parse_add_host(std::string_view spec) {
  size_t at = spec.find_first_of(":=");
  if (at == spec.npos || at == 0) return invalid("bad format for add-host: \"{}\"", spec);
  std::string address(spec.substr(at + 1));
  if (address.starts_with('[') && address.ends_with(']'))
    address = address.substr(1, address.size() - 2);
  // "host-gateway" is the daemon's to resolve.
  if (address != "host-gateway" && !check_address(address))
    return invalid("invalid IP address in add-host: \"{}\"", address);
  return std::string(spec.substr(0, at)) + ":" + address;
}

Result<json::object> parse_gpus(std::string_view spec) {
  int64_t count = -1;
  if (spec != "all" && !set_signed(count, spec, 32))
    return invalid("invalid count ({}): value must be either \"all\" or an integer: invalid syntax",
                   spec);
  return json::object{{"Driver", ""},
                      {"Count", count},
                      {"DeviceIDs", nullptr},
                      {"Capabilities", json::array{json::array{"gpu"}}},
                      {"Options", json::object()}};
}

Status check_environment(std::string_view text) {
  if (text.empty() || text[0] == '=') return invalid("invalid environment variable: {}", text);
  return {};
}

Status check_stream(std::string_view text) {
  for (std::string_view name : {"stdin", "stdout", "stderr"})
    if (text.size() == name.size() && ::strncasecmp(text.data(), name.data(), name.size()) == 0)
      return {};
  return invalid("valid streams are STDIN, STDOUT and STDERR");
}

Status check_sysctl(std::string_view text) {
  static constexpr std::string_view kNames[] = {
      "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
      "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"};
  std::string_view name = text.substr(0, text.find('='));
  const bool known = std::ranges::find(kNames, name) != std::end(kNames) ||
                     name.starts_with("net.") || name.starts_with("fs.mqueue.");
  if (!known || name.size() == text.size()) return invalid("sysctl '{}' is not allowed", text);
  return {};
}

Status check_address(std::string_view text) {
  unsigned char bytes[16];
  const std::string copy(text);
  if (::inet_pton(AF_INET, copy.c_str(), bytes) == 1 ||
      ::inet_pton(AF_INET6, copy.c_str(), bytes) == 1)
    return {};
  return invalid("IP address is not correctly formatted: {}", text);
}

Status check_label(std::string_view text) {
  if (text.empty() || text[0] == '=') return invalid("invalid label '{}': empty name", text);
  return {};
}

Result<std::vector<std::string>> read_lines_file(const std::string& path, FileKind kind) {
  auto text = fs::read_file(path);
  if (!text) {
    if (text.error().kind() == ErrorKind::not_found)
      return not_found("open {}: no such file or directory", path);
    return std::move(text).error();
  }
  std::string_view rest = *text;
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
  std::vector<std::string> out;
  for (std::string& raw : split(rest, '\n')) {
    if (raw.ends_with('\r')) raw.pop_back();
    std::string line = raw.substr(std::min(raw.find_first_not_of(" \t"), raw.size()));
    if (line.empty() || line[0] == '#') continue;
    size_t equals = line.find('=');
    std::string name = line.substr(0, equals);
    if (name.empty()) return invalid("no variable name on line '{}'", line);
    if (name.find_first_of(" \t") != name.npos)
      return invalid("variable '{}' contains whitespaces", name);
    if (equals != line.npos || kind == FileKind::labels) {
      out.push_back(line);
    } else if (const char* value = ::getenv(name.c_str())) {
      out.push_back(name + "=" + value);
    }
  }
  return out;
}

Result<std::vector<std::string>> collect_environment(const std::vector<std::string>& files,
                                                     const std::vector<std::string>& flags) {
  std::vector<std::string> out;
  for (const std::string& file : files)
    for (std::string& line : TRY(read_lines_file(file, FileKind::environment)))
      out.push_back(std::move(line));
  for (const std::string& text : flags) {
    TRY(check_environment(text));
    if (text.find('=') != text.npos)
      out.push_back(text);
    else if (const char* value = ::getenv(text.c_str()))
      out.push_back(text + "=" + value);
    else
      out.push_back(text);  // removes the image's
  }
  return out;
}

json::object key_values(const std::vector<std::string>& pairs) {
  json::object out;
  for (const std::string& pair : pairs) {
    size_t equals = pair.find('=');
    out[pair.substr(0, equals)] = equals == pair.npos ? "" : pair.substr(equals + 1);
  }
  return out;
}

Status set_filter(void* list, std::string_view text) {
  if (!text.empty() && text.find('=') == text.npos)
    return invalid("bad format of filter (expected name=value)");
  if (!text.empty()) static_cast<std::vector<std::string>*>(list)->emplace_back(text);
  return {};
}

Result<std::string> filters_parameter(const std::vector<std::string>& filters) {
  if (filters.empty()) return std::string();
  json::object out;
  for (const std::string& filter : filters) {
    size_t equals = filter.find('=');
    if (equals == filter.npos) return invalid("bad format of filter (expected name=value)");
    std::string name = filter.substr(0, equals);
    std::ranges::transform(name, name.begin(), [](char c) {
      return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    });
    while (name.ends_with(' ')) name.pop_back();
    if (!out.contains(name)) out[name] = json::object();
    std::string value = filter.substr(equals + 1);
    while (value.ends_with(' ')) value.pop_back();
    out[name].as_object()[value] = true;
  }
  return json::serialize(out);
}

Result<std::string> parse_detach_keys(std::string_view spec) {
  if (spec.empty()) return std::string();
  std::string out;
  for (const std::string& key : split(spec, ',')) {
    if (key.size() == 1) {
      out += key;
      continue;
    }
    static constexpr std::string_view kMarks = "@[\\]^_";
    bool control = key.starts_with("ctrl-") && key.size() == 6;
    char letter = control ? key[5] : 0;
    if (control && letter >= 'a' && letter <= 'z')
      out += static_cast<char>(letter - 'a' + 1);
    else if (control && kMarks.find(letter) != kMarks.npos)
      out += static_cast<char>(letter & 0x1F);
    else if (key == "DEL" || (control && letter == '?'))
      out += '\x7F';
    else
      return invalid("invalid detach keys ({}): Unknown character: '{}'", spec, key);
  }
  return out;
}

ImageName split_image(std::string_view reference) {
  ImageName out;
  if (size_t at = reference.find('@'); at != reference.npos) {
    out.digest = reference.substr(at + 1);
    reference = reference.substr(0, at);
  }
  size_t colon = reference.rfind(':');
  if (colon != reference.npos && reference.find('/', colon) == reference.npos) {
    out.tag = reference.substr(colon + 1);
    reference = reference.substr(0, colon);
  }
  out.repository = reference;
  return out;
}

Status check_reference(std::string_view reference) {
  ImageName name = split_image(reference);
  auto bad = [] { return invalid("invalid reference format"); };
  if (name.repository.empty()) return bad();
  std::string_view path = name.repository;
  size_t slash = path.find('/');
  std::string_view domain = slash == path.npos ? "" : path.substr(0, slash);
  if (domain.find_first_of(".:") != domain.npos || domain == "localhost")
    path.remove_prefix(slash + 1);
  for (char c : path)
    if (c >= 'A' && c <= 'Z')
      return invalid("invalid reference format: repository name ({}{}) must be lowercase",
                     slash == std::string_view::npos ? "library/" : "", name.repository);
  for (const std::string& part : split(path, '/')) {
    auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    if (part.empty() || !alnum(part.front()) || !alnum(part.back())) return bad();
    for (char c : part)
      if (!alnum(c) && c != '.' && c != '_' && c != '-') return bad();
  }
  static constexpr std::string_view kTag =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
  if (name.tag.find_first_not_of(kTag) != name.tag.npos || name.tag.size() > 128 ||
      name.tag.starts_with('.') || name.tag.starts_with('-'))
    return bad();
  if (name.tag.empty() && reference.ends_with(':')) return bad();
  return {};
}

}  // namespace gantry::client

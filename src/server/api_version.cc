#include "server/api_version.h"

#include <charconv>

namespace gantry::server {
namespace {

// Takes a decimal number off the front of `text`.
std::optional<int> take_number(std::string_view& text) {
  int number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

}  // namespace

std::string ApiVersion::text() const { return fmt::format("{}.{}", major, minor); }

std::optional<ApiVersion> parse_version(std::string_view text) {
  ApiVersion version;
  auto major = take_number(text);
  if (!major || !text.starts_with('.')) return std::nullopt;
  text.remove_prefix(1);
  auto minor = take_number(text);
  if (!minor || !text.empty()) return std::nullopt;
  return ApiVersion{*major, *minor};
}

VersionedPath split_version(std::string_view path) {
  VersionedPath out;
  if (path.starts_with("/v")) {
    size_t end = std::min(path.find('/', 1), path.size());
    if (auto version = parse_version(path.substr(2, end - 2))) {
      out.version = *version;
      path.remove_prefix(end);
    }
  }
  out.path = path.empty() ? "/" : path;
  return out;
}

Status check_version(ApiVersion version) {
  if (version > kNewestVersion)
    return invalid("client version {} is too new. Maximum supported API version is {}",
                   version.text(), kNewestVersion.text());
  if (version < kOldestVersion)
    return invalid(
        "client version {} is too old. Minimum supported API version is {}, please upgrade your "
        "client to "
        "a newer version",
        version.text(), kOldestVersion.text());
  return {};
}

}  // namespace gantry::server

// Versions of the Engine API, "1.51": the prefix of a path, and what this server speaks.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry::server {

struct ApiVersion {
  int major = 0;
  int minor = 0;
  auto operator<=>(const ApiVersion&) const = default;
  std::string text() const;
};

inline constexpr ApiVersion kNewestVersion{1, 51};
inline constexpr ApiVersion kOldestVersion{1, 24};

// "1.51"; nothing for other forms.
std::optional<ApiVersion> parse_version(std::string_view text);

// A path without its "/v1.51"; `version` is the newest one when there was no such prefix.
struct VersionedPath {
  ApiVersion version = kNewestVersion;
  std::string path;
};
VersionedPath split_version(std::string_view path);

// Docker's words for a version that is too new or too old (`invalid`).
Status check_version(ApiVersion version);

}  // namespace gantry::server

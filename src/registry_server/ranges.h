// The header fields that name parts of a body. Pure functions on outside bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace gantry::registry_server {

struct ByteRange {
  uint64_t first = 0;
  uint64_t last = 0;  // inclusive
  uint64_t size() const { return last - first + 1; }
};

// "Range: bytes=…" for a body of `size` bytes (RFC 9110, 14). `whole`: absent, another unit, more
// than one range, or malformed, which a server is to ignore.
enum class RangeKind { whole, part, unsatisfiable };
struct RangeRequest {
  RangeKind kind = RangeKind::whole;
  ByteRange range;
};
RangeRequest parse_range(std::string_view value, uint64_t size);

// "Content-Range: 0-99" of a chunk, as the distribution specification has it; "bytes 0-99/100" is
// understood as well. Errors: invalid.
Result<ByteRange> parse_content_range(std::string_view value);

// Whether a list of entity tags (If-None-Match, If-Match) names this one; "*" names all.
bool matches_etag(std::string_view list, std::string_view etag);

// Digits only, no sign; nothing when there are others or too many.
std::optional<uint64_t> parse_number(std::string_view text);

}  // namespace gantry::registry_server

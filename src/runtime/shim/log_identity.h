// Which file of a log a file is, whatever its name has become, and also once it has been
// compressed: a compressed one carries the identity of what it was made from in a field of its gzip
// header (RFC 1952, 2.3.1.1, subfield "GL").
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry::shim {

// Inode numbers are used again, so the time of birth (statx(2)) belongs to it; 0 where the file
// system has none.
struct LogIdentity {
  uint64_t inode = 0;
  int64_t born = 0;  // ns since the epoch
  bool operator==(const LogIdentity&) const = default;
};

// `path.N` is the N-th newest rotated file, `path.N.gz` the same compressed. Of the two, the plain
// one counts: the other is on its way in or out.
inline constexpr std::string_view kCompressedSuffix = ".gz";

Result<LogIdentity> identity_of(int fd);
// The header's extra field, and what the field of a compressed file says; nothing when it is of
// somebody else's making.
std::string identity_field(const LogIdentity& identity);
Result<std::optional<LogIdentity>> compressed_identity(int fd);

}  // namespace gantry::shim

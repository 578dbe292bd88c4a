#include "runtime/shim/log_identity.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/sys.h"

namespace gantry::shim {
namespace {

constexpr size_t kPayload = 16, kField = 4 + kPayload;
constexpr size_t kFixedHeader = 10;     // before the length of the extra field
constexpr unsigned char kHasExtra = 4;  // FLG.FEXTRA

void put_number(std::string& out, uint64_t value) {
  for (int i = 0; i < 8; ++i, value >>= 8) out += static_cast<char>(value);
}
uint64_t number(const char* p) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(p[i]);
  return value;
}

}  // namespace

Result<LogIdentity> identity_of(int fd) {
  struct statx found;
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &found) == -1)
    return error_from_errno(errno, "statx");
  LogIdentity identity{found.stx_ino, 0};
  if (found.stx_mask & STATX_BTIME)
    identity.born = found.stx_btime.tv_sec * 1'000'000'000 + found.stx_btime.tv_nsec;
  return identity;
}

std::string identity_field(const LogIdentity& identity) {
  std::string field = {'G', 'L', static_cast<char>(kPayload), 0};
  put_number(field, identity.inode);
  put_number(field, static_cast<uint64_t>(identity.born));
  return field;
}

Result<std::optional<LogIdentity>> compressed_identity(int fd) {
  char head[kFixedHeader + 2 + kField];
  size_t got = TRY(sys::pread(fd, head, sizeof head, 0));
  const char* field = head + kFixedHeader + 2;
  if (got < sizeof head || head[0] != '\x1f' || head[1] != '\x8b' || !(head[3] & kHasExtra) ||
      head[kFixedHeader] != static_cast<char>(kField) || head[kFixedHeader + 1] != 0 ||
      field[0] != 'G' || field[1] != 'L' || field[2] != static_cast<char>(kPayload))
    return std::optional<LogIdentity>();
  return std::optional<LogIdentity>(
      LogIdentity{number(field + 4), static_cast<int64_t>(number(field + 12))});
}

}  // namespace gantry::shim

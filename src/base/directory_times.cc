#include "base/directory_times.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstring>

#include "base/byte_source.h"
#include "base/sys.h"
#include "base/tree_walk.h"

namespace gantry {

Result<DirectoryTimes> DirectoryTimes::create(int scratch) {
  UniqueFd file = TRY(sys::openat(scratch, ".", O_RDWR | O_TMPFILE, 0600));
  return DirectoryTimes(std::move(file));
}

Status DirectoryTimes::add(const std::string& path, timespec mtime) {
  uint32_t length = static_cast<uint32_t>(path.size());
  buffer_.append(reinterpret_cast<const char*>(&mtime), sizeof mtime);
  buffer_.append(reinterpret_cast<const char*>(&length), sizeof length);
  buffer_ += path;
  if (buffer_.size() < kFlushAt) return {};
  TRY(sys::write_all(file_.get(), buffer_));
  buffer_.clear();
  return {};
}

Status DirectoryTimes::apply(int root) {
  TRY(sys::write_all(file_.get(), buffer_));
  buffer_.clear();
  if (::lseek(file_.get(), 0, SEEK_SET) == -1) return error_from_errno(errno, "lseek");
  FdSource source(file_.get());
  for (;;) {
    char head[sizeof(timespec) + sizeof(uint32_t)];
    size_t got = TRY(read_full(source, head));
    if (got == 0) return {};
    timespec mtime;
    uint32_t length;
    std::memcpy(&mtime, head, sizeof mtime);
    std::memcpy(&length, head + sizeof mtime, sizeof length);
    std::string path(length, '\0');
    TRY(read_full(source, std::span<char>(path)));
    UniqueFd directory;
    if (path.empty()) {
      directory = TRY(sys::openat(root, ".", kOpenDirectory));
    } else {
      Result<UniqueFd> opened =
          sys::openat2(root, path, kOpenDirectory, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
      if (!opened) continue;  // replaced by a later member
      directory = opened.release();
    }
    const timespec times[2] = {mtime, mtime};
    if (::futimens(directory.get(), times) == -1) return errno_error(errno, "futimens {}", path);
  }
}

}  // namespace gantry

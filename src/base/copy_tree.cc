#include "base/copy_tree.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>

#include "base/fs.h"
#include "base/sys.h"

namespace gantry::fs {
namespace {

constexpr int kMaxDepth = 512;  // an open descriptor a level

void copy_xattrs(int from, int to) {
  std::array<char, 65536> names;
  ssize_t size = ::flistxattr(from, names.data(), names.size());
  for (ssize_t at = 0; at < size;) {
    const char* name = names.data() + at;
    at += static_cast<ssize_t>(std::strlen(name)) + 1;
    if (std::string_view(name).starts_with("trusted.overlay.")) continue;
    std::array<char, 65536> value;
    ssize_t length = ::fgetxattr(from, name, value.data(), value.size());
    if (length >= 0) (void)::fsetxattr(to, name, value.data(), static_cast<size_t>(length), 0);
  }
}

Status copy_attributes(int to, const struct stat& st) {
  if (::fchown(to, st.st_uid, st.st_gid) == -1) return error_from_errno(errno, "chown");
  TRY(sys::fchmod(to, st.st_mode & 07777));
  timespec times[2] = {st.st_atim, st.st_mtim};
  if (::futimens(to, times) == -1) return error_from_errno(errno, "utimens");
  return {};
}

Status copy_file(int source_dir, int target_dir, const std::string& name, const struct stat& st) {
  UniqueFd from = TRY(sys::openat(source_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  UniqueFd to = TRY(sys::openat(target_dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600));
  off_t left = st.st_size;
  while (left > 0) {
    ssize_t moved = sys::retry([&] {
      return ::copy_file_range(from.get(), nullptr, to.get(), nullptr, static_cast<size_t>(left),
                               0);
    });
    if (moved == -1 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP))
      moved = sys::retry(
          [&] { return ::sendfile(to.get(), from.get(), nullptr, static_cast<size_t>(left)); });
    if (moved == -1) return errno_error(errno, "copy {}", name);
    if (moved == 0) break;
    left -= moved;
  }
  copy_xattrs(from.get(), to.get());
  return copy_attributes(to.get(), st);
}

Status copy_special(int source_dir, int target_dir, const std::string& name,
                    const struct stat& st) {
  if (S_ISLNK(st.st_mode)) {
    std::string link = TRY(sys::readlinkat(source_dir, name));
    TRY(sys::symlinkat(link, target_dir, name));
  } else if (S_ISSOCK(st.st_mode)) {
    return {};
  } else {
    TRY(sys::mknodat(target_dir, name, st.st_mode, st.st_rdev));
    TRY(sys::fchmodat(target_dir, name, st.st_mode & 07777));
  }
  return sys::fchownat(target_dir, name, st.st_uid, st.st_gid);
}

Status copy_level(int source, int target, int depth) {
  if (depth > kMaxDepth) return invalid("directories nested deeper than {}", kMaxDepth);
  std::vector<std::string> names = TRY(list_directory(source));
  for (const std::string& name : names) {
    struct stat st = TRY(sys::fstatat(source, name));
    if (S_ISDIR(st.st_mode)) {
      UniqueFd from = TRY(sys::openat(source, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      TRY(sys::mkdirat(target, name, 0700));
      UniqueFd to = TRY(sys::openat(target, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      TRY(copy_level(from.get(), to.get(), depth + 1).context("{}", name));
    } else if (S_ISREG(st.st_mode)) {
      TRY(copy_file(source, target, name, st));
    } else {
      TRY(copy_special(source, target, name, st));
    }
  }
  struct stat st = TRY(sys::fstat(source));
  copy_xattrs(source, target);
  return copy_attributes(target, st);
}

}  // namespace

Status copy_tree(int source, int target) { return copy_level(source, target, 0); }

}  // namespace gantry::fs

#include "base/tree_archive.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "base/sys.h"
#include "base/tree_walk.h"
#include "base/unique_fd.h"

namespace gantry {
namespace {

constexpr size_t kPieceSize = 256u << 10;

}  // namespace

Status TreeArchiver::add(const std::string& path, int directory, const std::string& name) {
  std::optional<struct stat> st = TRY(stat_entry(directory, name));
  if (!st || S_ISSOCK(st->st_mode)) return {};
  tar::Entry entry;
  entry.path = path;
  entry.mode = st->st_mode & 07777;
  entry.uid = st->st_uid;
  entry.gid = st->st_gid;
  entry.mtime = st->st_mtim;
  if (!S_ISDIR(st->st_mode) && st->st_nlink > 1) {
    auto [known, fresh] = links_.try_emplace({st->st_dev, st->st_ino}, path);
    if (!fresh) {
      entry.type = tar::Type::hardlink;
      entry.link = known->second;
      return writer_.begin(entry);
    }
  }
  switch (st->st_mode & S_IFMT) {
    case S_IFLNK: {
      entry.type = tar::Type::symlink;
      Result<std::string> link = sys::readlinkat(directory, name);
      if (!link && (is_gone(link.error()) || link.error().code() == EINVAL)) return {};
      entry.link = TRY(std::move(link));
      break;
    }
    case S_IFCHR:
    case S_IFBLK:
      entry.type = S_ISCHR(st->st_mode) ? tar::Type::char_device : tar::Type::block_device;
      entry.major = major(st->st_rdev);
      entry.minor = minor(st->st_rdev);
      break;
    case S_IFIFO:
      entry.type = tar::Type::fifo;
      break;
    case S_IFDIR:
      entry.type = tar::Type::directory;
      break;
    default:
      return add_file(entry, directory, name);
  }
  if (S_ISDIR(st->st_mode)) {
    Result<UniqueFd> fd = sys::openat(directory, name, kOpenDirectory);
    if (!fd) return is_gone(fd.error()) ? Status() : Status(std::move(fd).error());
    TRY(read_xattrs(fd->get(), entry));
  }
  return writer_.begin(entry);
}
Status TreeArchiver::add_whiteout(const std::string& path) {
  size_t slash = path.rfind('/');
  tar::Entry entry;
  entry.path = slash == std::string::npos
                   ? ".wh." + path
                   : path.substr(0, slash + 1) + ".wh." + path.substr(slash + 1);
  return writer_.begin(entry);
}

// O_NONBLOCK: what was a file a moment ago may be a FIFO now.
Status TreeArchiver::add_file(tar::Entry& entry, int directory, const std::string& name) {
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  Result<UniqueFd> opened = sys::openat(directory, name, kFlags);
  if (!opened && (is_gone(opened.error()) || opened.error().code() == ENXIO)) return {};
  UniqueFd file = TRY(std::move(opened));
  struct stat st = TRY(sys::fstat(file.get()));
  if (!S_ISREG(st.st_mode)) return {};
  entry.size = static_cast<uint64_t>(st.st_size);
  TRY(read_xattrs(file.get(), entry));
  TRY(writer_.begin(entry));
  buffer_.resize(kPieceSize);
  for (uint64_t left = entry.size; left > 0;) {
    size_t part = static_cast<size_t>(std::min<uint64_t>(left, buffer_.size()));
    size_t got = TRY(sys::read(file.get(), buffer_.data(), part));
    if (got == 0) {  // it shrank while being read: the header promised more
      std::fill_n(buffer_.begin(), part, '\0');
      got = part;
    }
    TRY(writer_.write({buffer_.data(), got}));
    left -= got;
  }
  return {};
}
Status TreeArchiver::read_xattrs(int fd, tar::Entry& entry) {
  xattr_names_.resize(64u << 10);  // XATTR_LIST_MAX
  ssize_t size = ::flistxattr(fd, xattr_names_.data(), xattr_names_.size());
  if (size == -1 && errno == EOPNOTSUPP) return {};
  if (size == -1) return errno_error(errno, "flistxattr {}", entry.path);
  if (size == 0) return {};
  buffer_.resize(kPieceSize);
  static_assert(kPieceSize >= 64u << 10);  // XATTR_SIZE_MAX
  const char* end = xattr_names_.data() + size;
  for (const char* name = xattr_names_.data(); name < end; name += std::strlen(name) + 1) {
    if (std::string_view(name).starts_with("trusted.overlay.")) continue;
    ssize_t length = ::fgetxattr(fd, name, buffer_.data(), buffer_.size());
    if (length == -1 && errno != ENODATA)  // it went meanwhile
      return errno_error(errno, "fgetxattr {} {}", entry.path, name);
    if (length >= 0)
      entry.xattrs.emplace_back(name, std::string(buffer_.data(), static_cast<size_t>(length)));
  }
  return {};
}

Status write_subtree(int parent, const std::string& name, const std::string& rename,
                     ByteSink& out) {
  TreeArchiver archive(out);
  struct stat st = TRY(sys::fstatat(parent, name));
  TRY(archive.add(rename, parent, name));
  if (S_ISDIR(st.st_mode)) {
    Result<UniqueFd> root = sys::openat(parent, name, kOpenDirectory);
    if (!root && !is_gone(root.error())) return std::move(root).error();
    const std::string prefix = rename.ends_with('/') ? rename : rename + "/";
    auto enter = [&](const TreeEntry& entry) -> Result<Descend> {
      TRY(archive.add(prefix + entry.path, entry.directory, entry.name));
      return Descend::yes;
    };
    if (root) TRY(walk_tree(root->get(), enter));
  }
  return archive.finish();
}

Status write_tree(int root, ByteSink& out) {
  TreeArchiver archive(out);
  auto enter = [&](const TreeEntry& entry) -> Result<Descend> {
    TRY(archive.add(entry.path, entry.directory, entry.name));
    return Descend::yes;
  };
  TRY(walk_tree(root, enter));
  return archive.finish();
}

}  // namespace gantry

#include "drivers/graph/unpack.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cstring>

#include "base/directory_times.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/tar.h"
#include "drivers/graph/layer_tree.h"
#include "drivers/graph/member.h"
#include "drivers/graph/tar_split.h"

namespace gantry::drivers {
namespace {

struct Place {
  std::shared_ptr<LayerTree::Directory> directory;
  std::string name;
  int fd() const { return directory->fd.get(); }
  std::string path() const { return directory->path.empty() ? name : directory->path + "/" + name; }
};

class Unpacker {
 public:
  Unpacker(ByteSource& archive, const UnpackTarget& target, DirectoryTimes times)
      : target_(target),
        reader_(archive, target.recorder),
        tree_(target.root, target.lower,
              [this](int fd, const std::string& path) { return left_out(fd, path); }),
        times_(std::move(times)) {}

  Result<Unpacked> run() {
    TRY(start_root());
    for (;;) {
      std::optional<tar::Entry> entry = TRY(reader_.next());
      if (!entry) break;
      TRY(member(*entry).context("layer member \"{}\"", entry->path.substr(0, 256)));
    }
    TRY(reader_.finish());
    TRY(times_.apply(target_.root));
    return Unpacked{size_, root_opaque_, depends_};
  }

 private:
  Status start_root();
  Status left_out(int fd, const std::string& path);
  Status member(const tar::Entry& entry);
  Result<Place> place_of(const std::string& path);
  Status whiteout(const Place& place, const std::string& name);
  Status create(const tar::Entry& entry, const Place& place);
  Status create_directory(const tar::Entry& entry, const Place& place, bool was_whiteout);
  Status create_file(const tar::Entry& entry, const Place& place);
  Status create_hardlink(const tar::Entry& entry, const Place& place);
  Status create_special(const tar::Entry& entry, const Place& place);
  Status write_contents(int fd, const tar::Entry& entry);
  Status displace(int directory, const std::string& name, const struct stat& st);
  Status keep_file(int directory, const std::string& name, const struct stat& st);
  Status set_directory(int fd, const tar::Entry& entry);
  Status set_by_fd(int fd, const tar::Entry& entry);
  Status set_xattrs(const std::string& path, const tar::Entry& entry);

  const UnpackTarget& target_;
  tar::Reader reader_;
  LayerTree tree_;
  DirectoryTimes times_;
  uint64_t size_ = 0;
  bool root_opaque_ = false;
  bool depends_ = false;
  bool warned_xattr_ = false;
};

Status Unpacker::start_root() {
  TRY(sys::fchmod(target_.root, 0755));
  return left_out(target_.root, "");
}

Status Unpacker::left_out(int fd, const std::string& path) {
  if (!target_.parents) return {};
  if (::fsetxattr(fd, kParentXattr, "", 0, 0) == -1)
    return errno_error(errno, "fsetxattr {}", kParentXattr);
  return target_.parents->write({path.c_str(), path.size() + 1});
}

Result<Place> Unpacker::place_of(const std::string& path) {
  size_t slash = path.rfind('/');
  std::shared_ptr<LayerTree::Directory> directory =
      TRY(tree_.make_directory(slash == std::string::npos ? "" : path.substr(0, slash)));
  return Place{std::move(directory), path.substr(slash == std::string::npos ? 0 : slash + 1)};
}

Status Unpacker::member(const tar::Entry& entry) {
  Member member = TRY(classify(entry));
  switch (member.what) {
    case Member::What::nothing:
      return {};
    case Member::What::root:
      TRY(set_directory(target_.root, entry));
      return times_.add("", entry.mtime);
    case Member::What::opaque: {
      std::shared_ptr<LayerTree::Directory> directory = TRY(tree_.make_directory(member.path));
      if (!directory->path.empty()) return make_opaque(directory->fd.get());
      root_opaque_ = true;
      return {};
    }
    case Member::What::whiteout: {
      Place place = TRY(place_of(member.path));
      return whiteout(place, place.name);
    }
    case Member::What::file:
      break;
  }
  Place place = TRY(place_of(member.path));
  return create(entry, place);
}

// Hides what is below only: what this archive itself brought stays, whichever came first.
Status Unpacker::whiteout(const Place& place, const std::string& name) {
  std::optional<struct stat> st = TRY(stat_entry(place.fd(), name));
  if (!st) {
    std::string path = place.path();
    if (target_.whiteouts) TRY(target_.whiteouts->write({path.c_str(), path.size() + 1}));
    return make_whiteout(place.fd(), name);
  }
  if (!S_ISDIR(st->st_mode)) return {};
  UniqueFd directory = TRY(sys::openat(place.fd(), name, kOpenDirectory));
  return make_opaque(directory.get());
}

Status Unpacker::create(const tar::Entry& entry, const Place& place) {
  std::optional<struct stat> st = TRY(stat_entry(place.fd(), place.name));
  bool is_directory = entry.type == tar::Type::directory;
  bool was_whiteout = st && is_whiteout(*st);
  if (st && entry.type == tar::Type::hardlink &&
      tar::clean_path(entry.link) == tar::clean_path(entry.path))
    return {};  // a link to itself, as some writers make
  if (st && !(is_directory && S_ISDIR(st->st_mode))) {
    TRY(displace(place.fd(), place.name, *st));
  }
  switch (entry.type) {
    case tar::Type::directory:
      return create_directory(entry, place, was_whiteout);
    case tar::Type::regular:
      return create_file(entry, place);
    case tar::Type::hardlink:
      return create_hardlink(entry, place);
    default:
      return create_special(entry, place);
  }
}

Status Unpacker::create_directory(const tar::Entry& entry, const Place& place, bool was_whiteout) {
  if (::mkdirat(place.fd(), place.name.c_str(), 0700) == -1 && errno != EEXIST)
    return error_from_errno(errno, "mkdir");
  UniqueFd directory = TRY(sys::openat(place.fd(), place.name, kOpenDirectory));
  if (was_whiteout) TRY(make_opaque(directory.get()));
  TRY(set_directory(directory.get(), entry));
  return times_.add(place.path(), entry.mtime);
}

Status Unpacker::create_file(const tar::Entry& entry, const Place& place) {
  UniqueFd file =
      TRY(sys::openat(place.fd(), place.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  if (target_.recorder && !entry.extents && entry.size > 0) {
    struct stat st = TRY(sys::fstat(file.get()));
    TRY(target_.recorder->reference(place.path(), st.st_ino, entry.size));
  }
  TRY(write_contents(file.get(), entry));
  TRY(set_by_fd(file.get(), entry));
  const timespec times[2] = {entry.mtime, entry.mtime};
  if (::futimens(file.get(), times) == -1) return error_from_errno(errno, "futimens");
  return {};
}

Status Unpacker::write_contents(int fd, const tar::Entry& entry) {
  size_ += reader_.payload_size();
  if (!entry.extents) {
    for (;;) {
      std::string_view piece = TRY(reader_.payload());
      if (piece.empty()) return {};
      TRY(sys::write_all(fd, piece));
    }
  }
  TRY(sys::ftruncate(fd, static_cast<off_t>(entry.size)));
  std::string_view piece;
  for (tar::Extent extent : *entry.extents) {
    while (extent.size > 0) {
      if (piece.empty()) piece = TRY(reader_.payload());
      size_t part = static_cast<size_t>(std::min<uint64_t>(extent.size, piece.size()));
      TRY(sys::pwrite_all(fd, piece.substr(0, part), static_cast<off_t>(extent.offset)));
      piece.remove_prefix(part);
      extent.offset += part;
      extent.size -= part;
    }
  }
  return {};
}

Status Unpacker::create_hardlink(const tar::Entry& entry, const Place& place) {
  std::optional<std::string> target = tar::clean_path(entry.link);
  if (!target || target->empty())
    return invalid("the hard link's target \"{}\" is outside of the layer", entry.link);
  size_t slash = target->rfind('/');
  std::string name = target->substr(slash == std::string::npos ? 0 : slash + 1);
  Result<std::shared_ptr<LayerTree::Directory>> found =
      tree_.find_directory(slash == std::string::npos ? "" : target->substr(0, slash));
  std::optional<struct stat> st;
  if (found) st = TRY(stat_entry((*found)->fd.get(), name));
  if (target_.known == Lower::unknown && (!st || is_whiteout(*st))) {
    depends_ = true;  // a link below may lead to it
    return {};
  }
  std::shared_ptr<LayerTree::Directory> directory =
      TRY(std::move(found).context("hard link to \"{}\"", entry.link));
  if (!st || is_whiteout(*st))
    return invalid("hard link to \"{}\", which is not in this layer", entry.link);
  if (S_ISDIR(st->st_mode)) return invalid("hard link to the directory \"{}\"", entry.link);
  return sys::linkat(directory->fd.get(), name, place.fd(), place.name);
}

Status Unpacker::create_special(const tar::Entry& entry, const Place& place) {
  if (entry.type == tar::Type::symlink) {
    if (entry.link.empty()) return invalid("a symbolic link to nothing");
    TRY(sys::symlinkat(entry.link, place.fd(), place.name));
  } else {
    mode_t type = entry.type == tar::Type::fifo          ? S_IFIFO
                  : entry.type == tar::Type::char_device ? S_IFCHR
                                                         : S_IFBLK;
    dev_t device = entry.type == tar::Type::fifo ? 0 : makedev(entry.major, entry.minor);
    TRY(sys::mknodat(place.fd(), place.name, type | 0600, device));
  }
  TRY(sys::fchownat(place.fd(), place.name, entry.uid, entry.gid));
  if (entry.type != tar::Type::symlink) TRY(sys::fchmodat(place.fd(), place.name, entry.mode));
  TRY(set_xattrs(fmt::format("/proc/self/fd/{}/{}", place.fd(), place.name), entry));
  const timespec times[2] = {entry.mtime, entry.mtime};
  if (::utimensat(place.fd(), place.name.c_str(), times, AT_SYMLINK_NOFOLLOW) == -1)
    return error_from_errno(errno, "utimensat");
  return {};
}

// The last member of a name says how it is: nothing of an earlier one stays.
Status Unpacker::set_directory(int fd, const tar::Entry& entry) {
  if (target_.parents && ::fremovexattr(fd, kParentXattr) == -1 && errno != ENODATA)
    return errno_error(errno, "fremovexattr {}", kParentXattr);
  TRY(clear_xattrs(fd));
  return set_by_fd(fd, entry);
}

// chown first: it takes set-id bits and file capabilities away.
Status Unpacker::set_by_fd(int fd, const tar::Entry& entry) {
  if (::fchown(fd, entry.uid, entry.gid) == -1) return error_from_errno(errno, "fchown");
  TRY(sys::fchmod(fd, entry.mode));
  if (entry.xattrs.empty()) return {};
  return set_xattrs(fmt::format("/proc/self/fd/{}", fd), entry);
}

// `path` goes through a descriptor of ours and at most one further component that was just created.
Status Unpacker::set_xattrs(const std::string& path, const tar::Entry& entry) {
  bool by_descriptor = entry.type == tar::Type::regular || entry.type == tar::Type::directory;
  for (const auto& [name, value] : entry.xattrs) {
    int result = by_descriptor
                     ? ::setxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0)
                     : ::lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0);
    if (result == 0) continue;
    // The file system stores no such attribute, or (user.*) not on this kind of file.
    bool tolerated = errno == EOPNOTSUPP || (errno == EPERM && name.starts_with("user."));
    if (!tolerated) return errno_error(errno, "setxattr {}", name);
    if (!std::exchange(warned_xattr_, true))
      log::warn("layer member \"{}\": the file system does not keep the attribute {}", entry.path,
                name);
  }
  return {};
}

// What the recorder referred to must stay readable: it moves to the scratch directory.
Status Unpacker::keep_file(int directory, const std::string& name, const struct stat& st) {
  if (!target_.recorder || !S_ISREG(st.st_mode) || st.st_size == 0)
    return sys::unlinkat(directory, name);
  std::string kept = std::to_string(st.st_ino);
  if (::renameat2(directory, name.c_str(), target_.scratch, kept.c_str(), RENAME_NOREPLACE) == 0)
    return {};
  if (errno != EEXIST) return error_from_errno(errno, "rename into the scratch directory");
  return sys::unlinkat(directory, name);  // another link to it is kept already
}

Status Unpacker::displace(int directory, const std::string& name, const struct stat& st) {
  if (!S_ISDIR(st.st_mode)) {
    if (S_ISLNK(st.st_mode)) tree_.forget();
    return keep_file(directory, name, st);
  }
  tree_.forget();
  struct Level {
    UniqueFd fd;
    std::vector<std::string> names;
    std::string name;
  };
  std::vector<Level> levels;
  auto descend = [&](int parent, const std::string& child) -> Status {
    UniqueFd fd = TRY(sys::openat(parent, child, kOpenDirectory));
    std::vector<std::string> names = TRY(fs::list_directory(fd.get()));
    levels.push_back({std::move(fd), std::move(names), child});
    return {};
  };
  TRY(descend(directory, name));
  while (!levels.empty()) {
    Level& level = levels.back();
    if (level.names.empty()) {
      std::string done = std::move(level.name);
      levels.pop_back();
      TRY(sys::unlinkat(levels.empty() ? directory : levels.back().fd.get(), done, AT_REMOVEDIR));
      continue;
    }
    std::string child = std::move(level.names.back());
    level.names.pop_back();
    int fd = level.fd.get();
    struct stat child_stat = TRY(sys::fstatat(fd, child));
    if (S_ISDIR(child_stat.st_mode)) {
      TRY(descend(fd, child));
    } else {
      TRY(keep_file(fd, child, child_stat));
    }
  }
  return {};
}

}  // namespace

Result<Unpacked> unpack_layer(ByteSource& archive, const UnpackTarget& target) {
  DirectoryTimes times = TRY(DirectoryTimes::create(target.scratch));
  Unpacker unpacker(archive, target, std::move(times));
  return unpacker.run();
}

}  // namespace gantry::drivers

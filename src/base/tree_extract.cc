#include "base/tree_extract.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/directory_times.h"
#include "base/fs.h"
#include "base/sys.h"
#include "base/tar.h"
#include "base/tree_walk.h"

namespace gantry {
namespace {

class Extractor {
 public:
  Extractor(Beneath root, std::string path, ByteSource& archive, const ExtractOptions& options,
            DirectoryTimes times)
      : root_(std::move(root)),
        path_(std::move(path)),
        reader_(archive),
        options_(options),
        times_(std::move(times)) {}

  Status run() {
    UniqueFd destination = TRY(root_.open(path_, O_PATH | O_DIRECTORY));
    for (;;) {
      std::optional<tar::Entry> entry = TRY(reader_.next());
      if (!entry) break;
      TRY(member(*entry).context("{}", entry->path.substr(0, 256)));
    }
    TRY(reader_.finish());
    return times_.apply(destination.get());
  }

 private:
  struct Place {
    int directory;  // borrowed from the extractor
    std::string name;
    std::string path;  // below the destination
  };
  // As a path in the tree.
  std::string inside(std::string_view path) const {
    return (path_.ends_with('/') ? path_ : path_ + "/") + std::string(path);
  }
  Result<int> directory_of(const std::string& path);
  Status member(const tar::Entry& entry);
  Status make_room(const tar::Entry& entry, const Place& place, bool& there);
  Status create_file(const tar::Entry& entry, const Place& place);
  Status create_directory(const tar::Entry& entry, const Place& place, bool there);
  Status create_hardlink(const tar::Entry& entry, const Place& place);
  Status create_special(const tar::Entry& entry, const Place& place);
  Status write_contents(int fd, const tar::Entry& entry);
  // What a member or a link's target is called here; nothing when it leads out.
  std::optional<std::string> name_of(const std::string& name) const;
  Owner owner_of(const tar::Entry& entry) const {
    return options_.owner.value_or(Owner{entry.uid, entry.gid});
  }
  // Of an open file or directory.
  Status set_attributes(int fd, const tar::Entry& entry);
  static Status set_xattrs(const std::string& path, const tar::Entry& entry);

  const Beneath root_;
  const std::string path_;
  tar::Reader reader_;
  const ExtractOptions& options_;
  DirectoryTimes times_;
  // The directory of the last member: archives list a directory's members one after another.
  std::optional<std::string> last_path_;
  UniqueFd last_;
};

std::optional<std::string> Extractor::name_of(const std::string& name) const {
  std::optional<std::string> path = tar::clean_path(name);
  if (!path || !options_.rename) return path;
  const auto& [from, to] = *options_.rename;
  if (from == "." || from == "/") return path->empty() ? to : to + "/" + *path;
  size_t slash = std::min(path->find('/'), path->size());
  if (path->substr(0, slash) != from) return path;
  return to + path->substr(slash);
}

// Missing ones are made, as Docker does.
Result<int> Extractor::directory_of(const std::string& path) {
  size_t slash = path.rfind('/');
  std::string directory = slash == std::string::npos ? "" : path.substr(0, slash);
  if (last_path_ != directory) {
    last_path_.reset();
    last_ = TRY(root_.make_directories(inside(directory), 0755));
    last_path_ = directory;
  }
  return last_.get();
}

Status Extractor::member(const tar::Entry& entry) {
  std::optional<std::string> path = name_of(entry.path);
  if (!path) return invalid("the path is outside of the destination, or too long");
  if (path->empty()) return {};  // the destination itself stays as it is
  for (const auto& [name, value] : entry.xattrs)
    if (name.starts_with("trusted.overlay.") || name.starts_with("user.overlay."))
      return invalid("the attribute {} belongs to overlayfs", name);
  Place place{TRY(directory_of(*path)), path->substr(path->rfind('/') + 1), *path};
  bool there = false;
  TRY(make_room(entry, place, there));
  switch (entry.type) {
    case tar::Type::directory:
      return create_directory(entry, place, there);
    case tar::Type::regular:
      return create_file(entry, place);
    case tar::Type::hardlink:
      return create_hardlink(entry, place);
    default:
      return create_special(entry, place);
  }
}

// Takes away what stands in the way; `there`: a directory that becomes the member.
Status Extractor::make_room(const tar::Entry& entry, const Place& place, bool& there) {
  std::optional<struct stat> st = TRY(stat_entry(place.directory, place.name));
  if (!st) return {};
  bool was_directory = S_ISDIR(st->st_mode), is_directory = entry.type == tar::Type::directory;
  there = was_directory && is_directory;
  if (there) return {};
  if (options_.keep_kinds && was_directory)
    return invalid("cannot overwrite directory \"{}\" with non-directory \"{}\"",
                   inside(place.path), path_);
  if (options_.keep_kinds && is_directory)
    return invalid("cannot overwrite non-directory \"{}\" with directory \"{}\"",
                   inside(place.path), path_);
  if (entry.type == tar::Type::hardlink && name_of(entry.link) == place.path) return {};
  last_path_.reset();
  return fs::remove_tree(place.directory, place.name);
}

Status Extractor::create_directory(const tar::Entry& entry, const Place& place, bool there) {
  if (!there) TRY(sys::mkdirat(place.directory, place.name, 0700));
  UniqueFd directory = TRY(sys::openat(place.directory, place.name, kOpenDirectory));
  TRY(set_attributes(directory.get(), entry));
  return times_.add(place.path, entry.mtime);
}

Status Extractor::create_file(const tar::Entry& entry, const Place& place) {
  UniqueFd file = TRY(sys::openat(place.directory, place.name,
                                  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY, 0600));
  TRY(write_contents(file.get(), entry));
  TRY(set_attributes(file.get(), entry));
  const timespec times[2] = {entry.mtime, entry.mtime};
  if (::futimens(file.get(), times) == -1) return error_from_errno(errno, "futimens");
  return {};
}

Status Extractor::write_contents(int fd, const tar::Entry& entry) {
  std::vector<tar::Extent> extents =
      entry.extents.value_or(std::vector<tar::Extent>{{0, entry.size}});
  if (entry.extents) TRY(sys::ftruncate(fd, static_cast<off_t>(entry.size)));
  std::string_view piece;
  for (tar::Extent extent : extents) {
    while (extent.size > 0) {
      if (piece.empty()) piece = TRY(reader_.payload());
      if (piece.empty()) return invalid("unexpected end of archive");
      size_t part = static_cast<size_t>(std::min<uint64_t>(extent.size, piece.size()));
      TRY(sys::pwrite_all(fd, piece.substr(0, part), static_cast<off_t>(extent.offset)));
      piece.remove_prefix(part);
      extent.offset += part;
      extent.size -= part;
    }
  }
  return {};
}

Status Extractor::create_hardlink(const tar::Entry& entry, const Place& place) {
  std::optional<std::string> target = name_of(entry.link);
  if (!target || target->empty())
    return invalid("the hard link's target \"{}\" is outside of the destination", entry.link);
  if (*target == place.path) return {};
  Beneath::Parent found =
      TRY(root_.parent_of(inside(*target)).context("hard link to \"{}\"", entry.link));
  return sys::linkat(found.directory.get(), found.name, place.directory, place.name);
}

// What is made may be swapped for something else at once, a link for instance: what it gets, it
// gets by a descriptor of what then is there, and nothing when that is of another kind.
Status Extractor::create_special(const tar::Entry& entry, const Place& place) {
  const Owner owner = owner_of(entry);
  const timespec times[2] = {entry.mtime, entry.mtime};
  if (entry.type == tar::Type::symlink) {
    if (entry.link.empty()) return invalid("a symbolic link to nothing");
    TRY(sys::symlinkat(entry.link, place.directory, place.name));
    if (options_.set_owner) TRY(sys::fchownat(place.directory, place.name, owner.uid, owner.gid));
    (void)::utimensat(place.directory, place.name.c_str(), times, AT_SYMLINK_NOFOLLOW);
    return {};
  }
  mode_t type = entry.type == tar::Type::fifo          ? S_IFIFO
                : entry.type == tar::Type::char_device ? S_IFCHR
                                                       : S_IFBLK;
  dev_t device = entry.type == tar::Type::fifo ? 0 : makedev(entry.major, entry.minor);
  TRY(sys::mknodat(place.directory, place.name, type | 0600, device));
  UniqueFd node = TRY(sys::openat(place.directory, place.name, O_PATH | O_NOFOLLOW));
  struct stat st = TRY(sys::fstat(node.get()));
  if ((st.st_mode & S_IFMT) != type || st.st_rdev != device)
    return conflict("it was replaced while it was made");
  if (options_.set_owner && ::fchownat(node.get(), "", owner.uid, owner.gid, AT_EMPTY_PATH) == -1)
    return error_from_errno(errno, "fchownat");
  std::string path = fmt::format("/proc/self/fd/{}", node.get());
  if (::chmod(path.c_str(), entry.mode) == -1) return error_from_errno(errno, "chmod");
  TRY(set_xattrs(path, entry));
  (void)::utimensat(AT_FDCWD, path.c_str(), times, 0);
  return {};
}

// chown first: it takes set-id bits and file capabilities away.
Status Extractor::set_attributes(int fd, const tar::Entry& entry) {
  const Owner owner = owner_of(entry);
  if (options_.set_owner && ::fchown(fd, owner.uid, owner.gid) == -1)
    return error_from_errno(errno, "fchown");
  TRY(sys::fchmod(fd, entry.mode));
  return set_xattrs(fmt::format("/proc/self/fd/{}", fd), entry);
}

Status Extractor::set_xattrs(const std::string& path, const tar::Entry& entry) {
  for (const auto& [name, value] : entry.xattrs) {
    if (::setxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0) == 0) continue;
    // The file system stores no such attribute, or not on this kind of file, or not for us.
    if (errno != EOPNOTSUPP && errno != EPERM) return errno_error(errno, "setxattr {}", name);
  }
  return {};
}

}  // namespace

Status extract_tree(int root, const std::string& path, int scratch, ByteSource& archive,
                    const ExtractOptions& options) {
  UniqueFd copy = TRY(sys::dup(root));
  DirectoryTimes times = TRY(DirectoryTimes::create(scratch));
  return Extractor(Beneath(std::move(copy)), path, archive, options, std::move(times)).run();
}

}  // namespace gantry

#include "daemon/container_tree.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include <algorithm>
#include <functional>
#include <list>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/sys.h"
#include "daemon/mounts.h"
#include "daemon/special_mounts.h"
#include "drivers/graph/graph_driver.h"
#include "drivers/graph/rootfs_mount.h"

namespace gantry::daemon {
namespace {

constexpr unsigned kClone = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
constexpr uint64_t kInside = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

// A mount that has a place in the tree, attached to nothing yet.
struct Part {
  std::string path;
  UniqueFd mount;
};

// A copy, which must not share with its original: what is attached to the one would appear on the
// other, and that may be the host's.
Result<UniqueFd> clone_mount(int directory, const std::string& path, unsigned recursive = 0) {
  UniqueFd clone = TRY(sys::open_tree(directory, path, kClone | AT_EMPTY_PATH | recursive));
  TRY(sys::mount_setattr(clone.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, MS_PRIVATE));
  return clone;
}

// The root of a container that runs, without what is mounted on it, and its tmpfs mounts: taken by
// a thread that enters its mount namespace and runs nothing of what is there.
Status take_running(int process, const ContainerRecord& record, ContainerTree::Volumes volumes,
                    UniqueFd& root, std::list<Part>& parts) {
  return apart([&]() -> Status {
    TRY(sys::unshare(CLONE_FS));
    TRY(sys::setns(process, CLONE_NEWNS));
    root = TRY(clone_mount(AT_FDCWD, "/"));
    if (volumes == ContainerTree::Volumes::none) return {};
    UniqueFd top = TRY(sys::open("/", O_PATH | O_DIRECTORY));
    for (const MountPoint& mount : record.mounts) {
      if (mount.type != "tmpfs") continue;
      Result<UniqueFd> there = sys::openat2(top.get(), mount.destination, O_PATH, kInside);
      struct statfs fs;
      if (!there || ::fstatfs(there->get(), &fs) == -1 || fs.f_type != TMPFS_MAGIC) continue;
      Result<UniqueFd> clone = clone_mount(there->get(), "");
      if (clone) parts.push_back({mount.destination, clone.release()});
    }
    return {};
  });
}

// Volumes and binds, from where they are on the host.
Status take_mounts(const ContainerRecord& record, drivers::GraphDriver& driver,
                   std::list<Part>& parts) {
  for (const MountPoint& mount : record.mounts) {
    if (is_special(mount)) {
      UniqueFd tree = TRY(open_special(mount, driver).context("mount {}", mount.destination));
      if (!mount.writable)
        TRY(sys::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY, 0));
      parts.push_back({mount.destination, std::move(tree)});
      continue;
    }
    if (mount.type != "volume" && mount.type != "bind") continue;
    unsigned recursive = mount.type == "bind" && mount.recursive ? AT_RECURSIVE : 0;
    UniqueFd clone =
        TRY(clone_mount(AT_FDCWD, mount.source, recursive).context("mount {}", mount.destination));
    if (!mount.writable)
      TRY(sys::mount_setattr(clone.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY, 0));
    parts.push_back({mount.destination, std::move(clone)});
  }
  return {};
}

// Makes the place of a mount, as starting the container would.
Result<UniqueFd> place_of(const Beneath& root, const Part& part, bool make) {
  Result<UniqueFd> place = root.open(part.path, O_PATH);
  if (place || !make || place.error().code() != ENOENT) return place;
  struct stat st = TRY(sys::fstat(part.mount.get()));
  if (S_ISDIR(st.st_mode)) return root.make_directories(part.path, 0755);
  size_t slash = part.path.rfind('/');
  TRY(root.make_directories(part.path.substr(0, slash), 0755));
  TRY(root.open(part.path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644));
  return root.open(part.path, O_PATH);
}

// Puts the parts where they belong, in a mount namespace that is gone when this returns; `root`
// becomes a copy of the whole. What has no place is left in `parts`.
Status assemble(UniqueFd& root, std::list<Part>& parts, bool make_places, bool read_only) {
  return apart([&]() -> Status {
    TRY(sys::unshare(CLONE_FS | CLONE_NEWNS));
    TRY(sys::mount("none", "/", "", MS_REC | MS_PRIVATE));
    TRY(sys::mount_setattr(root.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, MS_PRIVATE));
    TRY(sys::move_mount(root.get(), AT_FDCWD, "/proc"));  // any directory does
    UniqueFd copy = TRY(sys::dup(root.get()));
    Beneath beneath(std::move(copy));
    for (auto part = parts.begin(); part != parts.end();) {
      Result<UniqueFd> place = place_of(beneath, *part, make_places);
      if (!place) {
        ++part;
        continue;
      }
      struct stat what = TRY(sys::fstat(part->mount.get())), where = TRY(sys::fstat(place->get()));
      if (S_ISDIR(what.st_mode) == S_ISDIR(where.st_mode))
        TRY(sys::move_mount_onto(part->mount.get(), place->get()).context("mount {}", part->path));
      part = parts.erase(part);
    }
    if (read_only) TRY(sys::mount_setattr(root.get(), "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0));
    root = TRY(clone_mount(root.get(), "", AT_RECURSIVE));
    return {};
  });
}

// Devices are not to be opened whatever stands at a path by then.
Status restrict(int mount, ContainerTree::Access access) {
  uint64_t set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
  if (access == ContainerTree::Access::read) set |= MOUNT_ATTR_RDONLY;
  return sys::mount_setattr(mount, "", AT_EMPTY_PATH | AT_RECURSIVE, set, 0);
}

uint32_t go_mode(mode_t mode) {
  uint32_t out = mode & 0777;
  switch (mode & S_IFMT) {
    case S_IFDIR:
      out |= 1u << 31;
      break;
    case S_IFLNK:
      out |= 1u << 27;
      break;
    case S_IFBLK:
      out |= 1u << 26;
      break;
    case S_IFCHR:
      out |= 1u << 26 | 1u << 21;
      break;
    case S_IFIFO:
      out |= 1u << 25;
      break;
    case S_IFSOCK:
      out |= 1u << 24;
      break;
    default:
      break;
  }
  if (mode & S_ISUID) out |= 1u << 23;
  if (mode & S_ISGID) out |= 1u << 22;
  if (mode & S_ISVTX) out |= 1u << 20;
  return out;
}

// Where the links of `path` lead, as far as it is there: for the client's information, which asks
// for it again; nothing is opened by it.
std::string follow_links(const Beneath& root, const std::string& path) {
  std::string done, rest = path;
  for (int links = 0; links < 40;) {
    size_t begin = rest.find_first_not_of('/');
    if (begin == std::string::npos) break;
    size_t end = std::min(rest.find('/', begin), rest.size());
    std::string part = rest.substr(begin, end - begin);
    rest = rest.substr(end);
    if (part == ".") continue;
    if (part == "..") {
      done.resize(done.empty() ? 0 : done.rfind('/'));
      continue;
    }
    std::string next = done + "/" + part;
    Result<UniqueFd> entry = root.open(next, O_PATH | O_NOFOLLOW);
    Result<std::string> link = invalid("none");
    if (entry) link = sys::readlinkat(entry->get(), "");
    if (!link) {
      done = std::move(next);
      continue;
    }
    ++links;
    if (link->starts_with('/')) done.clear();
    rest = *link + rest;
  }
  return done.empty() ? "/" : done;
}

bool asks_for_directory(const std::string& path) {
  return path.ends_with('/') || path.ends_with("/.") || path == "." || path.empty();
}

}  // namespace

Result<ContainerTree> ContainerTree::open(const Container& container, drivers::GraphDriver& driver,
                                          Access access, Volumes volumes) {
  std::shared_ptr<const ContainerRecord> record = container.record();
  std::shared_ptr<drivers::Instance> instance = container.instance();
  UniqueFd root;
  std::list<Part> parts;
  TRY(failpoint("container.tree"));
  const bool running = record->running() && instance;
  if (running) {
    UniqueFd process = TRY(instance->process());
    TRY(take_running(process.get(), *record, volumes, root, parts)
            .context("container {}", record->id));
  } else if (access == Access::write) {
    RootfsSource source = TRY(driver.recipe(record->id));
    root = TRY(drivers::mount_rootfs(source, drivers::RootfsAccess::write));
  } else {
    root = TRY(drivers::mount_rootfs(record->rootfs, drivers::RootfsAccess::read));
  }
  if (volumes == Volumes::all) TRY(take_mounts(*record, driver, parts));
  parts.sort([](const Part& a, const Part& b) { return a.path < b.path; });  // outer ones first
  const bool read_only = record->host_config.ReadonlyRootfs;
  const bool make_places = access == Access::write && !running;
  if (!parts.empty())
    TRY(assemble(root, parts, make_places, read_only));
  else if (read_only)
    TRY(sys::mount_setattr(root.get(), "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0));
  TRY(restrict(root.get(), access));
  std::vector<Unplaced> unplaced;
  for (Part& part : parts) {
    struct stat st = TRY(sys::fstat(part.mount.get()));
    if (!S_ISDIR(st.st_mode)) continue;
    TRY(restrict(part.mount.get(), access));
    unplaced.push_back({std::move(part.path), Beneath(std::move(part.mount))});
  }
  return ContainerTree(std::move(root), std::move(unplaced), read_only);
}

const Beneath& ContainerTree::base_of(std::string& clean) const {
  for (auto place = unplaced_.rbegin(); place != unplaced_.rend(); ++place) {
    if (clean != place->path && !clean.starts_with(place->path + "/")) continue;
    clean = clean == place->path ? "/" : clean.substr(place->path.size());
    return place->root;
  }
  return root_;
}

// As with Docker ".." is taken lexically, before links are looked at.
Result<ContainerTree::Entry> ContainerTree::find(const std::string& path) const {
  Entry entry;
  std::string clean = clean_path(path);
  if (path.ends_with("/.") || path == ".")
    entry.shown = ".";
  else
    entry.shown = clean == "/" ? "/" : clean.substr(clean.rfind('/') + 1);
  const Beneath& base = base_of(clean);
  if (asks_for_directory(path) || clean == "/") {
    entry.directory = TRY(base.open(clean, O_PATH | O_DIRECTORY));
    entry.name = ".";
  } else {
    Beneath::Parent parent = TRY(base.parent_of(clean));
    entry.directory = std::move(parent.directory);
    entry.name = std::move(parent.name);
  }
  entry.st = TRY(sys::fstatat(entry.directory.get(), entry.name));
  return entry;
}

Result<PathStat> ContainerTree::stat(const std::string& path) const {
  Entry entry = TRY(find(path));
  PathStat out;
  out.name = entry.shown;
  out.size = entry.st.st_size;
  out.mode = go_mode(entry.st.st_mode);
  out.mtime = format_time(entry.st.st_mtim.tv_sec * 1'000'000'000 + entry.st.st_mtim.tv_nsec);
  if (S_ISLNK(entry.st.st_mode)) out.link_target = follow_links(root_, clean_path(path));
  return out;
}

Result<ContainerTree::Destination> ContainerTree::destination(const std::string& asked) const {
  std::string path = clean_path(asked);
  const Beneath& base = base_of(path);
  UniqueFd found = TRY(base.open(path, O_PATH));
  struct stat st = TRY(sys::fstat(found.get()));
  if (!S_ISDIR(st.st_mode)) return invalid("extraction point is not a directory");
  struct statvfs fs;
  if (::fstatvfs(found.get(), &fs) == -1) return errno_error(errno, "fstatvfs {}", asked);
  if (fs.f_flag & ST_RDONLY) {
    struct statx there, top;
    bool on_root = ::statx(found.get(), "", AT_EMPTY_PATH, STATX_MNT_ID, &there) == 0 &&
                   ::statx(root_.fd(), "", AT_EMPTY_PATH, STATX_MNT_ID, &top) == 0 &&
                   there.stx_mnt_id == top.stx_mnt_id;
    if (read_only_ && on_root)
      return make_error(ErrorKind::permission, "container rootfs is marked read-only");
    return make_error(ErrorKind::permission, "mounted volume is marked read-only");
  }
  return Destination{base.fd(), path};
}

}  // namespace gantry::daemon

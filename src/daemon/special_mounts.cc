#include "daemon/special_mounts.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <thread>

#include "base/fs.h"
#include "base/sys.h"
#include "drivers/graph/graph_driver.h"
#include "drivers/graph/rootfs_mount.h"

namespace gantry::daemon {
namespace {

constexpr uint64_t kNoLinks = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
constexpr unsigned kCopy = OPEN_TREE_CLONE | AT_EMPTY_PATH;

// What is at `path` beneath the directory, links followed within it.
Result<UniqueFd> open_part(int directory, const MountPoint& mount) {
  UniqueFd root = TRY(sys::dup(directory));
  Result<UniqueFd> part = Beneath(std::move(root)).open(mount.subpath, O_PATH);
  if (!part && part.error().code() == ENOENT)
    return invalid("cannot access path {} of {} {}: no such file or directory", mount.subpath,
                   mount.type, mount.name);
  if (!part)
    return std::move(part).error().context(
        fmt::format("cannot access path {} of {} {}", mount.subpath, mount.type, mount.name));
  return part;
}

Result<UniqueFd> open_volume_part(const MountPoint& mount) {
  UniqueFd volume = TRY(sys::open(mount.source, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  UniqueFd part = TRY(open_part(volume.get(), mount));
  return sys::open_tree(part.get(), "", kCopy | AT_RECURSIVE);
}

Result<UniqueFd> open_image(const MountPoint& mount, drivers::GraphDriver& driver) {
  RootfsSource recipe = TRY(driver.recipe(mount.layer));
  UniqueFd image = TRY(drivers::mount_rootfs(recipe, drivers::RootfsAccess::read));
  if (mount.subpath.empty()) return image;
  // Only of a mount that is attached somewhere can a part be copied: in a namespace for that.
  UniqueFd copy;
  TRY(apart([&]() -> Status {
    TRY(sys::unshare(CLONE_FS | CLONE_NEWNS));
    TRY(sys::mount("none", "/", "", MS_REC | MS_PRIVATE));
    TRY(sys::move_mount(image.get(), AT_FDCWD, "/proc"));  // any directory does
    UniqueFd part = TRY(open_part(image.get(), mount));
    copy = TRY(sys::open_tree(part.get(), "", kCopy | AT_RECURSIVE));
    return {};
  }));
  return copy;
}

}  // namespace

Status apart(const std::function<Status()>& work) {
  Status done = internal("not run");
  std::thread([&] { done = work(); }).join();
  return done;
}

bool is_special(const MountPoint& mount) {
  return mount.type == "image" || (mount.type == "volume" && !mount.subpath.empty());
}

Result<UniqueFd> open_special(const MountPoint& mount, drivers::GraphDriver& driver) {
  return mount.type == "image" ? open_image(mount, driver) : open_volume_part(mount);
}

Result<UniqueFd> open_shared_memory(int process) {
  UniqueFd copy;
  TRY(apart([&]() -> Status {
    TRY(sys::unshare(CLONE_FS));
    TRY(sys::setns(process, CLONE_NEWNS));
    UniqueFd root = TRY(sys::open("/", O_PATH | O_DIRECTORY));
    UniqueFd there = TRY(sys::openat2(root.get(), "dev/shm", O_PATH | O_DIRECTORY, kNoLinks));
    struct statfs fs;
    if (::fstatfs(there.get(), &fs) == -1 || fs.f_type != TMPFS_MAGIC)
      return conflict("there is no file system of memory at its /dev/shm");
    copy = TRY(sys::open_tree(there.get(), "", kCopy));
    return sys::mount_setattr(copy.get(), "", AT_EMPTY_PATH, 0, 0, MS_PRIVATE);
  }));
  return copy;
}

Result<SpecialMounts> SpecialMounts::open(const ContainerRecord& record,
                                          drivers::GraphDriver& driver) {
  SpecialMounts out;
  for (const MountPoint& mount : record.mounts) {
    if (!is_special(mount)) continue;
    UniqueFd tree = TRY(open_special(mount, driver).context("mount {}", mount.destination));
    out.add(mount.destination, std::move(tree));
  }
  return out;
}

void SpecialMounts::add(const std::string& destination, UniqueFd tree) {
  sources_[destination] = fmt::format("/proc/{}/fd/{}", ::getpid(), tree.get());
  held_.push_back(std::move(tree));
}

}  // namespace gantry::daemon

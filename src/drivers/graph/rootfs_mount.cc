#include "drivers/graph/rootfs_mount.h"

#include <fcntl.h>

#include <thread>

#include "base/overlay_mount.h"
#include "base/sys.h"

namespace gantry::drivers {
namespace {

std::string joined(const std::vector<std::string>& paths) {
  std::string out;
  for (const std::string& path : paths) out += (out.empty() ? "" : ":") + path;
  return out;
}

// By mount(2), whose option string may be a page long, in a mount namespace that only this thread
// has; what is taken out of it is a copy that belongs to no namespace.
Result<UniqueFd> mount_in_private_namespace(const RootfsSource& source) {
  Result<UniqueFd> mounted = internal("not mounted");
  std::thread([&] {
    mounted = [&]() -> Result<UniqueFd> {
      TRY(sys::unshare(CLONE_FS | CLONE_NEWNS));
      TRY(sys::mount("none", "/", "", MS_REC | MS_PRIVATE));
      if (!source.images.empty()) return mount_overlay_attaching(source);
      std::vector<std::string> lower = source.lower;
      if (!source.top.empty()) lower.insert(lower.begin(), source.top);
      std::string data = "lowerdir=" + joined(lower);
      if (!source.upper.empty())
        data += fmt::format(",upperdir={},workdir={}", source.upper, source.work);
      for (const std::string& option : source.options) data += "," + option;
      TRY(sys::mount("overlay", "/proc", "overlay", 0, data));
      return sys::open_tree(AT_FDCWD, "/proc", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    }();
  }).join();
  return mounted;
}

}  // namespace

Result<UniqueFd> mount_overlay(const RootfsSource& source) {
  Result<UniqueFd> mounted = mount_overlay_detached(source);
  if (mounted) return mounted;
  bool old_kernel =
      mounted.error().kind() == ErrorKind::unsupported || mounted.error().code() == ENOSYS;
  if (!old_kernel) return mounted;
  return mount_in_private_namespace(source);
}

Result<UniqueFd> mount_rootfs(const RootfsSource& source, RootfsAccess access) {
  if (source.type == "bind")
    return sys::open_tree(AT_FDCWD, source.source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (access == RootfsAccess::write) return mount_overlay(source);
  RootfsSource readable = source;
  readable.upper.clear();
  readable.work.clear();
  if (!source.upper.empty()) readable.top = source.upper;
  std::erase(readable.options, "volatile");
  return mount_overlay(readable);
}

Result<UniqueFd> open_rootfs(const RootfsSource& source) {
  if (source.type == "bind") return sys::open(source.source, O_RDONLY | O_DIRECTORY);
  UniqueFd mount = TRY(mount_rootfs(source, RootfsAccess::read));
  return sys::openat(mount.get(), ".", O_RDONLY | O_DIRECTORY);
}

}  // namespace gantry::drivers

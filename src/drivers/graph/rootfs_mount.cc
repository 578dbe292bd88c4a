#include "drivers/graph/rootfs_mount.h"

#include <fcntl.h>

#include <thread>

#include "base/sys.h"

namespace gantry::drivers {
namespace {

constexpr size_t kMaxOptionValue = 255;  // fsconfig(2) takes strings of less than 256 bytes

std::string joined(const std::vector<std::string>& paths) {
  std::string out;
  for (const std::string& path : paths) out += (out.empty() ? "" : ":") + path;
  return out;
}

Status configure(int context, const RootfsSource& source) {
  // "lowerdir+" (Linux 6.5) takes a layer at a time; before it, the whole list is one string.
  bool appended = true;
  for (size_t i = 0; i < source.lower.size() && appended; ++i) {
    Status set = sys::fsconfig_string(context, "lowerdir+", source.lower[i]);
    if (!set && i > 0) return set;
    appended = set.has_value();
  }
  if (!appended) {
    std::string list = joined(source.lower);
    if (list.size() > kMaxOptionValue) return unsupported("too many layers for this kernel");
    TRY(sys::fsconfig_string(context, "lowerdir", list));
  }
  if (!source.upper.empty()) {
    TRY(sys::fsconfig_string(context, "upperdir", source.upper));
    TRY(sys::fsconfig_string(context, "workdir", source.work));
  }
  for (const std::string& option : source.options) {
    size_t equals = option.find('=');
    if (equals == std::string::npos) {
      TRY(sys::fsconfig_flag(context, option));
    } else {
      TRY(sys::fsconfig_string(context, option.substr(0, equals), option.substr(equals + 1)));
    }
  }
  return sys::fsconfig_create(context);
}

// By mount(2), whose option string may be a page long, in a mount namespace that only this thread
// has; what is taken out of it is a copy that belongs to no namespace.
Result<UniqueFd> mount_in_private_namespace(const RootfsSource& source) {
  Result<UniqueFd> mounted = internal("not mounted");
  std::thread([&] {
    mounted = [&]() -> Result<UniqueFd> {
      TRY(sys::unshare(CLONE_FS | CLONE_NEWNS));
      TRY(sys::mount("none", "/", "", MS_REC | MS_PRIVATE));
      std::string data = "lowerdir=" + joined(source.lower);
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
  Result<UniqueFd> context = sys::fsopen("overlay");
  if (context) {
    Status configured = configure(context->get(), source);
    if (configured) return sys::fsmount(context->get(), 0);
    if (configured.error().kind() != ErrorKind::unsupported) return std::move(configured).error();
  } else if (context.error().code() != ENOSYS) {
    return context;
  }
  return mount_in_private_namespace(source);
}

Result<UniqueFd> open_rootfs(const RootfsSource& source) {
  if (source.type == "bind") return sys::open(source.source, O_RDONLY | O_DIRECTORY);
  RootfsSource readable = source;
  if (!readable.upper.empty()) readable.lower.insert(readable.lower.begin(), readable.upper);
  readable.upper.clear();
  readable.work.clear();
  std::erase(readable.options, "volatile");
  UniqueFd mount = TRY(mount_overlay(readable));
  return sys::openat(mount.get(), ".", O_RDONLY | O_DIRECTORY);
}

}  // namespace gantry::drivers

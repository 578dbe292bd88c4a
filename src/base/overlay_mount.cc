#include "base/overlay_mount.h"

#include <sys/ioctl.h>

#include "base/sys.h"

namespace gantry {
namespace {

constexpr size_t kMaxOptionValue = 255;  // fsconfig(2) takes strings of less than 256 bytes

Status set_option(int context, const std::string& option) {
  size_t equals = option.find('=');
  if (equals == std::string::npos) return sys::fsconfig_flag(context, option);
  return sys::fsconfig_string(context, option.substr(0, equals), option.substr(equals + 1));
}

// A path that is too long for the kernel's option goes through a descriptor, which `held` keeps.
Status set_path(int context, const std::string& key, const std::string& path,
                std::vector<UniqueFd>& held) {
  if (path.size() <= kMaxOptionValue) return sys::fsconfig_string(context, key, path);
  held.push_back(TRY(sys::open(path, O_PATH)));
  return sys::fsconfig_string(context, key, fmt::format("/proc/self/fd/{}", held.back().get()));
}

std::string joined_layers(const std::vector<std::string>& paths) {
  std::string out;
  for (const std::string& path : paths) {
    if (!out.empty()) out += ':';
    for (char c : path) {
      if (c == ':' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out;
}

// "lowerdir+" (Linux 6.5) takes a layer at a time; before it, the whole list is one string.
Status add_layers(int context, const RootfsSource& source, const std::vector<UniqueFd>& images,
                  std::vector<UniqueFd>& held) {
  if (images.empty()) {
    std::vector<std::string> paths = source.lower;
    if (!source.top.empty()) paths.insert(paths.begin(), source.top);
    for (size_t i = 0; i < paths.size(); ++i) {
      Status set = set_path(context, "lowerdir+", paths[i], held);
      if (set) continue;
      if (i > 0 || set.error().code() != EINVAL) return set;
      std::string list = joined_layers(paths);
      if (list.size() > kMaxOptionValue) return unsupported("too many layers for this kernel");
      return sys::fsconfig_string(context, "lowerdir", list);
    }
    return {};
  }
  if (!source.top.empty()) TRY(set_path(context, "lowerdir+", source.top, held));
  for (const UniqueFd& image : images) {
    Status set = sys::fsconfig_fd(context, "lowerdir+", image.get());
    if (set) continue;
    if (set.error().code() != EINVAL) return set;
    return unsupported("this kernel takes no layer of an overlay by descriptor");
  }
  for (const std::string& path : source.lower) TRY(set_path(context, "lowerdir+", path, held));
  return {};
}

// As in <linux/fs.h> of Linux 6.9.
struct FsUuid {
  uint8_t size;
  char bytes[16];
};
constexpr unsigned long kGetFsUuid = _IOR(0x15, 0, FsUuid);

// The mount that the engine holds, if it is there and the right one.
UniqueFd shared_mount(const ErofsImage& image) {
  if (image.mounted.empty()) return UniqueFd();
  Result<UniqueFd> mount = sys::open(image.mounted, O_RDONLY | O_DIRECTORY);
  if (!mount) return UniqueFd();
  FsUuid uuid = {};
  if (::ioctl(mount->get(), kGetFsUuid, &uuid) == -1) return UniqueFd();
  std::string id = image.id;
  id.resize(sizeof uuid.bytes);
  if (uuid.size != sizeof uuid.bytes || id != std::string_view(uuid.bytes, sizeof uuid.bytes))
    return UniqueFd();
  return mount.release();
}

Result<UniqueFd> mount_over(const RootfsSource& source, const std::vector<UniqueFd>& images) {
  std::vector<UniqueFd> held;
  UniqueFd context = TRY(sys::fsopen("overlay"));
  TRY(sys::fsconfig_string(context.get(), "source", "overlay"));
  TRY(add_layers(context.get(), source, images, held));
  if (!source.upper.empty()) {
    TRY(set_path(context.get(), "upperdir", source.upper, held));
    TRY(set_path(context.get(), "workdir", source.work, held));
  }
  for (const std::string& option : source.options) TRY(set_option(context.get(), option));
  TRY(sys::fsconfig_create(context.get()));
  return sys::fsmount(context.get(), 0);
}

}  // namespace

Result<UniqueFd> mount_erofs(const ErofsImage& image) {
  std::vector<UniqueFd> held;
  UniqueFd context = TRY(sys::fsopen("erofs"));
  TRY(set_path(context.get(), "source", image.index, held));
  for (const std::string& device : image.devices)
    TRY(set_path(context.get(), "device", device, held));
  for (const std::string& option : image.options) TRY(set_option(context.get(), option));
  TRY(sys::fsconfig_create(context.get()).context("{}", image.index));
  return sys::fsmount(context.get(), 0);
}

Result<UniqueFd> mount_overlay_detached(const RootfsSource& source) {
  std::vector<UniqueFd> images;
  for (const ErofsImage& image : source.images) {
    UniqueFd mount = shared_mount(image);
    if (!mount.valid()) mount = TRY(mount_erofs(image));
    images.push_back(std::move(mount));
  }
  Result<UniqueFd> mounted = mount_over(source, images);
  if (mounted || images.empty() || mounted.error().code() != EINVAL) return mounted;
  return std::move(mounted).error().with_kind(ErrorKind::unsupported);
}

Result<UniqueFd> mount_overlay_attaching(const RootfsSource& source) {
  RootfsSource plain = source;
  plain.images.clear();
  plain.lower.clear();
  std::vector<std::string> places;
  Result<UniqueFd> mounted = [&]() -> Result<UniqueFd> {
    for (const ErofsImage& image : source.images) {
      UniqueFd mount = TRY(mount_erofs(image));
      std::string place = image.index.substr(0, image.index.rfind('/'));
      TRY(sys::move_mount(mount.get(), AT_FDCWD, place));
      places.push_back(place);
    }
    plain.lower = places;
    plain.lower.insert(plain.lower.end(), source.lower.begin(), source.lower.end());
    return mount_over(plain, {});
  }();
  // The overlay has mounts of its own of them.
  for (const std::string& place : places) TRY(sys::umount(place, MNT_DETACH));
  return mounted;
}

}  // namespace gantry

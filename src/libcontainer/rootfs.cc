#include "libcontainer/rootfs.h"

#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "base/copy_tree.h"
#include "base/overlay_mount.h"
#include "base/sys.h"
#include "libcontainer/mount_options.h"
#include "libcontainer/mount_target.h"

namespace gantry::libcontainer {
namespace {

constexpr unsigned kClone = OPEN_TREE_CLONE | AT_EMPTY_PATH;
constexpr uint64_t kReadonly = 0x1;  // MOUNT_ATTR_RDONLY

struct PropagationName {
  std::string_view name;
  uint64_t type;
};
constexpr PropagationName kRootPropagations[] = {
    {"", MS_SLAVE},         {"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE},
    {"slave", MS_SLAVE},    {"rslave", MS_SLAVE},          {"shared", MS_SHARED},
    {"rshared", MS_SHARED}, {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE}};

Result<uint64_t> propagation_type(const std::string& word) {
  for (const PropagationName& known : kRootPropagations)
    if (known.name == word) return known.type;
  return invalid("linux.rootfsPropagation: unknown propagation \"{}\"", word);
}

Result<UniqueFd> clone_tree(const std::string& path) {
  return sys::open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | AT_RECURSIVE);
}

std::string absolute(const std::string& base, const std::string& path) {
  return path.starts_with('/') ? path : base + "/" + path;
}

Status set_attributes(int tree, const MountOptions& options) {
  if (options.set || options.clear)
    TRY(sys::mount_setattr(tree, "", AT_EMPTY_PATH, options.set, options.clear));
  if (options.recursive_set || options.recursive_clear)
    TRY(sys::mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, options.recursive_set,
                           options.recursive_clear));
  return {};
}

Status set_data(int context, const MountOptions& options) {
  for (const std::string& option : options.data) {
    size_t equals = option.find('=');
    Status set =
        equals == std::string::npos
            ? sys::fsconfig_flag(context, option)
            : sys::fsconfig_string(context, option.substr(0, equals), option.substr(equals + 1));
    TRY(std::move(set).context("options"));
  }
  return {};
}

// Also "dev", "//dev" and "/dev/.": a relative destination starts at the root.
bool is_dev(std::string_view destination) {
  std::string_view only;
  while (!destination.empty()) {
    size_t slash = std::min(destination.find('/'), destination.size());
    std::string_view part = destination.substr(0, slash);
    if (!part.empty() && part != ".") {
      if (!only.empty()) return false;
      only = part;
    }
    destination.remove_prefix(std::min(slash + 1, destination.size()));
  }
  return only == "dev";
}

Device device_node(const char* path, int64_t major, int64_t minor) {
  Device device;
  device.path = path;
  device.type = "c";
  device.major = major;
  device.minor = minor;
  device.file_mode = 0666;
  return device;
}

}  // namespace

Result<Rootfs> Rootfs::attach(const RootfsPlan& plan) {
  if (!plan.own_mounts) {
    std::string path = absolute(plan.bundle, plan.spec.root->path);
    return Rootfs(plan, TRY(Beneath::open(path).context("root.path")));
  }
  const std::string& word =
      plan.spec.linux_section ? plan.spec.linux_section->rootfs_propagation : "";
  uint64_t propagation = TRY(propagation_type(word));
  // What happens in here must not reach the host, except when that is asked for.
  uint64_t host = propagation == MS_UNBINDABLE ? uint64_t{MS_PRIVATE} : propagation;
  TRY(sys::mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, 0, 0, host));

  UniqueFd tree;
  std::string place;
  if (plan.source && plan.source->type == "overlay") {
    if (plan.source->lower.empty()) return invalid("rootfs: an overlay without lower layers");
    Result<UniqueFd> mounted = mount_overlay_detached(*plan.source);
    // The mount namespace is the container's own.
    if (!mounted && mounted.error().kind() == ErrorKind::unsupported)
      mounted = mount_overlay_attaching(*plan.source);
    tree = TRY(std::move(mounted).context("rootfs"));
    place = plan.source->upper.empty() ? plan.source->lower.front() : plan.source->upper;
  } else if (plan.source && plan.source->type == "bind") {
    place = plan.source->source;
    tree = TRY(clone_tree(place).context("rootfs"));
  } else if (plan.source) {
    return invalid("rootfs: unknown type \"{}\"", plan.source->type);
  } else {
    place = absolute(plan.bundle, plan.spec.root->path);
    tree = TRY(clone_tree(place).context("root.path"));
    struct stat st = TRY(sys::fstat(tree.get()));
    if (!S_ISDIR(st.st_mode)) return invalid("root.path: {} is not a directory", place);
  }
  if (propagation == MS_SHARED) {
    // pivot_root refuses a root whose parent is shared: only this one mount is cut off.
    UniqueFd parent = TRY(sys::open_tree(AT_FDCWD, place, OPEN_TREE_CLONE));
    TRY(sys::move_mount(parent.get(), AT_FDCWD, place));
    // Only now: what is attached below a shared mount becomes shared.
    TRY(sys::mount_setattr(parent.get(), "", AT_EMPTY_PATH, 0, 0, MS_PRIVATE));
    // Nor does it take a root that is shared itself.
    TRY(sys::mount_setattr(tree.get(), "", AT_EMPTY_PATH, 0, 0, MS_PRIVATE));
  }
  TRY(sys::move_mount(tree.get(), AT_FDCWD, place).context("rootfs"));
  Rootfs rootfs(plan, Beneath(std::move(tree)));
  rootfs.null_ = TRY(sys::open("/dev/null", O_PATH | O_NOFOLLOW));
  struct stat null = TRY(sys::fstat(rootfs.null_.get()));
  if (!S_ISCHR(null.st_mode) || null.st_rdev != makedev(1, 3))
    return make_error(ErrorKind::permission, "/dev/null of the host is not the null device");
  return rootfs;
}

Status Rootfs::populate() {
  const Spec& spec = plan_.spec;
  for (size_t i = 0; i < spec.mounts.size(); ++i)
    TRY(mount_one(i).context("mounts[{}] {}", i, spec.mounts[i].destination));
  if (own_dev_) {
    TRY(make_devices());
    TRY(make_links());
  }
  if (spec.linux_section) {
    for (const std::string& path : spec.linux_section->readonly_paths)
      TRY(make_readonly(path).context("linux.readonlyPaths: {}", path));
    for (const std::string& path : spec.linux_section->masked_paths)
      TRY(mask(path).context("linux.maskedPaths: {}", path));
  }
  if (spec.process && !spec.process->cwd.empty())
    (void)root_.make_directories(spec.process->cwd, 0755);  // else chdir says what is wrong
  if (spec.root && spec.root->readonly)
    TRY(sys::mount_setattr(root_.fd(), "", AT_EMPTY_PATH, kReadonly, 0).context("root.readonly"));
  return {};
}

// What is masked is found by name afterwards: with a link on the way, a neighbour with the same
// volume could turn it in between, and the real one would stay bare (CVE-2019-19921).
Status Rootfs::refuse_links(const std::string& destination) {
  Result<UniqueFd> plain =
      sys::openat2(root_.fd(), destination, O_PATH,
                   RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
  if (plain || plain.error().code() != ELOOP) return {};
  return invalid("destination: a symbolic link is in its way");
}

Status Rootfs::put(UniqueFd tree, const std::string& destination, bool directory) {
  UniqueFd place = TRY(mount_target(root_, destination, directory));
  return sys::move_mount_onto(tree.get(), place.get());
}

Status Rootfs::mount_one(size_t index) {
  const Mount& mount = plan_.spec.mounts[index];
  MountOptions options = parse_mount_options(mount.options);
  bool bind = options.bind != BindKind::none || mount.type == "bind";
  if (options.remount) return remount(mount);
  if (bind && is_dev(mount.destination)) own_dev_ = false;
  if (bind) {
    bool open = index < plan_.bind_sources.size() && plan_.bind_sources[index];
    return mount_bind(mount, open ? std::move(plan_.bind_sources[index]) : UniqueFd());
  }
  if (mount.type == "cgroup" || mount.type == "cgroup2") return mount_cgroup(mount);
  return mount_filesystem(mount);
}

// As mount(8) does it: what the words name changes, everything else stays.
Status Rootfs::remount(const Mount& mount) {
  MountOptions options = parse_mount_options(mount.options);
  UniqueFd place = TRY(root_.open(mount.destination, O_PATH).context("options: remount"));
  if (options.bind == BindKind::none && !options.data.empty()) {
    UniqueFd context = TRY(sys::fspick(place.get()).context("options: remount"));
    TRY(set_data(context.get(), options));
    TRY(sys::fsconfig_reconfigure(context.get()).context("options: remount"));
  }
  Status changed = set_attributes(place.get(), options);
  if (changed && options.propagation) {
    unsigned recursive = options.recursive_propagation ? AT_RECURSIVE : 0;
    changed =
        sys::mount_setattr(place.get(), "", AT_EMPTY_PATH | recursive, 0, 0, options.propagation);
  }
  if (!changed && changed.error().code() == EINVAL)
    return invalid("options: remount: nothing is mounted there");
  return std::move(changed).context("options: remount");
}

// A tmpfs begins as a copy of what it covers; what the options say of its root stands.
Status Rootfs::copy_up(const Mount& mount, int tmpfs) {
  Result<UniqueFd> covered = root_.open(mount.destination, O_RDONLY | O_DIRECTORY);
  if (!covered) return covered.error().code() == ENOENT ? Status() : std::move(covered).error();
  UniqueFd top = TRY(sys::openat(tmpfs, ".", O_RDONLY | O_DIRECTORY));
  struct stat given = TRY(sys::fstat(top.get()));
  TRY(fs::copy_tree(covered->get(), top.get()).context("options: tmpcopyup"));
  auto says = [&](std::string_view key) {
    return std::any_of(mount.options.begin(), mount.options.end(),
                       [&](const std::string& option) { return option.starts_with(key); });
  };
  if (says("uid=") || says("gid=")) TRY(sys::fchownat(top.get(), ".", given.st_uid, given.st_gid));
  if (says("mode=")) TRY(sys::fchmod(top.get(), given.st_mode & 07777));
  return {};
}

Status Rootfs::mount_filesystem(const Mount& mount) {
  MountOptions options = parse_mount_options(mount.options);
  bool tmpfs = mount.type == "tmpfs";
  if (options.copy_up && !tmpfs) return invalid("options: tmpcopyup is for a tmpfs");
  UniqueFd context = TRY(sys::fsopen(mount.type).context("type"));
  if (!mount.source.empty())
    TRY(sys::fsconfig_string(context.get(), "source", mount.source).context("source"));
  if (tmpfs) {
    // runc's rule: the mode is that of the directory it covers, unless the options say otherwise.
    if (Result<UniqueFd> covered = root_.open(mount.destination, O_PATH | O_DIRECTORY); covered) {
      struct stat st = TRY(sys::fstat(covered->get()));
      TRY(sys::fsconfig_string(context.get(), "mode", fmt::format("{:o}", st.st_mode & 07777)));
    }
  }
  TRY(set_data(context.get(), options));
  // As runc: those that have no labels of their own.
  const std::string& label = plan_.spec.linux_section->mount_label;
  if (!label.empty() && mount.type != "proc" && mount.type != "sysfs" && mount.type != "mqueue")
    TRY(sys::fsconfig_string(context.get(), "context", label).context("linux.mountLabel"));
  TRY(sys::fsconfig_create(context.get()));
  UniqueFd tree = TRY(sys::fsmount(context.get(), 0));
  if (options.copy_up) TRY(copy_up(mount, tree.get()));
  TRY(set_attributes(tree.get(), options).context("options"));
  if (mount.type == "proc" || mount.type == "sysfs") TRY(refuse_links(mount.destination));
  UniqueFd place = TRY(mount_target(root_, mount.destination, true));
  TRY(sys::move_mount_onto(tree.get(), place.get()));
  if (options.propagation)
    TRY(sys::mount_setattr(tree.get(), "", AT_EMPTY_PATH, 0, 0, options.propagation));
  return {};
}

Status Rootfs::mount_bind(const Mount& mount, UniqueFd tree) {
  MountOptions options = parse_mount_options(mount.options);
  if (mount.source.empty()) return invalid("source: is required for a bind mount");
  unsigned recursive = options.bind == BindKind::rbind ? AT_RECURSIVE : 0;
  if (!tree)
    tree = TRY(
        sys::open_tree(AT_FDCWD, absolute(plan_.bundle, mount.source), OPEN_TREE_CLONE | recursive)
            .context("source"));
  struct stat st = TRY(sys::fstat(tree.get()));
  TRY(set_attributes(tree.get(), options).context("options"));
  int fd = tree.get();
  UniqueFd place = TRY(mount_target(root_, mount.destination, S_ISDIR(st.st_mode)));
  TRY(sys::move_mount_onto(fd, place.get()));
  // runc's rule: a bind is private unless the options say otherwise.
  uint64_t propagation = options.propagation ? options.propagation : uint64_t{MS_PRIVATE};
  bool all = options.propagation == 0 || options.recursive_propagation;
  return sys::mount_setattr(fd, "", AT_EMPTY_PATH | (all ? AT_RECURSIVE : 0u), 0, 0, propagation);
}

// Rootless, and nothing was delegated: there is no group to show. A /sys that is bound in brings
// the host's groups along, writable, and some may be the user's (CVE-2023-25809).
Status Rootfs::hide_cgroups(const Mount& mount) {
  UniqueFd context = TRY(sys::fsopen("tmpfs"));
  TRY(sys::fsconfig_string(context.get(), "mode", "755"));
  TRY(sys::fsconfig_create(context.get()));
  UniqueFd tree = TRY(sys::fsmount(context.get(), static_cast<unsigned>(kReadonly)));
  return put(std::move(tree), mount.destination, true);
}

// The container's own groups are bound in: the same directories that a cgroup mount in its cgroup
// namespace shows, at a fraction of the cost, and the only ones it can see without such a
// namespace.
Status Rootfs::mount_cgroup(const Mount& mount) {
  MountOptions options = parse_mount_options(mount.options);
  bool only_v2 = plan_.cgroups.size() == 1 && plan_.cgroups.front().first.empty();
  if (plan_.cgroups.empty()) return hide_cgroups(mount);
  if (only_v2) {
    UniqueFd tree = TRY(sys::open_tree(AT_FDCWD, plan_.cgroups.front().second, OPEN_TREE_CLONE));
    TRY(set_attributes(tree.get(), options));
    return put(std::move(tree), mount.destination, true);
  }
  UniqueFd context = TRY(sys::fsopen("tmpfs"));
  TRY(sys::fsconfig_string(context.get(), "mode", "755"));
  TRY(sys::fsconfig_create(context.get()));
  UniqueFd tmpfs = TRY(sys::fsmount(context.get(), 0));
  int fd = tmpfs.get();
  UniqueFd place = TRY(mount_target(root_, mount.destination, true));
  TRY(sys::move_mount_onto(fd, place.get()));
  for (const auto& [name, directory] : plan_.cgroups) {
    UniqueFd tree = TRY(sys::open_tree(AT_FDCWD, directory, OPEN_TREE_CLONE));
    TRY(set_attributes(tree.get(), options));
    TRY(sys::mkdirat(fd, name, 0755));
    TRY(sys::move_mount(tree.get(), fd, name));
    // "cpu,cpuacct": each controller by its own name, too.
    for (size_t at = 0; name.find(',') != std::string::npos && at <= name.size();) {
      size_t end = std::min(name.find(',', at), name.size());
      TRY(sys::symlinkat(name, fd, name.substr(at, end - at)));
      at = end + 1;
    }
  }
  return set_attributes(fd, options);
}

Status Rootfs::make_devices() {
  static const Device kDefaults[] = {
      device_node("/dev/null", 1, 3),    device_node("/dev/zero", 1, 5),
      device_node("/dev/full", 1, 7),    device_node("/dev/random", 1, 8),
      device_node("/dev/urandom", 1, 9), device_node("/dev/tty", 5, 0)};
  for (const Device& device : kDefaults) TRY(make_device(device).context("{}", device.path));
  if (!plan_.spec.linux_section) return {};
  const auto& devices = plan_.spec.linux_section->devices;
  for (size_t i = 0; i < devices.size(); ++i)
    TRY(make_device(devices[i]).context("linux.devices[{}] {}", i, devices[i].path));
  return {};
}

Status Rootfs::make_device(const Device& device) {
  mode_t type = device.type == "b" ? S_IFBLK : device.type == "p" ? S_IFIFO : S_IFCHR;
  dev_t number = type == S_IFIFO ? 0
                                 : makedev(static_cast<unsigned>(device.major.value_or(0)),
                                           static_cast<unsigned>(device.minor.value_or(0)));
  if (plan_.user_namespace && type != S_IFIFO) {
    UniqueFd tree = TRY(sys::open_tree(AT_FDCWD, device.path, OPEN_TREE_CLONE));
    struct stat there = TRY(sys::fstat(tree.get()));
    if ((there.st_mode & S_IFMT) != type || there.st_rdev != number)
      return conflict(
          "the host has another device of this name, and none can be made in a user "
          "namespace");
    return put(std::move(tree), device.path, false);
  }
  size_t slash = device.path.rfind('/');
  if (slash > 0) (void)TRY(root_.make_directories(device.path.substr(0, slash), 0755));
  Beneath::Parent parent = TRY(root_.parent_of(device.path));
  mode_t mode = device.file_mode.value_or(0666) & 07777;
  int dirfd = parent.directory.get();
  Status made = sys::mknodat(dirfd, parent.name, type | mode, number);
  if (!made && made.error().code() == EEXIST) {
    struct stat there = TRY(sys::fstatat(dirfd, parent.name));
    if ((there.st_mode & S_IFMT) == type && there.st_rdev == number) return {};
    return conflict("something else is in its place");
  }
  TRY(std::move(made));
  if (device.uid.value_or(0) || device.gid.value_or(0))
    TRY(sys::fchownat(dirfd, parent.name, device.uid.value_or(0), device.gid.value_or(0)));
  return {};
}

Status Rootfs::make_links() {
  constexpr std::pair<const char*, const char*> kLinks[] = {
      {"pts/ptmx", "ptmx"},          {"/proc/self/fd", "fd"},       {"/proc/self/fd/0", "stdin"},
      {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}, {"/proc/kcore", "core"}};
  Result<UniqueFd> dev = root_.open("/dev", O_PATH | O_DIRECTORY);
  if (!dev) return std::move(dev).error().context("/dev");
  for (auto [to, name] : kLinks) {
    // Not every kernel has it.
    if (to == std::string_view("/proc/kcore") && ::access(to, F_OK) == -1) continue;
    Status made = sys::symlinkat(to, dev->get(), name);
    if (!made && made.error().code() != EEXIST) return std::move(made).error().context("/dev");
  }
  return {};
}

Status Rootfs::mask(const std::string& path) {
  Result<UniqueFd> found = root_.open(path, O_PATH);
  if (!found) {
    if (found.error().code() == ENOENT || found.error().code() == ENOTDIR) return {};
    return std::move(found).error();
  }
  struct stat st = TRY(sys::fstat(found->get()));
  if (!S_ISDIR(st.st_mode)) {
    UniqueFd tree = TRY(sys::open_tree(null_.get(), "", kClone));
    return sys::move_mount_onto(tree.get(), found->get());
  }
  UniqueFd context = TRY(sys::fsopen("tmpfs"));
  TRY(sys::fsconfig_string(context.get(), "nr_inodes", "1"));
  TRY(sys::fsconfig_create(context.get()));
  UniqueFd tree = TRY(sys::fsmount(context.get(), static_cast<unsigned>(kReadonly)));
  return sys::move_mount_onto(tree.get(), found->get());
}

Status Rootfs::make_readonly(const std::string& path) {
  Result<UniqueFd> found = root_.open(path, O_PATH);
  if (!found) {
    if (found.error().code() == ENOENT || found.error().code() == ENOTDIR) return {};
    return std::move(found).error();
  }
  UniqueFd tree = TRY(sys::open_tree(found->get(), "", kClone | AT_RECURSIVE));
  TRY(sys::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, kReadonly, 0));
  return sys::move_mount_onto(tree.get(), found->get());
}

Result<Terminal> Rootfs::open_console() {
  Terminal terminal = TRY(open_terminal(root_));
  UniqueFd tree = TRY(sys::open_tree(terminal.slave.get(), "", kClone));
  TRY(put(std::move(tree), "/dev/console", false).context("/dev/console"));
  return terminal;
}

Status Rootfs::pivot() {
  if (!plan_.own_mounts) {
    if (::fchdir(root_.fd()) == -1 || ::chroot(".") == -1)
      return error_from_errno(errno, "chroot to the root file system");
    return {};
  }
  uint64_t propagation = TRY(propagation_type(
      plan_.spec.linux_section ? plan_.spec.linux_section->rootfs_propagation : ""));
  if (::fchdir(root_.fd()) == -1) return error_from_errno(errno, "chdir to the root file system");
  if (plan_.no_pivot) {
    if (::mount(".", "/", nullptr, MS_MOVE, nullptr) == -1)
      return error_from_errno(errno, "move root");
    if (::chroot(".") == -1) return error_from_errno(errno, "chroot");
  } else {
    UniqueFd old = TRY(sys::open("/", O_PATH | O_DIRECTORY));
    if (::syscall(SYS_pivot_root, ".", ".") == -1) return error_from_errno(errno, "pivot_root");
    if (propagation == MS_SHARED)
      TRY(sys::mount_setattr(old.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, MS_SLAVE));
    // The old root lies on top of the new one: "." leads to it.
    TRY(sys::umount(".", MNT_DETACH).context("old root"));
  }
  if (::chdir("/") == -1) return error_from_errno(errno, "chdir /");
  if (!plan_.spec.linux_section || plan_.spec.linux_section->rootfs_propagation.empty()) return {};
  return sys::mount_setattr(AT_FDCWD, "/", 0, 0, 0, propagation).context("linux.rootfsPropagation");
}

}  // namespace gantry::libcontainer

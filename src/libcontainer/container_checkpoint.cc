// Checkpoint and restore through CRIU. What the container has from outside is declared to it: bind
// mounts by where they are, network and pid namespaces by path, and standard input, output and
// error, whose names a checkpoint leaves in descriptors.json beside the images, as runc does.
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"
#include "libcontainer/checkpoint.h"
#include "libcontainer/container_impl.h"
#include "libcontainer/criu.h"
#include "libcontainer/hooks.h"
#include "libcontainer/mount_options.h"
#include "libcontainer/mount_target.h"
#include "libcontainer/namespaces.h"
#include "libcontainer/validate.h"

namespace gantry::libcontainer {
namespace {

// Fields of criu_opts.
namespace opts {
enum : uint32_t {
  kImagesDirFd = 1,
  kPid = 2,
  kLeaveRunning = 3,
  kExtUnixSk = 4,
  kTcpEstablished = 5,
  kEvasiveDevices = 6,
  kShellJob = 7,
  kFileLocks = 8,
  kLogLevel = 9,
  kLogFile = 10,
  kNotifyScripts = 12,
  kRoot = 13,
  kParentImg = 14,
  kTrackMem = 15,
  kAutoDedup = 16,
  kWorkDirFd = 17,
  kLinkRemap = 18,
  kExtMnt = 23,
  kManageCgroups = 24,
  kCgRoot = 25,
  kRstSibling = 26,
  kInheritFd = 27,
  kManageCgroupsMode = 34,
  kExternal = 37,
  kEmptyNs = 38,
  kJoinNs = 39,
  kFreezeCgroup = 44,
  kTcpSkipInFlight = 46,
  kOrphanPtsMaster = 50,
  kConfigFile = 51,
  kLsmProfile = 53,
};
}  // namespace opts

constexpr uint64_t kCriuDebug = 4;  // the log is where failures are explained
constexpr const char* kDescriptorsFile = "descriptors.json";
constexpr const char* kCriuRoot = "criu-root";  // in the state directory

// A message of two strings, or of a string and a number.
std::string pair_of(uint32_t first, std::string_view key, uint32_t second, std::string_view value) {
  ProtoWriter out;
  out.put(first, key);
  out.put(second, value);
  return out.data();
}

std::string inherited(std::string_view key, int fd) {
  ProtoWriter out;
  out.put(1, key);
  out.put(2, static_cast<uint64_t>(fd));
  return out.data();
}

Result<uint64_t> cgroup_mode(const std::string& word) {
  constexpr std::pair<std::string_view, uint64_t> kModes[] = {
      {"", 3}, {"soft", 3}, {"full", 4}, {"strict", 5}, {"ignore", 0}};
  for (auto [name, mode] : kModes)
    if (name == word) return mode;
  return invalid("--manage-cgroups-mode: \"{}\" is not soft, full, strict or ignore", word);
}

// The directories of a request, open while it is made.
struct Directories {
  UniqueFd images;
  UniqueFd work;  // invalid: the images'
  std::string log_path;
  std::string log_name;
  int log_directory() const { return work ? work.get() : images.get(); }
};

Result<Directories> open_directories(const CriuOptions& options, bool make, const char* log_name) {
  if (options.image_path.empty()) return invalid("--image-path: a directory is required");
  Directories out;
  auto open = [&](const std::string& path, bool wanted) -> Result<UniqueFd> {
    if (wanted && ::mkdir(path.c_str(), 0700) == -1 && errno != EEXIST)
      return errno_error(errno, "{}", path);
    return sys::open(path, O_RDONLY | O_DIRECTORY);
  };
  out.images = TRY(open(options.image_path, make).context("--image-path"));
  if (!options.work_path.empty())
    out.work = TRY(open(options.work_path, true).context("--work-path"));
  out.log_name = log_name;
  out.log_path = (out.work ? options.work_path : options.image_path) + "/" + log_name;
  (void)::unlinkat(out.log_directory(), log_name, 0);  // an older one would tell of another failure
  return out;
}

// criu's own configuration, the administrator's: ours, else runc's. Not one that the annotation
// org.criu.config names, as runc has it: such a file can have criu run programs (action-script).
std::string config_file() {
  constexpr const char* kOurs = "/etc/criu/gantry-runtime.conf";
  return ::access(kOurs, F_OK) == 0 ? kOurs : "/etc/criu/runc.conf";
}

// criu opens them as /proc/PID-OF-OURS/fd/N.
void put_directories(ProtoWriter& options, const UniqueFd& images, const UniqueFd& work) {
  options.put(opts::kImagesDirFd, static_cast<uint64_t>(images.get()));
  if (work) options.put(opts::kWorkDirFd, static_cast<uint64_t>(work.get()));
}

Result<ProtoWriter> common_options(const CriuOptions& options, const Directories& directories) {
  ProtoWriter out;
  auto put_if = [&](uint32_t field, bool value) {
    if (value) out.put(field, uint64_t{1});
  };
  out.put(opts::kLogLevel, kCriuDebug);
  out.put(opts::kLogFile, directories.log_name);
  out.put(opts::kNotifyScripts, uint64_t{1});
  out.put(opts::kOrphanPtsMaster, uint64_t{1});
  out.put(opts::kManageCgroups, uint64_t{1});
  out.put(opts::kManageCgroupsMode, TRY(cgroup_mode(options.manage_cgroups)));
  out.put(opts::kConfigFile, config_file());
  put_if(opts::kTcpEstablished, options.tcp_established);
  put_if(opts::kExtUnixSk, options.ext_unix_sk);
  put_if(opts::kShellJob, options.shell_job);
  put_if(opts::kFileLocks, options.file_locks);
  put_if(opts::kAutoDedup, options.auto_dedup);
  put_if(opts::kLinkRemap, options.link_remap);
  if (options.empty_network) out.put(opts::kEmptyNs, uint64_t{CLONE_NEWNET});
  return out;
}

// What failed, in one line: what the machine lacks, or the first thing that criu's log complains
// of.
Status explained(Status status, const char* verb, const Directories& directories) {
  if (status || status.error().kind() == ErrorKind::unsupported)
    return std::move(status).context("{}", verb);
  TRY(check_criu().context("{}", verb));
  Result<std::string> log = fs::read_file_at(directories.log_directory(), directories.log_name);
  std::string why = log ? first_criu_error(*log) : "";
  if (why.empty()) return std::move(status).context("{}", verb);
  return internal("{}: criu: {} (see {})", verb, why, directories.log_path);
}

// A mount that is not the container's own: where it is inside, and what is there.
struct ExternalMount {
  std::string inside;
  std::string outside;
};

std::vector<ExternalMount> external_mounts(const Spec& spec, const std::string& bundle,
                                           const Cgroup& cgroup) {
  std::vector<ExternalMount> out;
  for (const Mount& mount : spec.mounts) {
    MountOptions options = parse_mount_options(mount.options);
    if (options.bind != BindKind::none || mount.type == "bind") {
      bool absolute = mount.source.starts_with('/');
      out.push_back({mount.destination, absolute ? mount.source : bundle + "/" + mount.source});
    } else if (mount.type == "cgroup" || mount.type == "cgroup2") {
      for (const auto& [name, directory] : cgroup.mounts())
        out.push_back({mount.destination + (name.empty() ? "" : "/" + name), directory});
    }
  }
  const Linux& section = *spec.linux_section;
  for (const std::string& path : section.masked_paths) out.push_back({path, "/dev/null"});
  if (find_namespace(spec, "user")) {
    for (const char* path :
         {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"})
      out.push_back({path, path});
    for (const Device& device : section.devices) out.push_back({device.path, device.path});
  }
  return out;
}

// The path of a descriptor as its own mount namespace has it.
Result<std::string> path_of(int fd) {
  return sys::readlinkat(AT_FDCWD, fmt::format("/proc/self/fd/{}", fd));
}

// Names of 0, 1 and 2 of `pid` under which CRIU finds them again: "pipe:[123]", "file[1c:5f]" for a
// file that is not in the container, "" for what is restored by itself.
Result<std::vector<std::string>> external_descriptors(pid_t pid, ProtoWriter& options) {
  std::vector<std::string> out;
  std::string mounts = TRY(fs::read_file(fmt::format("/proc/{}/mountinfo", pid)));
  for (int fd = 0; fd <= 2; ++fd) {
    out.emplace_back();
    std::string path = fmt::format("/proc/{}/fd/{}", pid, fd);
    Result<std::string> name = sys::readlinkat(AT_FDCWD, path);
    if (!name) continue;  // closed
    if (name->starts_with("pipe:")) {
      out.back() = *name;
      continue;
    }
    struct stat st;
    if (::stat(path.c_str(), &st) == -1 || !S_ISREG(st.st_mode)) continue;
    std::string info = TRY(fs::read_file(fmt::format("/proc/{}/fdinfo/{}", pid, fd), 4096));
    size_t at = info.find("mnt_id:");
    if (at == std::string::npos) continue;
    int mount = std::atoi(info.c_str() + at + 7);
    if (("\n" + mounts).find(fmt::format("\n{} ", mount)) != std::string::npos) continue;
    out.back() = fmt::format("file[{:x}:{:x}]", mount, st.st_ino);
    options.put(opts::kExternal, out.back());
  }
  return out;
}

Status write_descriptors(int images, const std::vector<std::string>& names) {
  json::array list;
  for (const std::string& name : names) list.emplace_back(name);
  return fs::replace_file_at(images, kDescriptorsFile, json::serialize(list));
}

Result<std::vector<std::string>> read_descriptors(int images) {
  std::string text = TRY(fs::read_file_at(images, kDescriptorsFile, 65536));
  return json::parse<std::vector<std::string>>(text).context("{}", kDescriptorsFile);
}

// What the child that becomes criu does first: into the container's cgroups, and a root that is a
// mount of its own, as CRIU needs it, in a mount namespace that ends with criu.
struct RestorePlan {
  std::vector<UniqueFd> entries;  // of v1
  UniqueFd group;                 // of v2, or invalid
  std::string rootfs;
  std::string place;  // of that root
  const CriuOptions& options;
  // criu mounts in its work directory, which must therefore be of that namespace: the child opens
  // the directories and sends them.
  UniqueFd ours, theirs;

  Status prepare() const;
};

Status RestorePlan::prepare() const {
  for (const UniqueFd& entry : entries) TRY(sys::write_all(entry.get(), "0"));
  if (group) {
    UniqueFd processes = TRY(sys::openat(group.get(), "cgroup.procs", O_WRONLY));
    TRY(sys::write_all(processes.get(), "0"));
  }
  TRY(sys::unshare(CLONE_NEWNS));
  TRY(sys::mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, 0, 0, MS_SLAVE));
  UniqueFd tree =
      TRY(sys::open_tree(AT_FDCWD, rootfs, OPEN_TREE_CLONE | AT_RECURSIVE).context("root.path"));
  TRY(sys::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, MS_PRIVATE));
  TRY(sys::move_mount(tree.get(), AT_FDCWD, place));
  UniqueFd images = TRY(sys::open(options.image_path, O_RDONLY | O_DIRECTORY));
  const std::string& work_path = options.work_path.empty() ? options.image_path : options.work_path;
  UniqueFd work = TRY(sys::open(work_path, O_RDONLY | O_DIRECTORY));
  const int fds[] = {images.get(), work.get()};
  return sys::send_with_fds(theirs.get(), "d", fds);
}

// CRIU mounts, but makes no directories to mount on. What lies in a tmpfs or a bind mount is there.
Status make_mountpoints(const Spec& spec, const std::string& bundle, const std::string& rootfs) {
  Beneath root = TRY(Beneath::open(rootfs).context("root.path"));
  std::vector<std::string> covered;
  for (size_t i = 0; i < spec.mounts.size(); ++i) {
    const Mount& mount = spec.mounts[i];
    bool below = std::any_of(covered.begin(), covered.end(), [&](const std::string& parent) {
      return mount.destination.starts_with(parent + "/");
    });
    MountOptions options = parse_mount_options(mount.options);
    bool bind = options.bind != BindKind::none || mount.type == "bind";
    covered.push_back(mount.destination);
    if (below) continue;
    bool directory = true;
    if (bind) {
      bool absolute = mount.source.starts_with('/');
      struct stat st =
          TRY(sys::fstatat(AT_FDCWD, absolute ? mount.source : bundle + "/" + mount.source, 0)
                  .context("mounts[{}] {}: source", i, mount.destination));
      directory = S_ISDIR(st.st_mode);
    }
    (void)TRY(mount_target(root, mount.destination, directory)
                  .context("mounts[{}] {}", i, mount.destination));
  }
  return {};
}

// Every hierarchy's place of the process that restores, where CRIU is to put what it finds dumped.
Status put_cgroup_roots(pid_t pid, ProtoWriter& options) {
  std::string text = TRY(fs::read_file(fmt::format("/proc/{}/cgroup", pid), 65536));
  for (std::string_view rest = text; !rest.empty();) {
    size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    size_t first = line.find(':');
    size_t second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    options.put(opts::kCgRoot,
                pair_of(1, line.substr(first + 1, second - first - 1), 2, line.substr(second + 1)));
  }
  return {};
}

// Namespaces by path, of the two kinds that CRIU can leave alone.
Status put_external_namespaces(const Spec& spec, ProtoWriter& options) {
  for (const Namespace& one : spec.linux_section->namespaces) {
    if (one.path.empty()) continue;
    struct stat st = TRY(sys::fstatat(AT_FDCWD, one.path, 0).context("linux.namespaces"));
    if (one.type == "network")
      options.put(opts::kExternal, fmt::format("net[{}]:extRootNetNS", st.st_ino));
    else if (one.type == "pid")
      options.put(opts::kExternal, fmt::format("pid[{}]:extRootPidNS", st.st_ino));
  }
  return {};
}

struct Inherited {
  std::vector<UniqueFd> owned;
  std::vector<std::pair<int, int>> descriptors;

  std::string add(std::string_view key, int fd) {
    int theirs = kCriuFirstFd + static_cast<int>(descriptors.size());
    descriptors.emplace_back(fd, theirs);
    return inherited(key, theirs);
  }
};

Status put_namespaces(const Spec& spec, ProtoWriter& options, Inherited& inherit) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"ipc", "ipc"}, {"uts", "uts"}, {"mount", "mnt"}, {"user", "user"}, {"time", "time"}};
  for (const Namespace& one : spec.linux_section->namespaces) {
    if (one.path.empty()) continue;
    if (one.type == "network" || one.type == "pid") {
      inherit.owned.push_back(
          TRY(sys::open(one.path, O_RDONLY).context("linux.namespaces: {}", one.type)));
      const char* key = one.type == "pid" ? "extRootPidNS" : "extRootNetNS";
      options.put(opts::kInheritFd, inherit.add(key, inherit.owned.back().get()));
      continue;
    }
    bool known = false;
    for (auto [type, name] : kNames) {
      if (type != one.type) continue;
      options.put(opts::kJoinNs, pair_of(1, name, 2, one.path));
      known = true;
    }
    if (!known)
      return unsupported("linux.namespaces: a {} namespace by path cannot be restored", one.type);
  }
  return {};
}

}  // namespace

Status Container::checkpoint(const CheckpointOptions& options) {
  Impl& impl = *impl_;
  const Spec& spec = impl.options.spec;
  ContainerStatus now = TRY(status());
  if (now != ContainerStatus::running && now != ContainerStatus::paused)
    return conflict("checkpoint: cannot checkpoint a {} container", to_string(now));
  Directories directories = TRY(open_directories(options, true, "dump.log").context("checkpoint"));
  ProtoWriter request = TRY(common_options(options, directories).context("checkpoint"));
  put_directories(request, directories.images, directories.work);
  request.put(opts::kPid, static_cast<uint64_t>(pid()));
  request.put(opts::kRoot, impl.state.rootfs);
  if (options.leave_running) request.put(opts::kLeaveRunning, uint64_t{1});
  if (options.tcp_skip_in_flight) request.put(opts::kTcpSkipInFlight, uint64_t{1});
  if (!options.parent_path.empty()) request.put(opts::kParentImg, options.parent_path);
  if (!options.parent_path.empty() || options.pre_dump) request.put(opts::kTrackMem, uint64_t{1});
  TRY(put_external_namespaces(spec, request));
  Cgroup& cgroup = *TRY(impl.open_cgroup());
  if (std::string freezer = cgroup.freezer(); !freezer.empty())
    request.put(opts::kFreezeCgroup, freezer);

  if (!options.pre_dump) {
    Beneath root = TRY(Beneath::open(fmt::format("/proc/{}/root", pid())));
    for (const ExternalMount& mount : external_mounts(spec, impl.options.bundle, cgroup)) {
      Result<UniqueFd> there = root.open(mount.inside, O_PATH);
      if (!there) continue;  // a masked path that this kernel does not have
      struct stat st = TRY(sys::fstat(there->get()));
      if (S_ISDIR(st.st_mode) && mount.outside == "/dev/null") continue;  // masked by a tmpfs
      request.put(opts::kExtMnt, pair_of(1, TRY(path_of(there->get())), 2, mount.inside));
    }
    std::vector<std::string> descriptors = TRY(external_descriptors(pid(), request));
    TRY(write_descriptors(directories.images.get(), descriptors));
  }

  auto dump = [&]() -> Status {
    Criu criu = TRY(Criu::start());
    return criu.ask(options.pre_dump ? CriuRequest::pre_dump : CriuRequest::dump, request, {});
  };
  TRY(explained(dump(), "checkpoint", directories));
  if (options.leave_running || options.pre_dump) return {};
  return destroy();
}

Status Container::Impl::restore(const RestoreOptions& restore) {
  const Spec& spec = options.spec;
  Directories directories = TRY(open_directories(restore, false, "restore.log").context("restore"));
  std::vector<std::string> names =
      TRY(read_descriptors(directories.images.get()).context("restore"));
  NamespacePlan plan = TRY(plan_namespaces(spec));
  state.namespaces = plan.types;
  TRY(take_directory());
  TRY(keep_config());
  TRY(take_cgroup());
  TRY(take_rdt().context("linux.intelRdt"));
  auto [here, there] = TRY(sys::socketpair(SOCK_SEQPACKET));
  RestorePlan child_plan{TRY(process_entries()),
                         TRY(cgroup->clone_target()),
                         state.rootfs,
                         options.state_directory + "/" + kCriuRoot,
                         restore,
                         std::move(here),
                         std::move(there)};
  TRY(make_mountpoints(spec, options.bundle, state.rootfs));

  ProtoWriter request = TRY(common_options(restore, directories));
  TRY(sys::mkdirat(directory.get(), kCriuRoot, 0700));
  request.put(opts::kEvasiveDevices, uint64_t{1});
  request.put(opts::kRstSibling, uint64_t{1});
  request.put(opts::kRoot, child_plan.place);
  if (!restore.lsm_profile.empty()) request.put(opts::kLsmProfile, restore.lsm_profile);
  for (const ExternalMount& mount : external_mounts(spec, options.bundle, *cgroup))
    request.put(opts::kExtMnt, pair_of(1, mount.inside, 2, mount.outside));
  Inherited inherit;
  const int stdio[] = {options.stdio.in, options.stdio.out, options.stdio.err};
  for (size_t fd = 0; fd < std::min<size_t>(names.size(), 3); ++fd)
    if (!names[fd].empty() && std::find(names.begin(), names.begin() + static_cast<long>(fd),
                                        names[fd]) == names.begin() + static_cast<long>(fd))
      request.put(opts::kInheritFd, inherit.add(names[fd], stdio[fd]));
  TRY(put_namespaces(spec, request, inherit));

  auto notify = [&](std::string_view script, pid_t pid, UniqueFd fd) -> Status {
    if (script == "setup-namespaces" && spec.hooks) {
      state.pid = pid;
      hooked = true;
      TRY(run_hooks(spec.hooks->prestart, "prestart", state, "creating"));
      TRY(run_hooks(spec.hooks->create_runtime, "createRuntime", state, "creating"));
    } else if (script == "orphan-pts-master") {
      console = std::move(fd);
    } else if (script == "post-restore") {
      state.pid = pid;
      state.pid_start_time = TRY(process_start_time(pid));
      pidfd = TRY(sys::pidfd_open(pid));
      ours = true;
      TRY(adopt_time_namespace());
      TRY(write_state(directory.get(), state));
    }
    return {};
  };
  auto run = [&]() -> Status {
    CriuChild child;
    child.prepare = [&] { return child_plan.prepare(); };
    child.descriptors = inherit.descriptors;
    Criu criu = TRY(Criu::start(child));
    char byte;
    sys::Received opened = TRY(sys::receive_with_fds(child_plan.ours.get(), &byte, 1));
    if (opened.fds.size() != 2) return internal("criu: the directories did not come");
    put_directories(request, opened.fds[0], opened.fds[1]);
    TRY(put_cgroup_roots(criu.pid(), request));
    return criu.ask(CriuRequest::restore, request, notify);
  };
  Status restored = run();
  log::ignored("restore", sys::unlinkat(directory.get(), kCriuRoot, AT_REMOVEDIR));
  release_scope(scope);
  return explained(std::move(restored), "restore", directories);
}

// CRIU gives what it restores a time namespace, so that its monotonic clock goes on.
Status Container::Impl::adopt_time_namespace() {
  Result<std::string> theirs =
      sys::readlinkat(AT_FDCWD, fmt::format("/proc/{}/ns/time", state.pid));
  Result<std::string> own = sys::readlinkat(AT_FDCWD, "/proc/self/ns/time");
  if (!theirs || !own || *theirs == *own) return {};
  std::vector<std::string>& types = state.namespaces;
  if (std::find(types.begin(), types.end(), "time") == types.end()) types.emplace_back("time");
  return {};
}

Result<Container> Container::restore(CreateOptions options, const RestoreOptions& restore) {
  if (options.rootfs || options.state_directory.empty())
    return invalid("restore: needs a root.path and a state directory");
  std::unique_ptr<Impl> impl = TRY(Impl::make(std::move(options)));
  Status restored = impl->restore(restore);
  if (!restored) return impl->undo(std::move(restored).error());
  return Container(std::move(impl));
}

}  // namespace gantry::libcontainer

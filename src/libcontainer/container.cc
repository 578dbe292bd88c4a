#include "libcontainer/container.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"
#include "libcontainer/apparmor.h"
#include "libcontainer/bind_sources.h"
#include "libcontainer/container_impl.h"
#include "libcontainer/default_profile.h"
#include "libcontainer/hooks.h"
#include "libcontainer/init.h"
#include "libcontainer/namespaces.h"
#include "libcontainer/net_devices.h"
#include "libcontainer/notify.h"
#include "libcontainer/scheduling.h"
#include "libcontainer/validate.h"

namespace gantry::libcontainer {
namespace {

constexpr int kRemovalTimeout = 5000;  // ms, for the dying to be gone
constexpr const char* kGate = "gate.sock";
constexpr std::string_view kStatusNames[] = {"creating", "created", "running", "paused", "stopped"};

// A path below a directory of ours, short enough for a socket address.
Result<sockaddr_un> gate_address(int directory) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::string path = fmt::format("/proc/self/fd/{}/{}", directory, kGate);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

Result<UniqueFd> gate_socket() {
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) return error_from_errno(errno, "gate: socket");
  return socket;
}

Result<UniqueFd> listen_at_gate(int directory) {
  UniqueFd socket = TRY(gate_socket());
  sockaddr_un address = TRY(gate_address(directory));
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == -1 ||
      ::listen(socket.get(), 1) == -1)
    return error_from_errno(errno, "gate: bind");
  return socket;
}

Result<UniqueFd> knock_at_gate(int directory) {
  UniqueFd socket = TRY(gate_socket());
  sockaddr_un address = TRY(gate_address(directory));
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == -1)
    return error_from_errno(errno, "gate");
  return socket;
}

// The rules as given, then what every container may have, then its own devices (as runc adds them).
std::vector<DeviceCgroup> device_rules(const Spec& spec) {
  std::vector<DeviceCgroup> rules;
  const Linux& section = *spec.linux_section;
  if (section.resources) rules = section.resources->devices;
  std::vector<DeviceCgroup> defaults = default_device_rules();
  if (rules.empty()) rules.push_back(defaults.front());
  rules.insert(rules.end(), defaults.begin() + 1, defaults.end());
  for (const Device& device : section.devices) {
    if (device.type == "p") continue;
    DeviceCgroup rule;
    rule.allow = true;
    rule.type = device.type == "u" ? "c" : device.type;
    rule.major = device.major;
    rule.minor = device.minor;
    rule.access = "rwm";
    rules.push_back(std::move(rule));
  }
  // The last reset wins; what stands before it costs writes for nothing.
  auto reset = std::find_if(rules.rbegin(), rules.rend(), [](const DeviceCgroup& rule) {
    return rule.type.empty() || rule.type == "a";
  });
  if (reset != rules.rend()) rules.erase(rules.begin(), std::prev(reset.base()));
  return rules;
}

}  // namespace

std::string_view to_string(ContainerStatus status) {
  return kStatusNames[static_cast<size_t>(status)];
}

// Noted first, so that a container that was only half made can be deleted.
Status Container::Impl::take_rdt() {
  const auto& config = options.spec.linux_section->intel_rdt;
  if (!config) return {};
  state.rdt = TRY(plan_rdt(*config, state.id, find_resctrl()));
  if (directory) TRY(write_state(directory.get(), state));
  return make_rdt(state.rdt, *config);
}

Result<std::vector<UniqueFd>> Container::Impl::process_entries(const std::string& below) const {
  std::vector<UniqueFd> entries = TRY(TRY(open_cgroup())->entries(below));
  for (UniqueFd& entry : TRY(rdt_entries(state.rdt).context("linux.intelRdt")))
    entries.push_back(std::move(entry));
  return entries;
}

bool Container::Impl::has_gate() const {
  return directory && ::faccessat(directory.get(), kGate, F_OK, 0) == 0;
}

Result<Cgroup*> Container::Impl::open_cgroup() const {
  if (!cgroup) cgroup = TRY(Cgroup::open(state.cgroups_path, state.cgroups_found));
  return &*cgroup;
}

Status Container::Impl::take_directory() {
  if (options.state_directory.empty()) return {};
  TRY(failpoint("runtime.directory"));
  size_t slash = options.state_directory.rfind('/');
  TRY(fs::make_directories(options.state_directory.substr(0, slash), 0711));
  if (::mkdir(options.state_directory.c_str(), 0711) == -1) {
    if (errno == EEXIST) return conflict("container with given ID already exists: {}", options.id);
    return errno_error(errno, "mkdir {}", options.state_directory);
  }
  directory = TRY(sys::open(options.state_directory, O_RDONLY | O_DIRECTORY));
  return write_state(directory.get(), state);
}

// For those who come later: start, exec, delete.
Status Container::Impl::keep_config() {
  if (!directory) return {};
  TRY(failpoint("runtime.config"));
  UniqueFd config =
      TRY(sys::openat(directory.get(), "config.json", O_WRONLY | O_CREAT | O_EXCL, 0600));
  return sys::write_all(config.get(), json::dump(options.spec)).context("config.json");
}

Status Container::Impl::take_cgroup() {
  const Linux& section = *options.spec.linux_section;
  if (options.cgroup_driver == CgroupDriver::systemd) {
    ScopeName name = TRY(parse_scope(section.cgroups_path, options.id, options.rootless));
    scope = TRY(start_scope(name, section.resources, options.rootless));
    state.cgroups_path = scope.cgroup;
    state.systemd_cgroup = true;
  }
  TRY(failpoint("runtime.cgroup"));
  bool named = !section.cgroups_path.empty() && !state.systemd_cgroup;
  cgroup = TRY(
      Cgroup::create(state.cgroups_path, options.rootless, named ? Found::theirs : Found::ours));
  state.cgroups_found = cgroup->found();
  TRY(failpoint("runtime.cgroup.made"));
  if (directory && !state.cgroups_found.empty()) TRY(write_state(directory.get(), state));
  if (section.resources) TRY(cgroup->apply(*section.resources));
  // Into a group that is there, without limits: it stays as it is. Not beside init, which makes
  // devices: between the reset and the rules after it nobody may.
  if (section.resources || state.cgroups_found.empty()) {
    Status devices = cgroup->apply_devices(device_rules(options.spec));
    if (!devices && devices.error().kind() != ErrorKind::unsupported) return devices;
  }
  return failpoint("runtime.cgroup.limited");
}

Result<Clone> Container::Impl::clone_init(InitPlan& plan, int group) {
  NamespacePlan& namespaces = plan.namespaces;
  if (!namespaces.joined_user)
    return clone_process(namespaces.clone_flags, group, namespaces.joined_pid.get());
  auto prepare = [](void* context) { return prepare_init(*static_cast<InitPlan*>(context)); };
  return clone_joined(namespaces, group, prepare, &plan);
}

Result<std::unique_ptr<InitPlan>> Container::Impl::prepare() {
  const Linux& section = *options.spec.linux_section;
  if (options.spec.process->apparmor_profile == kDefaultApparmorProfile)
    TRY(load_default_apparmor_profile().context("process.apparmorProfile"));
  std::unique_ptr<InitPlan> owned(new InitPlan{options, state, {}, TRY(ProcFs::open())});
  InitPlan& plan = *owned;
  if (section.seccomp) {
    filter = TRY(cached_seccomp(*section.seccomp, options.seccomp_cache));
    plan.process.filter = filter;
  }
  plan.namespaces = TRY(plan_namespaces(options.spec));
  plan.state.namespaces = state.namespaces = plan.namespaces.types;
  plan.bind_sources = TRY(open_bind_sources(options.spec, options.bundle, plan.namespaces));
  TRY(take_directory());
  TRY(take_cgroup());
  TRY(take_rdt().context("linux.intelRdt"));
  plan.cgroup_entries = TRY(process_entries());
  plan.cgroup_mounts = cgroup->mounts();
  if (options.gate == Gate::socket) plan.gate = TRY(listen_at_gate(directory.get()));
  plan.process.process = *options.spec.process;
  plan.process.user = options.user;
  plan.process.memory_policy = section.memory_policy;
  plan.process.preserve_fds = options.preserve_fds;
  plan.process.new_keyring = !options.no_new_keyring;
  plan.process.die_with_parent = options.die_with_parent;
  plan.process.user_namespace = plan.namespaces.user_namespace;
  plan.process.init_program = options.init_program;
  return owned;
}

Status Container::Impl::clone(std::unique_ptr<InitPlan> owned) {
  const Linux& section = *options.spec.linux_section;
  InitPlan& plan = *owned;
  UniqueFd target = TRY(cgroup->clone_target());
  SyncSocket::Pair pair = TRY(SyncSocket::pair());
  plan.sync = std::move(pair.child);

  TRY(failpoint("runtime.clone"));
  Clone cloned = TRY(clone_init(plan, target.get()));
  if (cloned.pid == 0) {
    pair.parent.close();
    run_init(plan);
  }
  ours = true;
  waiting = true;
  plan.sync.close();
  sync = std::move(pair.parent);
  pidfd = std::move(cloned.pidfd);
  state.pid = cloned.pid;
  TRY(failpoint("runtime.cloned"));
  if (plan.namespaces.maps_ids) {
    TRY(map_ids(cloned.pid, section.uid_mappings, section.gid_mappings));
    TRY(sync.send(SyncMessage::mapped));
  }
  if (!section.net_devices.empty()) {
    UniqueFd network = TRY(netns_of(cloned.pid));
    TRY(move_net_devices(section.net_devices, network.get()));
    TRY(sync.send(SyncMessage::moved));
  }
  TRY(keep_config());  // beside init, which mounts meanwhile
  TRY(note_pid());
  return failpoint("runtime.begun");
}

// What whoever looks for the container needs, before anything runs in it.
Status Container::Impl::note_pid() {
  state.pid_start_time = TRY(process_start_time(state.pid));
  TRY(failpoint("runtime.state"));
  return directory ? write_state(directory.get(), state) : Status();
}

Error Container::Impl::undo(Error reason) {
  (void)failpoint("runtime.undo");
  if (ours && pidfd) {
    (void)sys::pidfd_send_signal(pidfd.get(), SIGKILL);
    (void)sys::waitpid(state.pid);
    ours = false;
  }
  sync.close();
  release_scope(scope);
  // Not what somebody else has: a conflict over the directory leaves cgroup and state alone.
  bool took = directory.valid() || (options.state_directory.empty() && state.pid != 0);
  if (took) {
    if (cgroup) log::ignored("undo", cgroup->remove(kRemovalTimeout));
    log::ignored("undo", release_rdt(state.rdt));
    if (state.systemd_cgroup)
      log::ignored("undo", stop_scope(state.cgroups_path, options.rootless));
    if (directory) log::ignored("undo", fs::remove_tree(options.state_directory));
  }
  if (hooked) run_poststop();
  return reason;
}

Container::Container(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Container::Container(Container&&) noexcept = default;
Container& Container::operator=(Container&&) noexcept = default;
Container::~Container() = default;

Result<std::unique_ptr<Container::Impl>> Container::Impl::make(CreateOptions options) {
  TRY(check_id(options.id));
  TRY(check_spec(options.spec, options.rootfs ? RootNeeded::no : RootNeeded::yes));
  if (options.gate == Gate::socket && options.state_directory.empty())
    return invalid("a gate for other processes needs a state directory");
  if (options.init_program >= 0 && options.preserve_fds > 0)
    return invalid("an init of its own passes no descriptors on");
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  const CreateOptions& kept = impl->options;
  State& state = impl->state;
  state.oci_version = kOciVersion;
  state.id = kept.id;
  state.bundle = kept.bundle;
  if (kept.spec.root)
    state.rootfs = kept.spec.root->path.starts_with('/') ? kept.spec.root->path
                                                         : kept.bundle + "/" + kept.spec.root->path;
  state.created = now_ns();
  state.owner = ::geteuid();
  state.new_keyring = !kept.no_new_keyring;
  state.annotations = kept.spec.annotations;
  bool scoped = kept.cgroup_driver == CgroupDriver::systemd;  // known when systemd has made it
  const std::string& wanted = kept.spec.linux_section->cgroups_path;
  state.cgroups_path = TRY(normalize_cgroup_path(scoped ? "" : wanted, kept.id));
  return impl;
}

Result<Container> Container::begin(CreateOptions options) {
  std::unique_ptr<Impl> impl = TRY(Impl::make(std::move(options)));
  auto step = [&]() -> Status { return impl->clone(TRY(impl->prepare())); };
  Status begun = step();
  if (!begun) return impl->undo(std::move(begun).error());
  return Container(std::move(impl));
}

Status Container::wait_created() {
  Impl& impl = *impl_;
  auto step = [&]() -> Status {
    for (;;) {
      SyncSocket::Packet packet = TRY(impl.sync.receive());
      if (packet.end) return internal("init ended before it was ready (killed, or out of memory)");
      switch (packet.message) {
        case SyncMessage::console:
          impl.console = std::move(packet.fd);
          break;
        case SyncMessage::hooks_due: {
          impl.hooked = true;
          const Hooks& hooks = *impl.options.spec.hooks;
          TRY(run_hooks(hooks.prestart, "prestart", impl.state, "creating"));
          TRY(run_hooks(hooks.create_runtime, "createRuntime", impl.state, "creating"));
          TRY(impl.sync.send(SyncMessage::hooks_done));
          break;
        }
        case SyncMessage::notify:
          TRY(hand_over_notify(impl.options.spec, impl.state, impl.state.pid, packet.fd.get()));
          break;
        case SyncMessage::ready:
          return {};
        default:
          return internal("sync: \"{}\" is out of order", to_string(packet.message));
      }
    }
  };
  Status created = step();
  impl.waiting = false;
  release_scope(impl.scope);
  if (!created) return impl.undo(std::move(created).error());
  if (impl.options.gate == Gate::socket) impl.sync.close();
  return {};
}

Result<Container> Container::create(CreateOptions options) {
  Container container = TRY(begin(std::move(options)));
  TRY(container.wait_created());
  return container;
}

Result<Container> Container::load(const std::string& state_directory) {
  auto impl = std::make_unique<Impl>();
  Result<UniqueFd> directory = sys::open(state_directory, O_RDONLY | O_DIRECTORY);
  std::string id = state_directory.substr(state_directory.rfind('/') + 1);
  if (!directory) {
    if (directory.error().code() == ENOENT) return not_found("container does not exist: {}", id);
    return std::move(directory).error();
  }
  impl->directory = directory.release();
  impl->options.state_directory = state_directory;
  Result<State> state = read_state(impl->directory.get());
  if (!state) {
    // Its maker was killed before it could write anything: there is nothing but the directory.
    if (state.error().code() != ENOENT) return std::move(state).error();
    impl->state.oci_version = kOciVersion;
    impl->state.id = id;
    impl->state.cgroups_path = TRY(normalize_cgroup_path("", id));
  } else {
    impl->state = state.release();
  }
  impl->options.id = impl->state.id;
  impl->options.bundle = impl->state.bundle;
  if (Result<std::string> text = fs::read_file_at(impl->directory.get(), "config.json"); text)
    impl->options.spec = TRY(parse_spec(*text).context("config.json"));
  if (init_alive(impl->state)) {
    Result<UniqueFd> pidfd = sys::pidfd_open(impl->state.pid);
    // The number may have gone to somebody else in between.
    if (pidfd && init_alive(impl->state)) impl->pidfd = pidfd.release();
  }
  return Container(std::move(impl));
}

const std::string& Container::id() const { return impl_->state.id; }
const State& Container::state() const { return impl_->state; }
pid_t Container::pid() const { return impl_->state.pid; }
int Container::pidfd() const { return impl_->pidfd.get(); }
UniqueFd Container::take_console() { return std::move(impl_->console); }

Result<UniqueFd> Container::Impl::netns_of(pid_t pid) const {
  const Namespace* network = find_namespace(options.spec, "network");
  if (!network) return sys::open("/proc/self/ns/net", O_RDONLY);
  if (!network->path.empty()) return sys::open(network->path, O_RDONLY);
  return sys::open(fmt::format("/proc/{}/ns/net", pid), O_RDONLY);
}

Result<UniqueFd> Container::netns_fd() {
  Result<UniqueFd> own = impl_->netns_of(pid());
  if (!own && impl_->waiting) TRY(wait_created());
  return own;
}

Status Container::Impl::finish_start(const SyncSocket& socket) {
  TRY(socket.send(SyncMessage::start));
  const std::optional<Hooks>& hooks = options.spec.hooks;
  bool hooks_run = hooks && !hooks->start_container.empty();
  for (;;) {
    Result<SyncSocket::Packet> received = socket.receive();
    if (!received && hooks_run) return end_for_hook(std::move(received).error());
    SyncSocket::Packet packet = TRY(std::move(received));
    if (packet.end && hooks_run)
      return end_for_hook(internal("hooks.startContainer: init ended while they ran"));
    if (packet.end) break;  // closed by exec: the program runs
    if (packet.message == SyncMessage::hooks_done) {
      hooks_run = false;
      continue;
    }
    if (packet.message != SyncMessage::notify)
      return internal("sync: \"{}\" is out of order", to_string(packet.message));
    TRY(hand_over_notify(options.spec, state, state.pid, packet.fd.get()));
  }
  if (directory) (void)::unlinkat(directory.get(), kGate, 0);
  if (!hooks) return {};
  Status ran = run_hooks(hooks->poststart, "poststart", state, "running");
  return ran ? Status() : end_for_hook(std::move(ran).error());
}

// runtime.md, "Lifecycle": a hook that fails ends the container, and its destruction follows. Whose
// child init is does that after reaping it.
Error Container::Impl::end_for_hook(Error reason) {
  if (pidfd) (void)sys::pidfd_send_signal(pidfd.get(), SIGKILL);
  if (!ours) log::ignored("start", destroy());
  return reason;
}

void Container::Impl::run_poststop() {
  if (!options.spec.hooks) return;
  const std::vector<Hook> hooks = std::exchange(options.spec.hooks->poststop, {});
  log_hooks(hooks, "poststop", state, "stopped");
}

Status Container::start() {
  Impl& impl = *impl_;
  if (impl.sync.valid()) {
    SyncSocket socket = std::move(impl.sync);
    return impl.finish_start(socket);
  }
  ContainerStatus now = TRY(status());
  if (now != ContainerStatus::created)
    return conflict("cannot start a container in the {} state", to_string(now));
  SyncSocket socket(TRY(knock_at_gate(impl.directory.get())));
  return impl.finish_start(socket);
}

Result<ContainerStatus> Container::status() const {
  const Impl& impl = *impl_;
  if (impl.state.pid == 0) return impl.ours ? ContainerStatus::creating : ContainerStatus::stopped;
  if (!init_alive(impl.state)) return ContainerStatus::stopped;
  if (impl.waiting) return ContainerStatus::creating;
  Cgroup& cgroup = *TRY(impl.open_cgroup());
  Result<bool> frozen = cgroup.frozen();
  if (frozen && *frozen) return ContainerStatus::paused;
  if (impl.sync.valid() || impl.has_gate()) return ContainerStatus::created;
  return ContainerStatus::running;
}

Status Container::signal(int number, KillScope scope) const {
  const Impl& impl = *impl_;
  if (scope == KillScope::all) {
    Cgroup& cgroup = *TRY(impl.open_cgroup());
    return cgroup.signal(number);
  }
  if (!impl.pidfd) return not_found("container not running");
  Status sent = sys::pidfd_send_signal(impl.pidfd.get(), number);
  if (!sent && sent.error().code() == ESRCH) return not_found("container not running");
  return sent;
}

Status Container::pause() {
  ContainerStatus now = TRY(status());
  if (now != ContainerStatus::running && now != ContainerStatus::created)
    return conflict("cannot pause a {} container", to_string(now));
  Cgroup& cgroup = *TRY(impl_->open_cgroup());
  return cgroup.freeze(true);
}

Status Container::resume() {
  ContainerStatus now = TRY(status());
  if (now != ContainerStatus::paused)
    return conflict("cannot resume a {} container", to_string(now));
  Cgroup& cgroup = *TRY(impl_->open_cgroup());
  return cgroup.freeze(false);
}

Status Container::update(const Resources& resources) {
  Cgroup& cgroup = *TRY(impl_->open_cgroup());
  TRY(cgroup.apply(resources));
  if (!resources.devices.empty()) TRY(cgroup.apply_devices(resources.devices));
  if (impl_->state.systemd_cgroup)
    return update_scope(impl_->state.cgroups_path, resources, ::geteuid() != 0);
  return {};
}

Status Container::limit_threads(const std::string& below, const std::vector<pid_t>& threads,
                                const Resources& resources) {
  Cgroup& cgroup = *TRY(impl_->open_cgroup());
  return cgroup.limit_threads(below, threads, resources);
}

Result<Stats> Container::stats() const {
  Cgroup& cgroup = *TRY(impl_->open_cgroup());
  return cgroup.stats();
}

Result<std::vector<pid_t>> Container::processes() const {
  Cgroup& cgroup = *TRY(impl_->open_cgroup());
  return cgroup.processes();
}

Status Container::destroy() { return impl_->destroy(); }

Status Container::Impl::destroy() {
  if (pidfd) (void)sys::pidfd_send_signal(pidfd.get(), SIGKILL);
  sync.close();
  Cgroup& group = *TRY(open_cgroup());
  TRY(group.remove(kRemovalTimeout));
  TRY(release_rdt(state.rdt).context("linux.intelRdt"));
  if (state.systemd_cgroup)
    log::ignored("delete", stop_scope(state.cgroups_path, ::geteuid() != 0));
  if (directory) {
    TRY(fs::remove_tree(options.state_directory));
    directory.reset();
  }
  run_poststop();
  return {};
}

}  // namespace gantry::libcontainer

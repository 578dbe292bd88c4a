// The native exec driver: `gantry-runtime shim` beside each container.
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/process.h"
#include "base/sys.h"
#include "drivers/exec/exec_driver.h"
#include "drivers/exec/session.h"
#include "libcontainer/cgroup.h"
#include "libcontainer/container.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

namespace gantry::drivers {
namespace {

constexpr int kShimSocket = 3;
// How long a shim that is on its way out (its daemon died before "go") is waited for.
constexpr int kUndoMs = 5000;
// How long a shim that is adopted gets to greet.
constexpr int kAdoptSeconds = 10;

Status set_receive_timeout(int socket, int seconds) {  // 0: none
  const timeval timeout{seconds, 0};
  if (::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == -1)
    return error_from_errno(errno, "setsockopt SO_RCVTIMEO");
  return {};
}

class NativeInstance final : public Instance {
 public:
  explicit NativeInstance(std::shared_ptr<Session> session) : session_(std::move(session)) {}
  ~NativeInstance() override { session_->abandon(); }

  const std::string& id() const override { return session_->id(); }
  const std::string& directory() const override { return session_->directory(); }
  InstanceState state() const override { return session_->state(); }
  pid_t pid() const override { return session_->pid(); }
  Result<UniqueFd> process() const override { return session_->process(); }
  int64_t started_at() const override { return session_->started_at(); }
  std::optional<ExitStatus> exit_status() const override { return session_->exit_status(); }
  int netns_fd() const override { return session_->netns_fd(); }
  void set_listener(Listener listener) override { session_->set_listener(std::move(listener)); }
  Status start(const std::vector<int>& kept) override { return session_->start(kept); }
  Status keep(const std::vector<int>& kept) override {
    (void)TRY(session_->request(shim::MessageType::keep, {}, kept));
    return {};
  }
  std::vector<UniqueFd> take_kept() override { return session_->take_kept(); }
  Status signal(int number) override { return session_->signal(number); }

  Status resize(TerminalSize size) override { return exec_resize({}, size); }

  Status attach(UniqueFd client, const AttachOptions& options, std::string_view leftover) override {
    std::string payload = with_leftover(json::dump(options), leftover);
    (void)TRY(session_->request(shim::MessageType::attach, std::move(payload), {client.get()}));
    return {};
  }

  Result<pid_t> exec(const ExecRequest& request, UniqueFd client, const AttachOptions& options,
                     std::string_view leftover) override {
    TRY(failpoint("exec.process"));
    shim::ExecRequest message;
    message.id = request.id;
    message.process = request.process;
    message.user = request.user;
    message.terminal = request.process.terminal;
    message.console = request.console;
    message.attached = client.valid();
    message.options = options;
    std::vector<int> descriptors;
    if (client) descriptors.push_back(client.get());
    std::string payload = TRY(session_->request(
        shim::MessageType::exec, with_leftover(json::dump(message), leftover), descriptors));
    shim::StartedReply reply = TRY(json::parse<shim::StartedReply>(payload));
    (void)failpoint("exec.process.started");
    return pid_t{reply.pid};
  }

  Status exec_resize(const std::string& exec_id, TerminalSize size) override {
    shim::ResizeRequest request{exec_id, size};
    (void)TRY(session_->request(shim::MessageType::resize, json::dump(request)));
    return {};
  }

  Status exec_signal(const std::string& exec_id, int number) override {
    shim::SignalRequest request{exec_id, number};
    (void)TRY(session_->request(shim::MessageType::signal, json::dump(request)));
    return {};
  }

  // The cgroup is the kernel's and needs no shim.
  Status pause() override {
    TRY(failpoint("exec.pause"));
    libcontainer::Container container = TRY(load());
    return container.pause();
  }
  Status resume() override {
    TRY(failpoint("exec.resume"));
    libcontainer::Container container = TRY(load());
    return container.resume();
  }
  Status update(const libcontainer::Resources& resources) override {
    TRY(failpoint("exec.update"));
    libcontainer::Container container = TRY(load());
    return container.update(resources);
  }
  Result<std::vector<pid_t>> processes() const override {
    libcontainer::Container container = TRY(load());
    return container.processes();
  }
  Result<libcontainer::Stats> stats() const override {
    libcontainer::Container container = TRY(load());
    return container.stats();
  }

 private:
  static std::string with_leftover(std::string text, std::string_view leftover) {
    if (leftover.empty()) return text;
    text += '\0';
    text += leftover;
    return text;
  }
  Result<libcontainer::Container> load() const {
    return libcontainer::Container::load(directory() + "/" + shim::kContainerDirectory);
  }

  std::shared_ptr<Session> session_;
};

// A copy of the program that nobody can write, neither a package manager nor a container through
// /proc/PID/exe (CVE-2019-5736), and whose pages all shims share.
Result<UniqueFd> sealed_copy(const std::string& program) {
  UniqueFd source = TRY(sys::open(program, O_RDONLY).context("exec driver"));
  struct stat st = TRY(sys::fstat(source.get()));
  Result<UniqueFd> copy = sys::memfd_create("gantry-runtime", MFD_ALLOW_SEALING | MFD_EXEC);
  // Before Linux 6.3 there is no MFD_EXEC, and every memfd can be executed.
  if (!copy && copy.error().code() == EINVAL)
    copy = sys::memfd_create("gantry-runtime", MFD_ALLOW_SEALING);
  if (!copy) return std::move(copy).error();
  for (off_t left = st.st_size; left > 0;) {
    ssize_t sent = sys::retry(
        [&] { return ::sendfile(copy->get(), source.get(), nullptr, static_cast<size_t>(left)); });
    if (sent == -1) return errno_error(errno, "copy {}", program);
    if (sent == 0) return internal("copy {}: it became shorter", program);
    left -= sent;
  }
  TRY(sys::fchmod(copy->get(), 0555));
  if (::fcntl(copy->get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) ==
      -1)
    return error_from_errno(errno, "seal the runtime's copy");
  // Through a descriptor that was opened for reading: a writable one cannot be executed (ETXTBSY).
  return sys::open(fmt::format("/proc/self/fd/{}", copy->get()), O_RDONLY);
}

// The hierarchies that matter for a shim: what it uses is not the daemon's, and a service manager
// that stops the daemon's unit does not find it there.
bool concerns_shims(const libcontainer::Hierarchy& hierarchy) {
  static constexpr std::array<std::string_view, 4> kNames = {"name=systemd", "memory", "cpu",
                                                             "pids"};
  return hierarchy.v2 ||
         std::any_of(hierarchy.controllers.begin(), hierarchy.controllers.end(),
                     [](const auto& name) {
                       return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
                     });
}

class NativeDriver final : public ExecDriver {
 public:
  static Result<std::unique_ptr<ExecDriver>> create(const NativeOptions& options);
  ~NativeDriver() override;

  std::string_view name() const override { return "native"; }
  Result<std::shared_ptr<Instance>> create(const Launch& launch) override;
  Result<std::shared_ptr<Instance>> adopt(const std::string& directory) override;

 private:
  Status make_shim_groups();
  Result<ChildProcess> spawn_shim(const std::string& id, int socket) const;
  std::string launch_frames(const Launch& launch) const;
  Result<std::shared_ptr<Instance>> adopt_living(const std::string& directory);
  Result<std::shared_ptr<Instance>> adopt_ended(const std::string& directory, ExitStatus exit);

  NativeOptions options_;
  UniqueFd program_;
  std::vector<std::string> group_directories_;
  std::vector<std::string> group_files_;
  std::unique_ptr<Monitor> monitor_;
};

Result<std::unique_ptr<ExecDriver>> NativeDriver::create(const NativeOptions& options) {
  auto driver = std::make_unique<NativeDriver>();
  driver->options_ = options;
  driver->program_ = TRY(sealed_copy(options.runtime));
  if (!options.shims_cgroup.empty()) TRY(driver->make_shim_groups());
  driver->monitor_ = TRY(Monitor::create());
  return std::unique_ptr<ExecDriver>(std::move(driver));
}

NativeDriver::~NativeDriver() {
  monitor_.reset();
  // Those that hold a living shim stay (EBUSY).
  for (const std::string& directory : group_directories_) {
    if (::rmdir(directory.c_str()) == -1) continue;
    (void)::rmdir(directory.substr(0, directory.rfind('/')).c_str());
  }
}

Status NativeDriver::make_shim_groups() {
  std::vector<libcontainer::Hierarchy> hierarchies = TRY(libcontainer::find_hierarchies());
  for (const libcontainer::Hierarchy& hierarchy : hierarchies) {
    if (!concerns_shims(hierarchy)) continue;
    std::string directory = hierarchy.mountpoint + options_.shims_cgroup;
    TRY(fs::make_directories(directory, 0755).context("cgroup of the shims"));
    group_directories_.push_back(directory);
    group_files_.push_back(directory + (hierarchy.v2 ? "/cgroup.procs" : "/tasks"));
  }
  return {};
}

Result<ChildProcess> NativeDriver::spawn_shim(const std::string& id, int socket) const {
  SpawnOptions spawn;
  spawn.arguments = {"gantry-runtime", "shim", id};
  spawn.program_fd = program_.get();
  spawn.environment =
      std::vector<std::string>{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  spawn.working_directory = "/";
  spawn.descriptors = {{socket, kShimSocket}};
  if (log::enabled(log::Level::debug)) spawn.descriptors.emplace_back(2, 2);
#ifdef GANTRY_FAILPOINTS
  for (std::string& variable : failpoints_environment())
    spawn.environment->push_back(std::move(variable));
#endif
  spawn.new_session = true;
  return ChildProcess::spawn(spawn).context("start the container's shim");
}

std::string NativeDriver::launch_frames(const Launch& launch) const {
  shim::LaunchOptions options;
  options.id = launch.id;
  options.directory = launch.directory;
  options.rootfs = launch.rootfs;
  options.terminal = launch.terminal;
  options.open_stdin = launch.open_stdin;
  options.stdin_once = launch.stdin_once;
  options.console = launch.console;
  options.log = launch.log;
  options.user = launch.user;
  options.init = launch.init;
  options.seccomp_cache = options_.seccomp_cache;
  options.shim_groups = group_files_;
  shim::Greeting greeting;
  greeting.program = "gantryd/" GANTRY_VERSION;
  greeting.pid = ::getpid();
  return shim::encode(shim::MessageType::greeting, 1, 0, json::dump(greeting)) +
         shim::encode(shim::MessageType::launch, 1, 0, json::dump(options)) +
         shim::encode(shim::MessageType::spec, 1, 0, json::dump(launch.spec));
}

Result<std::shared_ptr<Instance>> NativeDriver::create(const Launch& launch) {
  TRY(failpoint("exec.directory"));
  if (::mkdir(launch.directory.c_str(), 0700) == -1) {
    if (errno != EEXIST) return errno_error(errno, "mkdir {}", launch.directory);
    bool locked = TRY(shim::is_locked(launch.directory));
    if (locked) return conflict("{}: a living shim holds it", launch.directory);
  }
  auto [ours, theirs] = TRY(sys::socketpair(SOCK_STREAM));
  TRY(failpoint("exec.spawn"));
  ChildProcess process = TRY(spawn_shim(launch.id, theirs.get()));
  theirs.reset();

  Session::Start start;
  start.id = launch.id;
  start.directory = launch.directory;
  if (launch.spec.linux_section) start.cgroup = launch.spec.linux_section->cgroups_path;
  Result<shim::StateReply> state = [&]() -> Result<shim::StateReply> {
    TRY(failpoint("exec.launch"));
    TRY(sys::send_with_fds(ours.get(), launch_frames(launch), {}));
    TRY(failpoint("exec.launched"));
    shim::Message message = TRY(shim::receive(ours.get(), start.decoder));
    if (message.type == shim::MessageType::greeting)
      message = TRY(shim::receive(ours.get(), start.decoder));
    if (message.type == shim::MessageType::error) return shim::error_of(message);
    if (message.type != shim::MessageType::state || message.descriptors.size() != 2)
      return internal("the container's shim did not say what it made");
    start.init = std::move(message.descriptors[0]);
    start.netns = std::move(message.descriptors[1]);
    TRY(failpoint("exec.created"));
    return message.as<shim::StateReply>();
  }();
  if (!state) {
    // It undoes what it made and ends; what it holds must be free when we return.
    ours.reset();
    (void)process.wait();
    return std::move(state).error();
  }
  start.pid = state->pid;
  start.socket = std::move(ours);
  start.shim = process.detach();
  TRY(failpoint("exec.session"));
  std::shared_ptr<Session> session = TRY(Session::begin(*monitor_, std::move(start)));
  return std::shared_ptr<Instance>(std::make_shared<NativeInstance>(std::move(session)));
}

// Waits until something in the directory goes away, as it does when a shim undoes itself.
Status wait_for_undo(const std::string& directory) {
  UniqueFd watch(::inotify_init1(IN_CLOEXEC));
  if (!watch) return error_from_errno(errno, "inotify_init");
  if (::inotify_add_watch(watch.get(), directory.c_str(),
                          IN_DELETE | IN_DELETE_SELF | IN_MOVED_TO | IN_CREATE) == -1)
    return errno == ENOENT ? Status() : Status(errno_error(errno, "inotify {}", directory));
  bool locked = TRY(shim::is_locked(directory));
  if (!locked || fs::exists(directory + "/" + shim::kSocketFile)) return {};
  bool changed = TRY(sys::poll_one(watch.get(), POLLIN, kUndoMs));
  if (!changed) return conflict("{}: its shim is still making a container", directory);
  return {};
}

Result<std::shared_ptr<Instance>> NativeDriver::adopt(const std::string& directory) {
  TRY(failpoint("exec.adopt"));
  for (int attempt = 0; attempt < 16; ++attempt) {
    std::optional<ExitStatus> exit = TRY(shim::read_exit(directory));
    if (exit) return adopt_ended(directory, std::move(*exit));
    bool locked = TRY(shim::is_locked(directory));
    if (!locked) {
      // It may have ended between the two looks.
      exit = TRY(shim::read_exit(directory));
      if (exit) return adopt_ended(directory, std::move(*exit));
      shim::State state = TRY(shim::read_state(directory));
      if (state.started_at == 0 && !fs::exists(directory + "/" + shim::kSocketFile)) {
        [[maybe_unused]] ExitStatus never =
            TRY(settle_lost_container(directory, "it was never started"));
        return not_found("container {} was never started", state.id);
      }
      ExitStatus lost = TRY(settle_lost_container(directory, "the container's shim was killed"));
      return adopt_ended(directory, std::move(lost));
    }
    Result<std::shared_ptr<Instance>> living = adopt_living(directory);
    if (living) return living;
    const int code = living.error().code();
    const bool hung_up = living.error().kind() == ErrorKind::unavailable && code != ETIMEDOUT;
    if (code != ENOENT && code != ECONNREFUSED && !hung_up) return living;
    // Before "go", or just ended.
    TRY(wait_for_undo(directory));
  }
  return conflict("{}: its shim does not answer", directory);
}

Result<std::shared_ptr<Instance>> NativeDriver::adopt_ended(const std::string& directory,
                                                            ExitStatus exit) {
  shim::State state = TRY(shim::read_state(directory));
  Session::Start start;
  start.id = state.id;
  start.directory = directory;
  start.cgroup = state.cgroup;
  start.pid = state.pid;
  start.state = InstanceState::exited;
  start.started_at = state.started_at;
  start.exit = std::move(exit);
  std::shared_ptr<Session> session = TRY(Session::begin(*monitor_, std::move(start)));
  return std::shared_ptr<Instance>(std::make_shared<NativeInstance>(std::move(session)));
}

Result<std::shared_ptr<Instance>> NativeDriver::adopt_living(const std::string& directory) {
  Session::Start start;
  start.socket = TRY(sys::connect_unix(directory + "/" + shim::kSocketFile));
  // One that is stopped, or hangs, must not keep the daemon from starting.
  TRY(set_receive_timeout(start.socket.get(), kAdoptSeconds));
  auto receive = [&]() -> Result<shim::Message> {
    Result<shim::Message> received = shim::receive(start.socket.get(), start.decoder);
    if (!received && received.error().code() == EAGAIN)
      return Error(ErrorKind::unavailable,
                   fmt::format("its shim did not answer within {} seconds", kAdoptSeconds),
                   ETIMEDOUT);
    return received;
  };
  shim::Greeting greeting;
  greeting.program = "gantryd/" GANTRY_VERSION;
  greeting.pid = ::getpid();
  TRY(shim::send_json(start.socket.get(), shim::MessageType::greeting, 1, greeting));
  shim::Message message = TRY(receive());
  pid_t shim_pid = TRY(message.as<shim::Greeting>()).pid;
  start.shim = TRY(sys::pidfd_open(shim_pid));
  message = TRY(receive());
  TRY(set_receive_timeout(start.socket.get(), 0));
  if (message.type != shim::MessageType::state)
    return internal("{}: its shim did not tell its state", directory);
  shim::StateReply state = TRY(message.as<shim::StateReply>());
  start.id = state.id;
  start.directory = directory;
  start.cgroup = state.cgroup;
  start.pid = state.pid;
  start.state = state.exit ? InstanceState::exited : InstanceState::running;
  start.started_at = state.started_at;
  start.exit = state.exit;
  if (message.descriptors.size() >= 2) {
    start.init = std::move(message.descriptors[0]);
    start.netns = std::move(message.descriptors[1]);
    for (size_t i = 2; i < message.descriptors.size(); ++i)
      start.kept.push_back(std::move(message.descriptors[i]));
    // Some could not be copied: none of them is of use.
    if (start.kept.size() != static_cast<size_t>(state.kept)) start.kept.clear();
  } else if (!state.exit) {
    return internal("{}: its shim did not hand its container over", directory);
  }
  std::shared_ptr<Session> session = TRY(Session::begin(*monitor_, std::move(start)));
  return std::shared_ptr<Instance>(std::make_shared<NativeInstance>(std::move(session)));
}

}  // namespace

Result<std::unique_ptr<ExecDriver>> make_native_driver(const NativeOptions& options) {
  return NativeDriver::create(options);
}

}  // namespace gantry::drivers

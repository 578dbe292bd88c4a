#include "runtime/shim/supervisor.h"

#include <malloc.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"

namespace gantry::shim {
namespace {

// After this much quiet, memory that a burst of work took is given back. One timeout, not a period.
constexpr int kQuietMs = 500;

int child_event = -1;  // what the SIGCHLD handler writes to

void on_child(int) {
  int saved = errno;
  uint64_t one = 1;
  (void)!::write(child_event, &one, sizeof one);
  errno = saved;
}

// Handlers, not masks or SIG_IGN: exec resets them, so nothing of it reaches a container's program.
void handle(int number, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  ::sigaction(number, &action, nullptr);
}

std::string container_directory(const LaunchOptions& options) {
  return options.directory + "/" + kContainerDirectory;
}

bool has_own_pid_namespace(const libcontainer::Spec& spec) {
  if (!spec.linux_section) return false;
  const auto& namespaces = spec.linux_section->namespaces;
  return std::any_of(namespaces.begin(), namespaces.end(),
                     [](const auto& ns) { return ns.type == "pid" && ns.path.empty(); });
}

// The pages of the stack below here that parsing and set-up have touched.
void release_stack() {
  constexpr uintptr_t kPage = 4096, kKeep = 4 * kPage, kReach = 512 * 1024;
  auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) & ~(kPage - 1);
  (void)::madvise(reinterpret_cast<void*>(here - kKeep - kReach), kReach, MADV_DONTNEED);
}

}  // namespace

void Supervisor::Children::ready(uint32_t) {
  uint64_t count;
  (void)!::read(fd.get(), &count, sizeof count);
  supervisor.reap();
}

Result<std::unique_ptr<Supervisor>> Supervisor::create() {
  // One arena, and the heap shrinks as soon as a page at its end is free.
  ::mallopt(M_ARENA_MAX, 1);
  ::mallopt(M_TRIM_THRESHOLD, 64 * 1024);
  ::mallopt(M_MMAP_THRESHOLD, 64 * 1024);
  EventLoop loop = TRY(EventLoop::create());
  std::unique_ptr<Supervisor> shim(new Supervisor(std::move(loop)));
  TRY(failpoint("shim.create"));
  TRY(sys::prctl(PR_SET_NAME, reinterpret_cast<unsigned long>("gantry-shim")));
  // Orphans of a container in the host's pid namespace come to us, and not to the host's init.
  TRY(sys::prctl(PR_SET_CHILD_SUBREAPER, 1));
  shim->children_.fd = TRY(sys::eventfd(0, O_NONBLOCK));
  child_event = shim->children_.fd.get();
  handle(SIGCHLD, on_child);
  handle(SIGPIPE, [](int) {});
  TRY(shim->loop_.watch(shim->children_.fd.get(), shim->children_, EPOLLIN));
  return shim;
}

Supervisor::~Supervisor() {
  handle(SIGCHLD, SIG_DFL);
  child_event = -1;
}

Status Supervisor::launch(UniqueFd socket) {
  int fd = socket.get();
  Decoder decoder;
  Message greeting = TRY(receive(fd, decoder));
  if (greeting.type != MessageType::greeting) return invalid("shim: the peer did not greet");
  (void)TRY(greeting.as<Greeting>());
  Message launch = TRY(receive(fd, decoder));
  if (launch.type != MessageType::launch) return invalid("shim: nothing to launch");
  Message spec = TRY(receive(fd, decoder));
  control_ = std::make_unique<Control>(loop_, static_cast<ControlOwner&>(*this), std::move(socket),
                                       std::move(decoder));
  Status begun = [&]() -> Status {
    if (spec.type != MessageType::spec) return invalid("shim: no specification came");
    options_ = TRY(launch.as<LaunchOptions>());
    libcontainer::Spec parsed = TRY(libcontainer::parse_spec(spec.payload));
    return begin_container(std::move(parsed));
  }();
  if (!begun) {
    control_->send(MessageType::error, launch.id, error_payload(begun.error()));
    undo();
    return begun;
  }
  greet(*control_, launch.id);
  // The daemon wires the network from here on; what follows is off its path.
  finish_creation();
  return control_->begin();
}

Status Supervisor::begin_container(libcontainer::Spec spec) {
  TRY(failpoint("shim.lock"));
  lock_ = TRY(take_lock(options_.directory));
  TRY(failpoint("shim.log"));
  log_ = TRY(LogWriter::open(options_.log));
  io_ = std::make_unique<ProcessIo>(io_context(), log_.get(), options_.stdin_once);
  io_->on_detached = [this] { notify(MessageType::detached, json::dump(ProcessRequest{})); };
  own_pid_namespace_ = has_own_pid_namespace(spec);
  poststop_hooks_ = spec.hooks && !spec.hooks->poststop.empty();
  state_.id = options_.id;
  state_.terminal = options_.terminal;
  state_.log = options_.log;
  state_.cgroup = spec.linux_section ? spec.linux_section->cgroups_path : "";

  libcontainer::CreateOptions create;
  create.id = options_.id;
  create.spec = std::move(spec);
  create.user = options_.user;
  create.bundle = options_.directory;
  if (!options_.rootfs.type.empty()) create.rootfs = options_.rootfs;
  create.state_directory = container_directory(options_);
  create.gate = libcontainer::Gate::in_process;
  create.die_with_parent = true;
  create.seccomp_cache = options_.seccomp_cache;
  // This program's own image, which no container can write.
  UniqueFd image;
  if (options_.init) image = TRY(sys::open("/proc/self/exe", O_RDONLY));
  create.init_program = image.get();
  TRY(failpoint("shim.pipes"));
  if (!options_.terminal) {
    TRY(io_->make_pipes(options_.open_stdin));
    create.stdio = io_->process_side();
  }
  TRY(failpoint("shim.begin"));
  container_ = TRY(libcontainer::Container::begin(std::move(create)));
  io_->process_started();
  init_ = TRY(sys::dup(container_->pidfd()));
  state_.pid = container_->pid();
  netns_ = TRY(container_->netns_fd());
  return failpoint("shim.begun");
}

void Supervisor::finish_creation() {
  state_.shim_pid = ::getpid();
  state_.created_at = now_ns();
  creation_ = [&]() -> Status {
    state_.boot_id = TRY(boot_id());
    state_.shim_start_time = TRY(process_start_time(state_.shim_pid));
    state_.start_time = TRY(process_start_time(state_.pid));
    TRY(failpoint("shim.state"));
    TRY(write_state(options_.directory, state_));
    TRY(failpoint("shim.groups"));
    join_shim_groups();
    TRY(failpoint("shim.oom"));
    oom_ = TRY(OomWatch::create(loop_, state_.cgroup, [this] { notify(MessageType::oom, {}); }));
    TRY(container_->wait_created());
    TRY(failpoint("shim.created"));
    if (options_.terminal) {
      io_->use_terminal(container_->take_console());
      if (options_.console.rows != 0 || options_.console.columns != 0)
        TRY(io_->resize(options_.console));
    }
    return {};
  }();
}

// A single thread that writes its own "0" moves without the kernel's global wait.
void Supervisor::join_shim_groups() {
  for (const std::string& file : options_.shim_groups) {
    Result<UniqueFd> group = sys::open(file, O_WRONLY);
    // Another daemon that uses the same group has just removed it as empty.
    if (!group && group.error().kind() == ErrorKind::not_found &&
        fs::make_directories(file.substr(0, file.rfind('/')), 0755))
      group = sys::open(file, O_WRONLY);
    Status joined = group ? sys::write_all(group->get(), "0") : Status(std::move(group).error());
    log::ignored("shim's cgroup", joined);
  }
}

IoContext Supervisor::io_context() {
  return {loop_, scratch_, [this] { busy_ = true; }};
}

int Supervisor::run() {
  while (!finished()) {
    Result<bool> any = loop_.wait(busy_ ? kQuietMs : -1);
    if (!any) {
      log::error("{}", any.error().message());
      return 1;
    }
    forget_finished();
    if (!*any && busy_) trim();
  }
  return 0;
}

// Nothing is left to do: every byte is where it belongs, and the daemon, if there is one, was told.
bool Supervisor::finished() {
  if (phase_ != Phase::ended && phase_ != Phase::undone) return false;
  if (io_ && phase_ == Phase::ended && !io_->done()) return false;
  if (!execs_.empty() && phase_ == Phase::ended) return false;
  return !control_ || control_->flushed();
}

void Supervisor::forget_finished() {
  for (auto it = execs_.begin(); it != execs_.end();)
    it = it->second.exited && it->second.io->done() ? execs_.erase(it) : std::next(it);
}

void Supervisor::trim() {
  busy_ = false;
  scratch_.release();
  if (log_) log_->release_memory();
  ::malloc_trim(0);
  release_stack();
}

void Supervisor::reap() {
  for (;;) {
    int status = 0;
    pid_t pid = sys::retry([&] { return ::waitpid(-1, &status, WNOHANG); });
    if (pid <= 0) return;
    if (pid == state_.pid) {
      init_exited(status);
      continue;
    }
    for (auto& [id, exec] : execs_)
      if (exec.pid == pid) exec_exited(id, exec, exit_status_of(status));
  }
}

void Supervisor::exec_exited(const std::string& id, Exec& exec, ExitStatus status) {
  if (exec.exited) return;
  exec.exited = true;
  // The word before the end of the streams: a client that saw its stream end asks for the exit code
  // next.
  ExecExited notice;
  notice.exec_id = id;
  notice.status = std::move(status);
  notify(MessageType::exec_exited, json::dump(notice));
  exec.io->process_ended();
}

void Supervisor::init_exited(int status) {
  init_gone_ = true;
  if (phase_ != Phase::running) return;  // start() finds out by itself
  ExitStatus exit = exit_status_of(status);
  exit.oom = oom_ && oom_->killed();
  // The kernel has killed what was in its pid namespace; without one of its own we do.
  if (!own_pid_namespace_ || poststop_hooks_) {
    Result<libcontainer::Container> container =
        libcontainer::Container::load(container_directory(options_));
    if (container && !own_pid_namespace_)
      log::ignored("kill", container->signal(SIGKILL, libcontainer::KillScope::all));
    if (container && poststop_hooks_) log::ignored("poststop", container->destroy());
  }
  for (auto& [id, exec] : execs_)
    if (!exec.exited) {
      int left = 0;
      bool reaped = ::waitpid(exec.pid, &left, WNOHANG) == exec.pid;
      exec_exited(id, exec, exit_status_of(reaped ? left : SIGKILL));
    }
  record_end(std::move(exit));
}

// On disk first, then the lock, then the word: whoever hears of the end finds it recorded, and may
// take the runtime directory away.
void Supervisor::record_end(ExitStatus exit) {
  (void)failpoint("shim.exit");
  exit_ = std::move(exit);
  phase_ = Phase::ended;
  io_->process_ended();
  oom_.reset();
  kept_.clear();  // sockets keep a network namespace alive
  log_.reset();
  log::ignored("exit", write_exit(options_.directory, exit_), log::Level::error);
  (void)failpoint("shim.exit.recorded");
  if (listener_.fd) {
    loop_.forget(listener_.fd.get(), listener_);
    listener_.fd.reset();
    log::ignored("socket", sys::unlinkat(AT_FDCWD, options_.directory + "/" + kSocketFile));
  }
  lock_.reset();
  (void)failpoint("shim.exit.unlocked");
  notify(MessageType::exited, json::dump(exit_));
  (void)failpoint("shim.exit.told");
}

// The container does not get to run: what begin() made goes away again, and our files with it.
void Supervisor::undo() {
  (void)failpoint("shim.undo");
  phase_ = Phase::undone;
  oom_.reset();
  kept_.clear();
  if (container_) {
    if (init_ && !init_gone_) {
      (void)sys::pidfd_send_signal(init_.get(), SIGKILL);
      (void)sys::retry([&] { return ::waitpid(state_.pid, nullptr, 0); });
      init_gone_ = true;
    }
    log::ignored("undo", container_->destroy());
    container_.reset();
  }
  (void)failpoint("shim.undone");
  if (io_) io_->process_ended();
  log_.reset();
  if (!lock_) return;
  for (const char* name : {kStateFile, kSocketFile, kLockFile})
    (void)sys::unlinkat(AT_FDCWD, options_.directory + "/" + name);
  (void)sys::unlinkat(AT_FDCWD, options_.directory, AT_REMOVEDIR);
  lock_.reset();
}

}  // namespace gantry::shim

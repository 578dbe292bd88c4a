#include "base/process.h"

#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "base/clock.h"
#include "base/sys.h"

namespace gantry {
namespace {

std::string find_in_path(const std::string& program) {
  if (program.find('/') != std::string::npos) return program;
  const char* path = ::getenv("PATH");
  std::string_view rest =
      path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  while (!rest.empty()) {
    size_t colon = rest.find(':');
    std::string candidate = std::string(rest.substr(0, colon)) + "/" + program;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  return program;
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

// Everything the child needs, made before it exists: between vfork and exec it shares our memory
// and may only make system calls.
struct ChildPlan {
  const char* program;
  int program_fd;
  char* const* arguments;
  char* const* environment;
  const char* working_directory;
  const std::pair<int, int>* descriptors;
  size_t descriptor_count;
  int* staged;  // descriptor_count slots
  int highest_target;
  bool new_session;
  bool default_signals;
  const sigset_t* old_mask;
  volatile int failure;  // errno of the step that failed
};

[[noreturn]] void child(ChildPlan& plan) {
  auto fail = [&] {
    plan.failure = errno;
    ::_exit(127);
  };
  if (plan.default_signals) {
    struct sigaction action = {};
    action.sa_handler = SIG_DFL;
    for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &action, nullptr);
  }
  if (plan.new_session) ::setsid();
  if (plan.working_directory && ::chdir(plan.working_directory) == -1) fail();
  // First above every target, then down: a source may be another entry's target.
  int program_fd = plan.program_fd;
  if (program_fd >= 0) {
    program_fd = ::fcntl(program_fd, F_DUPFD_CLOEXEC, plan.highest_target + 1);
    if (program_fd == -1) fail();
  }
  for (size_t i = 0; i < plan.descriptor_count; ++i) {
    plan.staged[i] = ::fcntl(plan.descriptors[i].first, F_DUPFD_CLOEXEC, plan.highest_target + 1);
    if (plan.staged[i] == -1) fail();
  }
  // What somebody left open without O_CLOEXEC (a service manager, a library) does not go on.
  ::close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
  int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null == -1) fail();
  for (int fd = 0; fd <= 2; ++fd)
    if (null != fd)
      ::dup2(null, fd);
    else
      ::fcntl(fd, F_SETFD, 0);
  for (size_t i = 0; i < plan.descriptor_count; ++i)
    if (::dup2(plan.staged[i], plan.descriptors[i].second) == -1) fail();
  sigset_t empty;
  ::sigemptyset(&empty);
  ::sigprocmask(SIG_SETMASK, plan.default_signals ? &empty : plan.old_mask, nullptr);
  if (program_fd >= 0)
    ::syscall(SYS_execveat, program_fd, "", plan.arguments, plan.environment, AT_EMPTY_PATH);
  else
    ::execve(plan.program, plan.arguments, plan.environment);
  fail();
  ::_exit(127);
}

}  // namespace

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(pidfd_, other.pidfd_);
  return *this;
}

ChildProcess::~ChildProcess() {
  if (pid_ <= 0) return;
  (void)::kill(pid_, SIGKILL);
  (void)wait();
}

Result<ChildProcess> ChildProcess::spawn(const SpawnOptions& options) {
  std::string program = options.program_fd >= 0 ? "" : find_in_path(options.program);
  std::vector<char*> arguments = pointers(options.arguments);
  std::vector<char*> environment;
  if (options.environment) environment = pointers(*options.environment);
  std::vector<int> staged(options.descriptors.size());
  sigset_t all, old_mask;
  ::sigfillset(&all);

  ChildPlan plan = {};
  plan.program = program.c_str();
  plan.program_fd = options.program_fd;
  plan.arguments = arguments.data();
  plan.environment = options.environment ? environment.data() : environ;
  plan.working_directory =
      options.working_directory.empty() ? nullptr : options.working_directory.c_str();
  plan.descriptors = options.descriptors.data();
  plan.descriptor_count = options.descriptors.size();
  plan.staged = staged.data();
  plan.highest_target = 2;
  for (const auto& mapping : options.descriptors)
    plan.highest_target = std::max(plan.highest_target, mapping.second);
  plan.new_session = options.new_session;
  plan.default_signals = options.default_signals;
  plan.old_mask = &old_mask;

  // No handler of ours may run in the child while it shares our memory. vfork(2) suspends only the
  // calling thread, and the child's own stack frame is left alone by `child` being a separate
  // function.
  ::pthread_sigmask(SIG_SETMASK, &all, &old_mask);
  pid_t pid = ::vfork();
  if (pid == 0) child(plan);
  int failure = errno;
  ::pthread_sigmask(SIG_SETMASK, &old_mask, nullptr);
  if (pid == -1) return error_from_errno(failure, "vfork");
  ChildProcess process;
  process.pid_ = pid;
  if (plan.failure != 0) {
    (void)process.wait();
    return errno_error(plan.failure, "exec {}",
                       options.program.empty() ? options.arguments.at(0) : options.program);
  }
  process.pidfd_ = TRY(sys::pidfd_open(pid));
  return process;
}

Result<int> ChildProcess::wait() {
  if (pid_ <= 0) return internal("wait: no child");
  sys::WaitStatus status = TRY(sys::waitpid(pid_));
  pid_ = -1;
  return status.status;
}

UniqueFd ChildProcess::detach() {
  pid_ = -1;
  return std::move(pidfd_);
}

Result<ProcessOutput> run_process(SpawnOptions options, std::string_view input, int timeout_ms,
                                  size_t limit) {
  sys::Pipe in = TRY(sys::pipe());
  sys::Pipe out = TRY(sys::pipe());
  sys::Pipe err = TRY(sys::pipe());
  options.descriptors.emplace_back(in.read.get(), 0);
  options.descriptors.emplace_back(out.write.get(), 1);
  options.descriptors.emplace_back(err.write.get(), 2);
  ChildProcess process = TRY(ChildProcess::spawn(options));
  in.read.reset();
  out.write.reset();
  err.write.reset();
  TRY(sys::set_nonblocking(in.write.get(), true));

  // A program that ends without reading its input must not end us: EPIPE is an answer, not a
  // signal.
  sigset_t pipe_signal, old_mask;
  ::sigemptyset(&pipe_signal);
  ::sigaddset(&pipe_signal, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe_signal, &old_mask);
  ProcessOutput output;
  Status done = [&]() -> Status {
    int64_t deadline = monotonic_ns() + int64_t{timeout_ms} * 1'000'000;
    if (input.empty()) in.write.reset();
    while (out.read || err.read || in.write) {
      std::array<pollfd, 3> entries = {pollfd{out.read.get(), POLLIN, 0},
                                       pollfd{err.read.get(), POLLIN, 0},
                                       pollfd{in.write.get(), POLLOUT, 0}};
      int64_t left = -1;
      if (timeout_ms >= 0) {
        left = (deadline - monotonic_ns()) / 1'000'000;
        if (left < 0)
          return make_error(ErrorKind::unavailable, "{}: no end after {} ms",
                            options.arguments.at(0), timeout_ms);
      }
      if (sys::retry(
              [&] { return ::poll(entries.data(), entries.size(), static_cast<int>(left)); }) == -1)
        return error_from_errno(errno, "poll");
      for (int i = 0; i < 2; ++i) {
        if (!entries[i].revents) continue;
        UniqueFd& fd = i == 0 ? out.read : err.read;
        std::string& text = i == 0 ? output.out : output.err;
        char buffer[16384];
        size_t size = TRY(sys::read(fd.get(), buffer, sizeof buffer));
        if (size == 0) fd.reset();
        text.append(buffer, size);
        if (text.size() > limit)
          return invalid("{}: more than {} bytes of output", options.arguments.at(0), limit);
      }
      if (entries[2].revents) {
        ssize_t written = ::write(in.write.get(), input.data(), input.size());
        if (written > 0) input.remove_prefix(static_cast<size_t>(written));
        if ((written == -1 && errno != EAGAIN && errno != EINTR) || input.empty()) in.write.reset();
      }
    }
    return {};
  }();
  timespec none = {};
  while (::sigtimedwait(&pipe_signal, nullptr, &none) > 0) {
  }
  ::pthread_sigmask(SIG_SETMASK, &old_mask, nullptr);
  TRY(std::move(done));
  if (timeout_ms >= 0) {
    // Output is closed, yet the program may linger.
    if (!TRY(sys::poll_one(process.pidfd(), POLLIN, timeout_ms)))
      return make_error(ErrorKind::unavailable, "{}: no end after {} ms", options.arguments.at(0),
                        timeout_ms);
  }
  output.status = TRY(process.wait());
  return output;
}

}  // namespace gantry

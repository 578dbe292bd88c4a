#include "runtime/foreground.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <string_view>

#include "base/sys.h"

namespace gantry::runtime {
namespace {

// Puts our own terminal back, whatever happens.
class RawTerminal {
 public:
  explicit RawTerminal(bool wanted) {
    if (!wanted || ::tcgetattr(0, &saved_) == -1) return;
    termios raw = saved_;
    ::cfmakeraw(&raw);
    active_ = ::tcsetattr(0, TCSANOW, &raw) == 0;
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() {
    if (active_) ::tcsetattr(0, TCSANOW, &saved_);
  }

 private:
  termios saved_ = {};
  bool active_ = false;
};

void copy_size(int console) {
  winsize size;
  if (::ioctl(0, TIOCGWINSZ, &size) == 0) ::ioctl(console, TIOCSWINSZ, &size);
}

// False at the end of the input.
bool relay(int from, int to) {
  char buffer[4096];
  ssize_t size = sys::retry([&] { return ::read(from, buffer, sizeof buffer); });
  if (size <= 0) return false;
  return sys::write_all(to, std::string_view(buffer, static_cast<size_t>(size))).has_value();
}

}  // namespace

int shell_status(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

Result<Foreground> Foreground::create() {
  sigset_t all;
  ::sigfillset(&all);
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTTIN, SIGTTOU})
    ::sigdelset(&all, signal);
  if (::sigprocmask(SIG_BLOCK, &all, nullptr) == -1) return error_from_errno(errno, "sigprocmask");
  UniqueFd fd(::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return error_from_errno(errno, "signalfd");
  return Foreground(std::move(fd));
}

Result<int> Foreground::run(pid_t pid, int pidfd, UniqueFd console) {
  RawTerminal raw(console.valid());
  if (console) copy_size(console.get());
  bool input = console.valid();
  for (;;) {
    pollfd entries[] = {{pidfd, POLLIN, 0},
                        {signals_.get(), POLLIN, 0},
                        {console.get(), POLLIN, 0},
                        {input ? 0 : -1, POLLIN, 0}};
    if (sys::retry([&] { return ::poll(entries, 4, -1); }) == -1)
      return error_from_errno(errno, "poll");
    signalfd_siginfo info;
    while (entries[1].revents && ::read(signals_.get(), &info, sizeof info) == sizeof info) {
      int number = static_cast<int>(info.ssi_signo);
      if (number == SIGWINCH && console) copy_size(console.get());
      if (number != SIGCHLD && number != SIGPIPE && number != SIGURG && number != SIGWINCH)
        (void)sys::pidfd_send_signal(pidfd, number);
    }
    if (entries[2].revents && !relay(console.get(), 1)) console.reset();
    if (entries[3].revents && (!console || !relay(0, console.get()))) input = false;
    if (entries[0].revents) break;
  }
  // What the terminal still holds.
  if (console && sys::set_nonblocking(console.get(), true))
    while (relay(console.get(), 1)) {
    }
  sys::WaitStatus status = TRY(sys::waitpid(pid));
  return shell_status(status.status);
}

}  // namespace gantry::runtime

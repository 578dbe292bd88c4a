#include "client/io/terminal.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace gantry::client {
namespace {

// What the signal handler needs: set before the mode is changed, never freed.
struct SavedMode {
  termios mode;
  int fd;
};
SavedMode g_saved;
volatile sig_atomic_t g_raw = 0;

void restore_mode() {
  if (!g_raw) return;
  g_raw = 0;
  ::tcsetattr(g_saved.fd, TCSADRAIN, &g_saved.mode);
}

constexpr int kFatalSignals[] = {SIGHUP,  SIGINT, SIGQUIT, SIGTERM, SIGABRT,
                                 SIGSEGV, SIGBUS, SIGFPE,  SIGILL,  SIGPIPE};

// SA_RESETHAND has put the default action back: raising the signal again ends the process as it
// would have ended without us. tcsetattr is async-signal-safe (signal-safety(7)).
void on_fatal_signal(int signal) {
  int saved_errno = errno;
  restore_mode();
  ::raise(signal);
  errno = saved_errno;
}

void install_once() {
  static bool installed = false;
  if (std::exchange(installed, true)) return;
  std::atexit(restore_mode);
  for (int signal : kFatalSignals) {
    struct sigaction old {};
    ::sigaction(signal, nullptr, &old);
    if (old.sa_handler != SIG_DFL) continue;  // ignored, or somebody's own business
    struct sigaction action {};
    action.sa_handler = on_fatal_signal;
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
    ::sigaction(signal, &action, nullptr);
  }
}

}  // namespace

WindowSize window_size(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0) return {};
  return {size.ws_row, size.ws_col};
}

int terminal_width() {
  int columns = window_size(STDOUT_FILENO).columns;
  return columns > 0 ? columns : 80;
}

bool is_terminal(int fd) { return ::isatty(fd) == 1; }

Result<RawTerminal> RawTerminal::enter(int fd) {
  termios mode{};
  if (::tcgetattr(fd, &mode) != 0) return errno_error(errno, "reading the terminal's mode");
  if (!g_raw) g_saved = {mode, fd};
  install_once();
  ::cfmakeraw(&mode);
  mode.c_cc[VMIN] = 1;
  mode.c_cc[VTIME] = 0;
  g_raw = 1;
  if (::tcsetattr(fd, TCSADRAIN, &mode) != 0) {
    g_raw = 0;
    return errno_error(errno, "putting the terminal into raw mode");
  }
  return RawTerminal();
}

void RawTerminal::restore() {
  if (std::exchange(active_, false)) restore_mode();
}

RawTerminal::~RawTerminal() { restore(); }

}  // namespace gantry::client

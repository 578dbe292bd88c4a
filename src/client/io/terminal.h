// The terminal the client runs in: its size, raw mode that is always undone, resize notices.
#pragma once

#include <termios.h>

#include "base/result.h"

namespace gantry::client {

struct WindowSize {
  unsigned short rows = 0;
  unsigned short columns = 0;
  bool operator==(const WindowSize&) const = default;
};
// {0, 0} when `fd` is no terminal.
WindowSize window_size(int fd);
// Columns of standard output; 80 when it is no terminal.
int terminal_width();
bool is_terminal(int fd);

// Puts a terminal into raw mode (cfmakeraw(3), as Docker does, output processing included) for as
// long as it lives. The former mode comes back on destruction, on exit(3), and when one of the
// fatal signals HUP, INT, QUIT, TERM, ABRT, SEGV, BUS, FPE, ILL or PIPE ends the process. SIGKILL
// cannot be helped. One at a time in a process.
class RawTerminal {
 public:
  static Result<RawTerminal> enter(int fd);
  RawTerminal(RawTerminal&& other) noexcept : active_(std::exchange(other.active_, false)) {}
  RawTerminal& operator=(RawTerminal&&) = delete;
  ~RawTerminal();
  void restore();

 private:
  RawTerminal() = default;
  bool active_ = true;
};

}  // namespace gantry::client

// An attached container or exec: our standard streams joined to a connection that has left HTTP.
// One poll loop moves the bytes both ways, forwards signals, follows the terminal's size and finds
// the detach keys.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "client/io/terminal.h"

namespace gantry::client {

struct SessionOptions {
  bool tty = false;    // the stream is raw, not frames; the terminal goes into raw mode
  bool input = false;  // our standard input is sent
  bool out = true;     // frames of stdout and of stderr are shown
  bool err = true;
  std::string detach_keys;  // bytes; found only with `tty`
  bool proxy_signals = false;
  std::function<void(int signal)> on_signal;       // with proxy_signals
  std::function<void(WindowSize size)> on_resize;  // with tty; called at each SIGWINCH
};

enum class SessionEnd { closed, detached };

// Holds the signals back (they are seen by run()) from its construction on, so that none is lost
// between attaching and starting; raw mode likewise. Restores both when destroyed. One at a time in
// a process.
class Session {
 public:
  static Result<Session> open(SessionOptions options);
  Session(Session&&) noexcept;
  Session& operator=(Session&&) = delete;
  ~Session();

  // Until the daemon closes the stream or the detach keys are typed. `leftover` was read already.
  Result<SessionEnd> run(UniqueFd connection, std::string leftover);
  // Only the signals: until `fd` is readable.
  Status wait_readable(int fd);
  void restore_terminal();

 private:
  struct State;
  explicit Session(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gantry::client

#include "client/io/session.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <deque>

#include "base/sys.h"
#include "client/io/stream.h"

namespace gantry::client {
namespace {

// What is not passed on: SIGTSTP and its kin keep their job-control meaning here, SIGWINCH becomes
// a resize.
constexpr int kProxied[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,
                            SIGUSR2, SIGALRM, SIGTRAP, SIGABRT};
constexpr size_t kReadSize = 64u << 10;
// poll(2) says that a pipe has room when a page is free: a larger write might block.
constexpr size_t kPipeChunk = 4096;

struct Output {
  int fd;
  std::string data;
  size_t done = 0;
};

}  // namespace

struct Session::State {
  SessionOptions options;
  std::optional<RawTerminal> raw;
  sigset_t old_mask{};
  UniqueFd signals;
  Demultiplexer demultiplexer;
  std::optional<DetachFilter> detach;
  std::deque<Output> output;  // for our stdout and stderr, in the order it came
  std::string input;          // for the connection
  size_t input_done = 0;
  bool input_open = false;
  bool sending = true;  // our side of the connection is open
  bool detached = false;
  bool closed = false;
  bool is_pipe[3] = {};

  ~State() {
    if (signals.valid()) ::sigprocmask(SIG_SETMASK, &old_mask, nullptr);
  }

  void take_signals() {
    signalfd_siginfo info;
    while (::read(signals.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      if (info.ssi_signo == SIGWINCH) {
        if (options.on_resize) options.on_resize(window_size(STDOUT_FILENO));
      } else if (options.on_signal) {
        options.on_signal(static_cast<int>(info.ssi_signo));
      }
    }
  }

  void show(Channel channel, std::string_view data) {
    if (channel == Channel::out ? !options.out : !options.err) return;
    const int fd = channel == Channel::out ? STDOUT_FILENO : STDERR_FILENO;
    if (output.empty() || output.back().fd != fd) output.push_back({fd, {}, 0});
    output.back().data += data;
  }

  Status received(std::string_view bytes) {
    if (options.tty) {
      show(Channel::out, bytes);
      return {};
    }
    return demultiplexer.feed(
        bytes, [this](Channel channel, std::string_view data) { show(channel, data); });
  }

  Status read_connection(int fd) {
    char buffer[kReadSize];
    ssize_t got = ::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got > 0) return received({buffer, static_cast<size_t>(got)});
    if (got == 0 || errno == ECONNRESET || errno == EPIPE) {
      closed = true;
      return {};
    }
    if (errno == EAGAIN || errno == EINTR) return {};
    return errno_error(errno, "reading from the daemon");
  }

  void read_input() {
    char buffer[kReadSize];
    ssize_t got = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (got <= 0) {  // EIO: the terminal is gone
      input_open = false;
      return;
    }
    std::string_view typed(buffer, static_cast<size_t>(got));
    input = detach ? detach->feed(typed, detached) : std::string(typed);
    input_done = 0;
  }

  // A container that no longer reads is no error: its output still counts.
  void send_input(int fd) {
    ssize_t sent = ::send(fd, input.data() + input_done, input.size() - input_done,
                          MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) input_done += static_cast<size_t>(sent);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
      input_open = sending = false;
      input_done = input.size();
    }
    if (input_done == input.size()) {
      input.clear();
      input_done = 0;
    }
  }

  Status write_output() {
    Output& head = output.front();
    size_t size = head.data.size() - head.done;
    if (is_pipe[head.fd]) size = std::min(size, kPipeChunk);
    ssize_t wrote = ::write(head.fd, head.data.data() + head.done, size);
    if (wrote < 0 && errno != EINTR && errno != EAGAIN)
      return errno_error(errno, "writing to standard {}",
                         head.fd == STDOUT_FILENO ? "output" : "error");
    if (wrote > 0) head.done += static_cast<size_t>(wrote);
    if (head.done == head.data.size()) output.pop_front();
    return {};
  }

  Status turn(int connection) {
    enum { kConnection, kSignals, kInput, kOutput, kCount };
    pollfd fds[kCount] = {
        {connection, 0, 0}, {signals.get(), POLLIN, 0}, {-1, POLLIN, 0}, {-1, POLLOUT, 0}};
    if (output.empty() && !closed) fds[kConnection].events |= POLLIN;
    if (!input.empty()) fds[kConnection].events |= POLLOUT;
    if (fds[kConnection].events == 0) fds[kConnection].fd = -1;
    if (input_open && input.empty()) fds[kInput].fd = STDIN_FILENO;
    if (!output.empty()) fds[kOutput].fd = output.front().fd;
    if (::poll(fds, kCount, -1) < 0) {
      if (errno == EINTR) return {};
      return errno_error(errno, "poll");
    }
    if (fds[kSignals].revents) take_signals();
    if (fds[kOutput].revents) TRY(write_output());
    if (!input.empty() && (fds[kConnection].revents & (POLLOUT | POLLERR | POLLHUP)))
      send_input(connection);
    if (fds[kInput].revents) read_input();
    if ((fds[kConnection].events & POLLIN) &&
        (fds[kConnection].revents & (POLLIN | POLLHUP | POLLERR)))
      TRY(read_connection(connection));
    if (sending && !input_open && input.empty()) {  // half-close: the container sees end of file
      sending = false;
      ::shutdown(connection, SHUT_WR);
    }
    return {};
  }
};

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session::Session(Session&&) noexcept = default;
Session::~Session() = default;

Result<Session> Session::open(SessionOptions options) {
  auto state = std::make_unique<State>();
  sigset_t mask;
  ::sigemptyset(&mask);
  if (options.proxy_signals)
    for (int signal : kProxied) ::sigaddset(&mask, signal);
  if (options.tty) ::sigaddset(&mask, SIGWINCH);
  int fd = ::signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) return errno_error(errno, "signalfd");
  ::sigprocmask(SIG_BLOCK, &mask, &state->old_mask);
  state->signals.reset(fd);
  if (options.tty && options.input) {
    state->detach.emplace(options.detach_keys);
    if (is_terminal(STDIN_FILENO)) state->raw.emplace(TRY(RawTerminal::enter(STDIN_FILENO)));
  }
  state->input_open = options.input;
  for (int standard : {STDOUT_FILENO, STDERR_FILENO}) {
    struct stat status {};
    state->is_pipe[standard] =
        ::fstat(standard, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
  }
  state->options = std::move(options);
  return Session(std::move(state));
}

Result<SessionEnd> Session::run(UniqueFd connection, std::string leftover) {
  State& state = *state_;
  TRY(state.received(leftover));
  while (!state.detached && !(state.closed && state.output.empty()))
    TRY(state.turn(connection.get()));
  if (state.detached && !state.input.empty()) state.send_input(connection.get());
  return state.detached ? SessionEnd::detached : SessionEnd::closed;
}

Status Session::wait_readable(int fd) {
  while (true) {
    pollfd fds[] = {{fd, POLLIN, 0}, {state_->signals.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 && errno != EINTR) return errno_error(errno, "poll");
    if (fds[1].revents) state_->take_signals();
    if (fds[0].revents) return {};
  }
}

void Session::restore_terminal() { state_->raw.reset(); }

}  // namespace gantry::client

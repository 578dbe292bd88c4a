// The session and the raw terminal in a child process of their own: they work on the standard
// descriptors.
#include "client/io/session.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "base/sys.h"

namespace gantry::client {
namespace {

constexpr int kPatience = 20000;  // milliseconds; a bound, not a wait

struct Child {
  pid_t pid = -1;
  UniqueFd terminal;  // the master's side
  UniqueFd slave;     // kept open so that the mode can be read after the child's end
  int status = 0;

  void wait() { status = sys::waitpid(pid)->status; }
};

// Runs `body` with a terminal of its own as its standard streams; its value is the exit status.
Child in_terminal(const std::function<int()>& body) {
  Child child;
  int master = -1, slave = -1;
  winsize size{24, 80, 0, 0};
  EXPECT_EQ(::openpty(&master, &slave, nullptr, nullptr, &size), 0);
  child.terminal.reset(master);
  child.slave.reset(slave);
  child.pid = ::fork();
  if (child.pid == 0) {
    ::setsid();
    ::ioctl(slave, TIOCSCTTY, 0);
    for (int fd : {0, 1, 2}) ::dup2(slave, fd);
    ::_exit(body());
  }
  return child;
}

// Reads from the terminal until `text` came.
bool expect_output(int fd, std::string_view text) {
  std::string got;
  char buffer[4096];
  while (got.find(text) == got.npos) {
    auto ready = sys::poll_one(fd, POLLIN, kPatience);
    if (!ready || !*ready) return false;
    ssize_t size = ::read(fd, buffer, sizeof buffer);
    if (size <= 0) return false;
    got.append(buffer, static_cast<size_t>(size));
  }
  return true;
}

bool is_canonical(int fd) {
  termios mode{};
  ::tcgetattr(fd, &mode);
  return (mode.c_lflag & ICANON) && (mode.c_lflag & ECHO) && (mode.c_lflag & ISIG);
}

TEST(RawTerminal, TheModeComesBackWhenItGoesAway) {
  Child child = in_terminal([] {
    auto raw = RawTerminal::enter(0);
    if (!raw || is_canonical(0)) return 1;
    raw->restore();
    return is_canonical(0) ? 0 : 2;
  });
  child.wait();
  EXPECT_EQ(child.status, 0);
}

class RawTerminalSignal : public testing::TestWithParam<int> {};
TEST_P(RawTerminalSignal, TheModeComesBackWhenTheSignalEndsTheProcess) {
  Child child = in_terminal([] {
    ::signal(GetParam(), SIG_DFL);  // a sanitizer has a handler of its own for SIGSEGV
    auto raw = RawTerminal::enter(0);
    if (!raw) return 1;
    (void)!::write(1, "ready", 5);
    while (true) ::pause();
  });
  ASSERT_TRUE(expect_output(child.terminal.get(), "ready"));
  EXPECT_FALSE(is_canonical(child.slave.get()));
  ::kill(child.pid, GetParam());
  child.wait();
  EXPECT_TRUE(WIFSIGNALED(child.status) && WTERMSIG(child.status) == GetParam());
  EXPECT_TRUE(is_canonical(child.slave.get()));
}
INSTANTIATE_TEST_SUITE_P(Fatal, RawTerminalSignal,
                         testing::Values(SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGSEGV, SIGABRT,
                                         SIGPIPE));

SessionOptions terminal_options() {
  SessionOptions options;
  options.tty = options.input = true;
  options.detach_keys = "\x10\x11";
  return options;
}

TEST(Session, TheDetachKeysEndItAndTheTerminalComesBack) {
  auto sockets = sys::socketpair(SOCK_STREAM);
  const int ours = sockets->second.get();
  Child child = in_terminal([ours] {
    auto session = Session::open(terminal_options());
    if (!session) return 1;
    auto end = session->run(UniqueFd(::dup(ours)), "leftover ");
    session->restore_terminal();
    return end && *end == SessionEnd::detached && is_canonical(0) ? 0 : 2;
  });
  ASSERT_TRUE(expect_output(child.terminal.get(), "leftover"));
  ASSERT_EQ(::write(child.terminal.get(), "typed\x10\x11", 7), 7);
  ASSERT_TRUE(expect_output(sockets->first.get(), "typed"));
  child.wait();
  EXPECT_EQ(child.status, 0);
}

TEST(Session, AResizeOfTheTerminalIsReported) {
  auto sockets = sys::socketpair(SOCK_STREAM);
  const int ours = sockets->second.get(), theirs = sockets->first.get();
  Child child = in_terminal([ours, theirs] {
    ::close(theirs);  // else its end would never be seen
    SessionOptions options = terminal_options();
    options.on_resize = [](WindowSize size) {
      std::string text = fmt::format("size {}x{}", size.columns, size.rows);
      (void)!::write(1, text.data(), text.size());
    };
    auto session = Session::open(std::move(options));
    return session && session->run(UniqueFd(::dup(ours)), "start") ? 0 : 1;
  });
  sockets->second.reset();
  ASSERT_TRUE(expect_output(child.terminal.get(), "start"));
  winsize size{50, 132, 0, 0};
  ::ioctl(child.terminal.get(), TIOCSWINSZ, &size);
  EXPECT_TRUE(expect_output(child.terminal.get(), "size 132x50"));
  sockets->first.reset();
  child.wait();
  EXPECT_EQ(child.status, 0);
}

// Our end of a session over pipes: what it should print comes out of `out`, `in` is its standard
// input.
struct Piped {
  pid_t pid = -1;
  UniqueFd in, out, connection;
};
Piped in_pipes(SessionOptions options, int signal_fd = -1) {
  auto in = sys::pipe(), out = sys::pipe();
  auto sockets = sys::socketpair(SOCK_STREAM);
  Piped piped;
  piped.pid = ::fork();
  if (piped.pid == 0) {
    ::dup2(in->read.get(), 0);
    ::dup2(out->write.get(), 1);
    in->write.reset();
    out->read.reset();
    sockets->first.reset();
    options.on_signal = [signal_fd](int signal) {
      char byte = static_cast<char>(signal);
      (void)!::write(signal_fd, &byte, 1);
    };
    auto session = Session::open(std::move(options));
    if (signal_fd >= 0) (void)!::write(signal_fd, "r", 1);
    ::_exit(session && session->run(std::move(sockets->second), "") ? 0 : 1);
  }
  piped.in = std::move(in->write);
  piped.out = std::move(out->read);
  piped.connection = std::move(sockets->first);
  return piped;
}

std::string framed(std::string_view data) {
  std::string out("\x01\0\0\0", 4);
  for (int shift : {24, 16, 8, 0}) out += static_cast<char>(data.size() >> shift);
  return out + std::string(data);
}

TEST(Session, BothDirectionsFlowAtOnceAndEndOfFileIsPassedOn) {
  constexpr size_t kTotal = 8u << 20;
  SessionOptions options;
  options.input = true;
  Piped piped = in_pipes(options);
  // Echoes frames, as `cat` in a container would, with everything in one thread: a session that
  // stopped reading one side while the other is full would hang here.
  size_t sent = 0, echoed = 0, received = 0;
  std::string pending;
  bool in_open = true, peer_open = true;
  const std::string block(64u << 10, 'x');
  for (UniqueFd* fd : {&piped.in, &piped.out, &piped.connection})
    ASSERT_TRUE(sys::set_nonblocking(fd->get(), true));
  while (true) {
    pollfd fds[] = {{in_open ? piped.in.get() : -1, POLLOUT, 0},
                    {piped.out.get(), POLLIN, 0},
                    {piped.connection.get(), 0, 0}};
    if (pending.empty() && peer_open) fds[2].events |= POLLIN;
    if (!pending.empty()) fds[2].events |= POLLOUT;
    if (fds[2].events == 0) fds[2].fd = -1;
    ASSERT_GT(::poll(fds, 3, kPatience), 0)
        << sent << " sent, " << echoed << " echoed, " << received << " received";
    char buffer[64u << 10];
    if (fds[0].revents) {
      ssize_t got = ::write(piped.in.get(), block.data(), std::min(block.size(), kTotal - sent));
      if (got > 0) sent += static_cast<size_t>(got);
      if (sent == kTotal) {
        in_open = false;
        piped.in.reset();
      }
    }
    if (fds[1].revents) {
      ssize_t got = ::read(piped.out.get(), buffer, sizeof buffer);
      if (got == 0) break;
      if (got > 0) received += static_cast<size_t>(got);
    }
    if (fds[2].revents & (POLLIN | POLLHUP)) {
      ssize_t got = ::read(piped.connection.get(), buffer, sizeof buffer);
      if (got > 0) {
        echoed += static_cast<size_t>(got);
        pending = framed({buffer, static_cast<size_t>(got)});
      }
      if (got == 0) peer_open = false;
    }
    if (fds[2].revents & POLLOUT) {
      ssize_t got = ::write(piped.connection.get(), pending.data(), pending.size());
      if (got > 0) pending.erase(0, static_cast<size_t>(got));
    }
    if (!peer_open && pending.empty()) piped.connection.reset();  // the container ended
  }
  EXPECT_EQ(sent, kTotal);
  EXPECT_EQ(echoed, kTotal);
  EXPECT_EQ(received, kTotal);
  EXPECT_EQ(sys::waitpid(piped.pid)->status, 0);
}

TEST(Session, AContainerThatDoesNotReadItsInputIsNoError) {
  SessionOptions options;
  options.input = true;
  Piped piped = in_pipes(options);
  std::string bye = framed("bye");
  ASSERT_TRUE(sys::write_all(piped.connection.get(), bye));
  ::shutdown(piped.connection.get(), SHUT_WR);
  EXPECT_TRUE(expect_output(piped.out.get(), "bye"));
  EXPECT_EQ(sys::waitpid(piped.pid)->status, 0);
}

TEST(Session, SignalsAreHandedOnAndDoNotEndIt) {
  auto signals = sys::pipe();
  SessionOptions options;
  options.proxy_signals = true;
  Piped piped = in_pipes(options, signals->write.get());
  char byte = 0;
  ASSERT_EQ(::read(signals->read.get(), &byte, 1), 1);
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) {
    ::kill(piped.pid, signal);
    ASSERT_EQ(::read(signals->read.get(), &byte, 1), 1);
    EXPECT_EQ(byte, signal);
  }
  piped.connection.reset();
  EXPECT_EQ(sys::waitpid(piped.pid)->status, 0);
}

}  // namespace
}  // namespace gantry::client

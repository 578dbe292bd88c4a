#include "drivers/log/connection.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "base/sys.h"

namespace gantry::drivers {
namespace {

// An errno in Go's words, which is what a user of Docker knows.
Error dial_error(const std::string& what, int why) {
  if (why == ETIMEDOUT) return Error(ErrorKind::unavailable, "dial " + what + ": i/o timeout", why);
  return Error(ErrorKind::unavailable,
               error_from_errno(why, "dial " + what + ": connect").message(), why);
}

struct Addresses {
  addrinfo* list = nullptr;
  ~Addresses() {
    if (list) ::freeaddrinfo(list);
  }
};

}  // namespace

Status LogConnection::wait(short events, int cancel, int64_t deadline) const {
  std::array<pollfd, 2> entries = {pollfd{fd_.get(), events, 0}, pollfd{cancel, POLLIN, 0}};
  int64_t left = std::max<int64_t>(0, (deadline - monotonic_ns()) / 1'000'000);
  int ready = sys::retry([&] { return ::poll(entries.data(), 2, static_cast<int>(left)); });
  if (ready == -1) return error_from_errno(errno, "poll");
  if (entries[1].revents) return make_error(ErrorKind::cancelled, "cancelled");
  if (ready == 0) return Error(ErrorKind::unavailable, "i/o timeout", ETIMEDOUT);
  return {};
}

Result<LogConnection> LogConnection::open(const std::string& transport, const LogAddress& address,
                                          const std::shared_ptr<const http::TlsContext>& tls,
                                          int cancel, int timeout_ms) {
  const int64_t deadline = monotonic_ns() + int64_t{timeout_ms} * 1'000'000;
  LogConnection connection;
  connection.datagrams_ = transport == "udp" || transport == "unixgram";
  const int type = connection.datagrams_ ? SOCK_DGRAM : SOCK_STREAM;

  auto dial = [&](const sockaddr* to, socklen_t size, int family,
                  const std::string& what) -> Status {
    connection.fd_ = UniqueFd(::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!connection.fd_) return error_from_errno(errno, "socket");
    if (sys::retry([&] { return ::connect(connection.fd_.get(), to, size); }) == 0) return {};
    if (errno != EINPROGRESS) return dial_error(what, errno);
    Status ready = connection.wait(POLLOUT, cancel, deadline);
    if (!ready && ready.error().kind() == ErrorKind::cancelled) return ready;
    if (!ready) return dial_error(what, ETIMEDOUT);
    int failure = 0;
    socklen_t length = sizeof failure;
    (void)::getsockopt(connection.fd_.get(), SOL_SOCKET, SO_ERROR, &failure, &length);
    if (failure != 0) return dial_error(what, failure);
    return {};
  };

  if (!address.path.empty()) {
    sockaddr_un name = {};
    name.sun_family = AF_UNIX;
    if (address.path.size() >= sizeof name.sun_path)
      return invalid("dial {} {}: the path is too long", transport, address.path);
    std::memcpy(name.sun_path, address.path.data(), address.path.size());
    TRY(dial(reinterpret_cast<sockaddr*>(&name), sizeof name, AF_UNIX,
             transport + " " + address.path));
    return connection;
  }
  addrinfo hints = {};
  hints.ai_socktype = type;
  hints.ai_flags = AI_ADDRCONFIG;
  Addresses found;
  const std::string host = address.host.empty() ? "localhost" : address.host;
  int failed = ::getaddrinfo(host.c_str(), address.port.c_str(), &hints, &found.list);
  if (failed != 0)
    return make_error(ErrorKind::unavailable, "dial {}: lookup {}: {}", transport, host,
                      failed == EAI_NONAME ? "no such host" : ::gai_strerror(failed));
  Status last = internal("no address");
  for (addrinfo* one = found.list; one; one = one->ai_next) {
    char number[NI_MAXHOST] = "";
    (void)::getnameinfo(one->ai_addr, one->ai_addrlen, number, sizeof number, nullptr, 0,
                        NI_NUMERICHOST);
    bool six = one->ai_family == AF_INET6;
    last = dial(one->ai_addr, one->ai_addrlen, one->ai_family,
                fmt::format("{} {}{}{}:{}", transport, six ? "[" : "", number, six ? "]" : "",
                            address.port));
    if (last || last.error().kind() == ErrorKind::cancelled) break;
  }
  if (!last) return std::move(last).error();
  if (!tls) return connection;
  connection.tls_ = TRY(http::TlsStream::connect(*tls, connection.fd_.get(), host));
  while (connection.tls_->handshake() != 1) {
    if (errno != EAGAIN)
      return make_error(ErrorKind::unavailable, "tls: {}",
                        errno == EPROTO ? connection.tls_->failure() : std::strerror(errno));
    TRY(connection.wait(connection.tls_->needs_write() ? POLLOUT : POLLIN, cancel, deadline));
  }
  return connection;
}

Status LogConnection::send(std::string_view bytes, int cancel, int timeout_ms) {
  const int64_t deadline = monotonic_ns() + int64_t{timeout_ms} * 1'000'000;
  while (!bytes.empty()) {
    ssize_t sent = tls_ ? tls_->write(bytes.data(), bytes.size())
                        : ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(datagrams_ ? bytes.size() : static_cast<size_t>(sent));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != ENOBUFS) return error_from_errno(errno, "write");
    TRY(wait(!tls_ || tls_->needs_write() ? POLLOUT : POLLIN, cancel, deadline).context("write"));
  }
  return {};
}

Result<size_t> LogConnection::receive(char* buffer, size_t size, int cancel, int timeout_ms) {
  const int64_t deadline = monotonic_ns() + int64_t{timeout_ms} * 1'000'000;
  for (;;) {
    ssize_t got = tls_ ? tls_->read(buffer, size) : ::recv(fd_.get(), buffer, size, MSG_DONTWAIT);
    if (got > 0) return static_cast<size_t>(got);
    if (got == 0) return make_error(ErrorKind::unavailable, "read: EOF");
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return error_from_errno(errno, "read");
    TRY(wait(tls_ && tls_->needs_write() ? POLLOUT : POLLIN, cancel, deadline).context("read"));
  }
}

bool LogConnection::stale() const {
  if (datagrams_ || tls_) return false;
  char byte;
  ssize_t got = ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got == 0 || (got == -1 && errno != EAGAIN && errno != EINTR);
}

}  // namespace gantry::drivers

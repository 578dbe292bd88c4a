// A connection to a server of logs: a stream (tcp, tls, unix) or datagrams (udp, unixgram).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "drivers/log/options.h"
#include "http/tls.h"

namespace gantry::drivers {

inline constexpr int kLogTimeoutMs = 10'000;

// Not thread-safe. Blocks, at most for the timeout given, and until `cancel` becomes readable
// (error `cancelled`; -1: not to be cancelled). After an error it is not connected.
class LogConnection {
 public:
  // `transport`: tcp, udp, unix or unixgram. With `tls` a handshake follows, with the host's name.
  static Result<LogConnection> open(const std::string& transport, const LogAddress& address,
                                    const std::shared_ptr<const http::TlsContext>& tls, int cancel,
                                    int timeout_ms = kLogTimeoutMs);

  bool datagrams() const { return datagrams_; }
  int fd() const { return fd_.get(); }
  // The whole of it; one datagram.
  Status send(std::string_view bytes, int cancel, int timeout_ms = kLogTimeoutMs);
  // At least one byte, at most `size`; `unavailable` when the peer has closed.
  Result<size_t> receive(char* buffer, size_t size, int cancel, int timeout_ms);
  // The peer of a stream has closed it or said something that nobody asked for: what is sent now
  // would be lost.
  bool stale() const;

 private:
  LogConnection() = default;
  Status wait(short events, int cancel, int64_t deadline) const;

  UniqueFd fd_;
  std::unique_ptr<http::TlsStream> tls_;
  bool datagrams_ = false;
};

}  // namespace gantry::drivers

// What goes on between a client whose connection is not a plain socket (TLS, a WebSocket) and
// whoever took it over by hijack().
#include <sys/socket.h>

#include "base/log.h"
#include "http/connection.h"
#include "http/websocket.h"

namespace gantry::http {
namespace {

constexpr size_t kRelayBuffer = 64u << 10;  // in each direction

}  // namespace

Result<Hijacked> RequestExchange::begin_relay(std::string_view head, bool websocket) {
  auto sockets = TRY(sys::socketpair(SOCK_STREAM));
  TRY(sys::set_nonblocking(sockets.second.get(), true));
  state_ = Progress::finished;
  keep_alive_ = false;
  TRY(checked(connection_.send(yield_, {head})));
  relayed_ = true;
  relay_ =
      std::make_unique<Descriptor>(connection_.core().io.get_executor(), sockets.second.release());
  if (websocket) websocket_ = std::make_unique<WebSocketReader>();
  return Hijacked{std::move(sockets.first), {}};
}

Result<Hijacked> RequestExchange::accept_websocket() {
  if (started()) return internal("the request was answered already");
  const std::string accept = TRY(websocket_accept(headers_));
  return begin_relay(fmt::format("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                 "Connection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                                 accept),
                     true);
}

// Client to container: whether anything moved.
bool RequestExchange::relay_in(RelayState& state) {
  bool moved = false;
  std::string& in = connection_.input();
  if (!state.client_done && state.inward.size() < kRelayBuffer) {
    const Got got = connection_.receive_now(kRelayBuffer);
    if (got == Got::end) state.client_done = true;
    moved = got == Got::bytes;
  }
  if (!in.empty() && state.inward.size() < kRelayBuffer) {
    if (websocket_) {
      Status read = websocket_->read(in, state.inward, state.outward);
      if (!read || websocket_->closed()) state.client_done = true;
      if (!read) in.clear();
    } else {
      state.inward += std::exchange(in, {});
    }
    moved = true;
  }
  while (!state.inward.empty()) {
    const ssize_t sent = sys::retry([&] {
      return ::send(relay_->native_handle(), state.inward.data(), state.inward.size(),
                    MSG_NOSIGNAL | MSG_DONTWAIT);
    });
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (sent < 0)  // nobody reads it any more
      state.inward.clear();
    else
      state.inward.erase(0, static_cast<size_t>(sent));
    moved = true;
  }
  if (state.client_done && state.inward.empty() && !std::exchange(state.told_end, true))
    (void)::shutdown(relay_->native_handle(), SHUT_WR);
  return moved;
}

// Container to client; waits while the client takes nothing.
Status RequestExchange::relay_out(RelayState& state, bool& moved) {
  std::string& buffer = connection_.core().scratch;
  if (!state.container_done) {
    const ssize_t size = sys::retry([&] {
      return ::recv(relay_->native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    });
    if (size > 0) {
      const std::string_view piece(buffer.data(), static_cast<size_t>(size));
      state.outward += websocket_ ? websocket_frame(piece) : std::string(piece);
    } else if (size == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
      state.container_done = true;
      if (websocket_ && !websocket_->closed()) state.outward += websocket_close();
    }
  }
  if (state.outward.empty()) return {};
  moved = true;
  const std::string piece = std::exchange(state.outward, {});
  return connection_.send(yield_, {piece});
}

void RequestExchange::relay() {
  if (!relay_) return;
  RelayState state;
  Connection& connection = connection_;
  while (!connection.gone() && !connection.core().stopping) {
    bool moved = relay_in(state);
    if (!relay_out(state, moved)) break;
    if (state.container_done || (websocket_ && websocket_->closed())) break;
    if (moved) continue;
    // One wait of each sort at a time. They may end when this exchange has gone.
    auto once = [&](const std::shared_ptr<bool>& armed, auto begin) {
      if (std::exchange(*armed, true)) return;
      begin([notify = waker(), armed](const ErrorCode& code) {
        *armed = false;
        if (!code) notify();
      });
    };
    once(state.reading, [&](auto done) { relay_->async_wait(Descriptor::wait_read, done); });
    if (!state.inward.empty())
      once(state.writing, [&](auto done) { relay_->async_wait(Descriptor::wait_write, done); });
    if (!state.client_done && state.inward.size() < kRelayBuffer)
      once(state.input, [&](auto done) { connection.wait_input(done); });
    while (!std::exchange(notified_, false) && !connection.gone() && !connection.core().stopping) {
      timer_.expires_at(Clock::time_point::max());
      ErrorCode code;
      timer_.async_wait(yield_[code]);
    }
  }
  ErrorCode ignored;
  relay_->close(ignored);
}

}  // namespace gantry::http

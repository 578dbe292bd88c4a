#include "http/connection.h"

#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstring>

#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>

#include "base/json.h"
#include "base/log.h"
#include "http/response_head.h"

namespace gantry::http {
namespace {

constexpr size_t kWatchLimit = 64u << 10;  // of pipelined input kept while a handler waits
constexpr size_t kReadAhead = 64u << 10;
constexpr size_t kFileStep = 4u << 20;
constexpr uint64_t kFastClient = 128u << 10;  // taken at once
constexpr int kFastWait = 2;                  // ms
constexpr size_t kCopyStep = 256u << 10;      // of a file that goes through TLS
constexpr size_t kDrainLimit = 256u << 10;    // of an unread body, to keep the connection
constexpr size_t kRecordSize = 16u << 10;     // of one TLS record
constexpr auto kLingerTime = std::chrono::seconds(1);

Error client_gone() { return make_error(ErrorKind::cancelled, "the client closed the connection"); }

std::string error_body(std::string_view message) {
  return json::serialize(json::object{{"message", message}}) + "\n";
}

}  // namespace

void WakeState::notify() {
  std::lock_guard lock(mutex_);
  if (io_ == nullptr || std::exchange(posted_, true)) return;
  asio::post(*io_, [self = shared_from_this()] {
    RequestExchange* exchange = nullptr;
    {
      std::lock_guard inner(self->mutex_);
      self->posted_ = false;
      if (self->io_ != nullptr) exchange = self->exchange_;
    }
    if (exchange != nullptr) exchange->on_notified();
  });
}

void WakeState::detach() {
  std::lock_guard lock(mutex_);
  io_ = nullptr;
}

Connection::Connection(Core& core, UniqueFd fd, Peer peer, std::unique_ptr<TlsStream> tls)
    : core_(core),
      descriptor_(core.io.get_executor(), fd.release()),
      peer_(std::move(peer)),
      tls_(std::move(tls)) {}
Connection::~Connection() = default;

void Connection::start() {
  self_ = core_.connections.insert(core_.connections.end(), shared_from_this());
  become_idle();
  if (tls_) bound_handshake();
  receive_head();
}

// A client that does not speak keeps a connection, but not the room of a TLS session.
void Connection::bound_handshake() {
  head_timer_ = std::make_unique<Timer>(core_.io.get_executor());
  head_timer_->expires_after(core_.options.header_timeout);
  head_timer_->async_wait([weak = weak_from_this()](const ErrorCode& code) {
    auto self = weak.lock();
    if (!code && self && !self->tls_->established()) self->close();
  });
}

ssize_t Connection::receive_bytes(void* buffer, size_t size) {
  if (!tls_) {
    return sys::retry(
        [&] { return ::recv(descriptor_.native_handle(), buffer, size, MSG_DONTWAIT); });
  }
  bool before = tls_->established();
  ssize_t got = tls_->read(buffer, size);
  int code = errno;
  if (!before && tls_->established()) peer_.tls_subject = tls_->peer_common_name();
  errno = code;
  return got;
}

ssize_t Connection::send_bytes(const iovec* pieces, size_t count) {
  if (!tls_) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces);
    message.msg_iovlen = count;
    return sys::retry([&] {
      return ::sendmsg(descriptor_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    });
  }
  // Small pieces make one record: a chunk's size line does not travel alone.
  if (count > 1 && pieces[0].iov_len < kRecordSize) {
    std::string& record = core_.scratch;
    size_t used = 0;
    for (size_t i = 0; i < count && used < kRecordSize; ++i) {
      size_t size = std::min(pieces[i].iov_len, kRecordSize - used);
      std::memcpy(record.data() + used, pieces[i].iov_base, size);
      used += size;
    }
    return tls_->write(record.data(), used);
  }
  return tls_->write(pieces[0].iov_base, pieces[0].iov_len);
}

Descriptor::wait_type Connection::direction(Descriptor::wait_type plain) const {
  if (!tls_) return plain;
  return tls_->needs_write() ? Descriptor::wait_write : Descriptor::wait_read;
}

void Connection::end_output() {
  if (tls_) tls_->close_notify();
  (void)::shutdown(descriptor_.native_handle(), SHUT_WR);
}

void Connection::become_idle() {
  state_ = State::idle;
  parser_.reset();
  if (in_.empty()) in_ = std::string();  // gives the buffer back
  if (!in_idle_list_) {
    idle_position_ = core_.idle.insert(core_.idle.end(), this);
    in_idle_list_ = true;
  }
}

void Connection::leave_idle() {
  if (std::exchange(in_idle_list_, false)) core_.idle.erase(idle_position_);
}

void Connection::finish_close() {
  if (state_ == State::closed) return;
  state_ = State::closed;
  leave_idle();
  head_timer_.reset();
  ErrorCode ignored;
  if (tls_ && !gone_) tls_->close_notify();
  if (!released_) descriptor_.close(ignored);
  core_.connections.erase(self_);
  if (core_.on_closed) core_.on_closed();
}

void Connection::close() {
  auto self = shared_from_this();
  if (state_ != State::handling) return finish_close();
  gone_ = true;
  ErrorCode ignored;
  if (!released_) descriptor_.cancel(ignored);
  if (exchange_ != nullptr) exchange_->interrupt();
}

void Connection::stop() {
  if (state_ != State::handling) return close();
  if (exchange_ != nullptr) exchange_->interrupt();
}

UniqueFd Connection::release() {
  released_ = true;
  return UniqueFd(descriptor_.release());
}

void Connection::arm() {
  if (armed_ || released_ || state_ == State::closed) return;
  armed_ = true;
  descriptor_.async_wait(
      direction(Descriptor::wait_read),
      [self = shared_from_this()](const ErrorCode& code) { self->on_readable(code); });
}

void Connection::on_readable(const ErrorCode& code) {
  armed_ = false;
  if (code || released_ || state_ == State::closed) {
    if (watching_ && !released_) on_watched();  // another wait was cancelled, not this one
    return;
  }
  if (state_ == State::handling) {
    if (watching_) on_watched();
  } else {
    receive_head();
  }
}

void Connection::on_watched() {
  switch (receive_now(kWatchLimit)) {
    case Got::end:
      return on_end();
    case Got::too_much:
      return;
    default:
      arm();
  }
}

// The client has sent its last byte. Over TCP that cannot be told from its having gone; a Unix
// socket says when the other direction is closed too.
void Connection::on_end() {
  pollfd state{descriptor_.native_handle(), 0, 0};
  if (!peer_.unix_socket || ::poll(&state, 1, 0) != 0) {
    gone_ = true;
    if (exchange_ != nullptr) exchange_->interrupt();
    return;
  }
  descriptor_.async_wait(Descriptor::wait_error,
                         [self = shared_from_this()](const ErrorCode& code) {
                           if (!code && self->watching_ && !self->gone_) self->on_end();
                         });
}

void Connection::watch(bool on) {
  if (std::exchange(watching_, on) == on || !on || gone_ || released_) return;
  if (eof_)
    on_end();
  else
    on_watched();
}

Got Connection::receive_now(size_t limit) {
  bool some = false;
  while (!eof_) {
    if (in_.size() >= limit) return Got::too_much;
    ssize_t size = receive_bytes(core_.scratch.data(), core_.scratch.size());
    if (size > 0) {
      in_.append(core_.scratch, 0, static_cast<size_t>(size));
      some = true;
      continue;
    }
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (size < 0) gone_ = true;
    eof_ = true;
  }
  if (some) return Got::bytes;
  return eof_ ? Got::end : Got::nothing_now;
}

Status Connection::receive(Yield& yield, std::optional<Clock::duration> timeout) {
  auto expired = std::make_shared<bool>(false);
  std::optional<Timer> timer;
  while (true) {
    if (gone_) return client_gone();
    switch (receive_now(in_.size() + kReadAhead)) {
      case Got::end:
        return client_gone();
      case Got::nothing_now:
        break;
      default:
        return {};
    }
    if (timeout && !timer) {
      timer.emplace(core_.io.get_executor(), *timeout);
      timer->async_wait([expired, self = shared_from_this()](const ErrorCode& code) {
        ErrorCode ignored;
        if (code || self->released_) return;
        *expired = true;
        self->descriptor_.cancel(ignored);
      });
    }
    ErrorCode code;
    descriptor_.async_wait(direction(Descriptor::wait_read), yield[code]);
    if (*expired) return make_error(ErrorKind::unavailable, "timed out reading the request");
  }
}

Status Connection::send(Yield& yield, std::initializer_list<std::string_view> pieces) {
  iovec vectors[4];
  size_t count = 0;
  for (std::string_view piece : pieces)
    if (!piece.empty()) vectors[count++] = {const_cast<char*>(piece.data()), piece.size()};
  iovec* at = vectors;
  while (count > 0) {
    if (gone_) return client_gone();
    ssize_t sent = send_bytes(at, count);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
      gone_ = true;
      return client_gone();
    }
    if (sent < 0) {
      TRY(wait_writable(yield));
      continue;
      continue;
    }
    auto left = static_cast<size_t>(sent);
    while (count > 0 && left >= at->iov_len) {
      left -= at->iov_len;
      ++at, --count;
    }
    if (count > 0) {
      at->iov_base = static_cast<char*>(at->iov_base) + left;
      at->iov_len -= left;
    }
  }
  return {};
}

void Connection::wait_input(std::function<void(const ErrorCode&)> wake) {
  descriptor_.async_wait(direction(Descriptor::wait_read), std::move(wake));
}

Status Connection::wait_writable(Yield& yield) {
  auto expired = std::make_shared<bool>(false);
  std::optional<Timer> timer;
  if (auto limit = core_.options.stall_timeout; limit.count() > 0) {
    timer.emplace(core_.io.get_executor(), limit);
    timer->async_wait([expired, self = shared_from_this()](const ErrorCode& code) {
      ErrorCode ignored;
      if (code || self->released_) return;
      *expired = true;
      self->descriptor_.cancel(ignored);
    });
  }
  ErrorCode code;
  descriptor_.async_wait(direction(Descriptor::wait_write), yield[code]);
  if (*expired) gone_ = true;
  if (gone_) return client_gone();
  return {};
}

void Connection::receive_head() {
  auto self = shared_from_this();
  receive_now(core_.options.header_limit + kReadAhead);
  if (parse_head())
    spawn();
  else if (state_ != State::closed && eof_)
    finish_close();
  else
    arm();
}

bool Connection::parse_head() {
  while (!in_.empty()) {
    // Empty lines before a request are to be ignored (RFC 9112, 2.2).
    if (!parser_ && in_.starts_with("\r\n")) {
      in_.erase(0, 2);
      continue;
    }
    if (!parser_) {
      if (in_ == "\r") break;
      parser_ = std::make_unique<Parser>(Parser::Kind::request, core_.options.header_limit);
      head_timer_ = std::make_unique<Timer>(core_.io.get_executor());
    }
    std::string unused;
    auto used = parser_->put(in_, unused);
    if (!used) {
      refuse(parser_->error_status(), used.error().message());
      return false;
    }
    in_.erase(0, *used);
    if (parser_->head_done()) {
      head_timer_.reset();
      leave_idle();
      state_ = State::handling;
      return true;
    }
    break;
  }
  if (state_ == State::idle && !in_.empty() && head_timer_) {
    state_ = State::head;
    head_timer_->expires_after(core_.options.header_timeout);
    head_timer_->async_wait([weak = weak_from_this()](const ErrorCode& code) {
      auto self = weak.lock();
      if (!code && self && self->state_ == State::head)
        self->refuse(408, "timed out reading the request's head");
    });
  }
  return false;
}

// Answers without a coroutine: what does not fit into the socket's buffer at once is not worth
// waiting for.
void Connection::refuse(int status, std::string_view message) {
  std::string body = error_body(message);
  Headers headers{{"Content-Type", "application/json"}, {"Connection", "close"}};
  std::string text = response_head(11, status, headers, BodyFraming::length, body.size()) + body;
  iovec piece{text.data(), text.size()};
  (void)send_bytes(&piece, 1);
  end_output();
  in_.clear();
  receive_now(kReadAhead);  // a close with input unread would reset the connection
  finish_close();
}

void Connection::spawn() {
  try {
    asio::spawn(
        core_.io.get_executor(), std::allocator_arg, StackAllocator(core_.stacks),
        [self = shared_from_this()](Yield yield) { self->serve(std::move(yield)); },
        asio::detached);
  } catch (const std::bad_alloc&) {  // no room for its stack
    refuse(503, "out of memory");
  }
}

void Connection::serve(Yield yield) {
  while (serve_one(yield)) {
    become_idle();
    if (parse_head()) continue;
    if (state_ == State::closed) return;
    // The coroutine ends; the connection goes on without a stack.
    asio::post(core_.io, [self = shared_from_this()] {
      if (self->state_ != State::closed && self->state_ != State::handling) self->receive_head();
    });
    return;
  }
}

bool Connection::serve_one(Yield& yield) {
  bool keep = false;
  {
    RequestExchange exchange(*this, yield);
    exchange_ = &exchange;
    std::string failure;
    Status prepared = exchange.prepare();
    if (prepared) {
      try {
        core_.handler(exchange);
      } catch (const std::exception& error) {  // answered below: no switch inside a catch block
        failure = error.what();
      }
      exchange.join_blocking();
      exchange.relay();
    }
    if (!failure.empty())
      log::error("handler of {} {}: {}", exchange.method(), exchange.path(), failure);
    Headers headers{{"Content-Type", "application/json"}};
    if (!prepared)
      (void)exchange.respond(400, std::move(headers), error_body(prepared.error().message()));
    else if (!exchange.started())
      (void)exchange.respond(
          500, std::move(headers),
          error_body(failure.empty() ? "the request was not answered" : failure));
    keep = exchange.conclude() && !gone_ && !core_.stopping;
    exchange_ = nullptr;
  }
  if (keep) return true;
  if (!released_ && !gone_ && parser_ && !parser_->done()) {
    // The rest of the request is thrown away for a while, so that the answer is not lost by a
    // reset.
    end_output();
    Clock::time_point end = Clock::now() + kLingerTime;
    while (Clock::now() < end) {
      in_.clear();
      if (!receive(yield, end - Clock::now())) break;
    }
  }
  finish_close();
  return false;
}

RequestExchange::RequestExchange(Connection& connection, Yield& yield)
    : connection_(connection),
      yield_(yield),
      head_(std::move(connection.parser().head())),
      timer_(connection.core().io.get_executor()) {
  method_ = std::move(head_.method);
  target_ = std::move(head_.target);
  headers_ = std::move(head_.headers);
  peer_ = connection.peer();
  keep_alive_ = head_.keep_alive;
  continue_expected_ = headers_.has_token("Expect", "100-continue");
}

RequestExchange::~RequestExchange() {
  connection_.watch(false);
  if (wake_) wake_->detach();
}

Status RequestExchange::prepare() {
  if (head_.version >= 11 && !headers_.has("Host")) {
    keep_alive_ = false;
    return invalid("missing required Host header");
  }
  Target target = TRY(parse_target(target_));
  path_ = std::move(target.path);
  query_ = Query::parse(target.query);
  return {};
}

std::optional<uint64_t> RequestExchange::content_length() const {
  if (head_.chunked) return std::nullopt;
  return head_.content_length.value_or(0);
}

Status RequestExchange::checked(Status status) {
  if (!status) keep_alive_ = false;
  return status;
}

Status RequestExchange::fill(std::optional<Clock::duration> timeout) {
  if (std::exchange(continue_expected_, false) && connection_.input().empty() &&
      !connection_.parser().done())
    TRY(checked(connection_.send(yield_, {"HTTP/1.1 100 Continue\r\n\r\n"})));
  Parser& parser = connection_.parser();
  std::string& in = connection_.input();
  while (body_.empty() && !parser.done()) {
    if (!in.empty()) {
      auto used = parser.put(in, body_);
      if (!used) return checked(std::move(used).error());
      in.erase(0, *used);
      if (!body_.empty() || parser.done()) break;
    }
    TRY(checked(connection_.receive(yield_, timeout)));
  }
  return {};
}

Result<size_t> RequestExchange::read_some(std::span<char> buffer) {
  auto stall = connection_.core().options.stall_timeout;
  TRY(fill(stall.count() > 0 ? std::optional<Clock::duration>(stall) : std::nullopt));
  size_t size = std::min(buffer.size(), body_.size() - body_used_);
  body_.copy(buffer.data(), size, body_used_);
  body_used_ += size;
  if (body_used_ == body_.size()) {
    body_.clear();
    body_used_ = 0;
  }
  return size;
}

Result<std::string> RequestExchange::read_body(size_t limit) {
  std::string out;
  while (true) {
    if (content_length().value_or(0) > limit || out.size() > limit) {
      keep_alive_ = false;
      return invalid("http: request body too large");
    }
    TRY(fill(connection_.core().options.body_timeout));
    if (body_.empty()) return out;
    out.append(body_, body_used_);
    body_.clear();
    body_used_ = 0;
  }
}

std::string RequestExchange::format_head(int status, Headers headers,
                                         std::optional<uint64_t> length) {
  if (connection_.core().stopping) keep_alive_ = false;
  BodyFraming framing = BodyFraming::length;
  if (status == 204 || status == 304) {
    framing = BodyFraming::none;
  } else if (!length) {
    framing = head_.version >= 11 ? BodyFraming::chunked : BodyFraming::to_end;
    if (framing == BodyFraming::to_end) keep_alive_ = false;
    chunked_ = framing == BodyFraming::chunked;
  }
  if (!keep_alive_)
    headers.set("Connection", "close");
  else if (head_.version < 11)
    headers.set("Connection", "keep-alive");
  return response_head(11, status, headers, framing, length.value_or(0));
}

Status RequestExchange::respond(int status, Headers headers, std::string_view body) {
  if (started()) return internal("the request was answered already");
  std::string head = format_head(status, std::move(headers), body.size());
  state_ = Progress::finished;
  bool bare = method_ == "HEAD" || status == 204 || status == 304;
  return checked(connection_.send(yield_, {head, bare ? std::string_view() : body}));
}

Status RequestExchange::start_stream(int status, Headers headers, std::optional<uint64_t> length) {
  if (started()) return internal("the request was answered already");
  std::string head = format_head(status, std::move(headers), length);
  state_ = Progress::streaming;
  left_ = length;
  return checked(connection_.send(yield_, {head}));
}

// Takes `size` bytes off what a stream with a length still owes.
Status RequestExchange::count(uint64_t size) {
  if (state_ != Progress::streaming) return internal("no stream was started");
  if (!left_ || method_ == "HEAD") return {};
  if (size > *left_) return internal("more is written than was announced");
  *left_ -= size;
  return {};
}

Status RequestExchange::write(std::string_view bytes) {
  TRY(count(bytes.size()));
  if (bytes.empty() || method_ == "HEAD") return {};
  if (!chunked_) return checked(connection_.send(yield_, {bytes}));
  std::string size = fmt::format("{:x}\r\n", bytes.size());
  return checked(connection_.send(yield_, {size, bytes, "\r\n"}));
}

// The pool sends until the socket is full, so that neither a slow disk stops the I/O thread nor a
// slow client a thread of the pool.
Status RequestExchange::write_file(int fd, uint64_t offset, uint64_t length) {
  TRY(count(length));
  if (length == 0 || method_ == "HEAD") return {};
  if (chunked_) TRY(checked(connection_.send(yield_, {fmt::format("{:x}\r\n", length)})));
  Status sent = connection_.tls() ? copy_file(fd, offset, length) : splice_file(fd, offset, length);
  if (!sent && left_) *left_ += length;
  TRY(std::move(sent));
  return chunked_ ? checked(connection_.send(yield_, {"\r\n"})) : Status();
}

Status RequestExchange::splice_file(int fd, uint64_t offset, uint64_t length) {
  const int socket = connection_.descriptor().native_handle();
  auto at = static_cast<off_t>(offset);
  while (length > 0) {
    if (connection_.gone()) return checked(client_gone());
    int failure = 0;
    bool ended = false;
    run_in_pool([&] {
      uint64_t moved = 0;  // since the socket was full
      while (length > 0 && failure == 0 && !ended) {
        size_t size = std::min<uint64_t>(length, kFileStep);
        ssize_t sent = sys::retry([&] { return ::sendfile(socket, fd, &at, size); });
        if (sent == 0) ended = true;
        if (sent > 0) {
          length -= static_cast<uint64_t>(sent);
          moved += static_cast<uint64_t>(sent);
          continue;
        }
        if (sent < 0) failure = errno;
        // A client that takes much will take more at once: not worth the way to the I/O thread.
        pollfd room{socket, POLLOUT, 0};
        if (failure == EAGAIN && std::exchange(moved, 0) >= kFastClient &&
            ::poll(&room, 1, kFastWait) == 1)
          failure = 0;
      }
    });
    if (ended) return checked(internal("the file ends before its announced size"));
    if (failure == EAGAIN || failure == EWOULDBLOCK) {
      TRY(checked(connection_.wait_writable(yield_)));
    } else if (failure == EPIPE || failure == ECONNRESET) {
      return checked(client_gone());
    } else if (failure != 0) {
      return checked(errno_error(failure, "sendfile"));
    }
  }
  return {};
}

Status RequestExchange::copy_file(int fd, uint64_t offset, uint64_t length) {
  std::string buffer(std::min<uint64_t>(length, kCopyStep), '\0');
  while (length > 0) {
    size_t size = std::min<uint64_t>(length, buffer.size());
    Result<size_t> got = size_t{0};
    run_in_pool([&] { got = sys::pread(fd, buffer.data(), size, static_cast<off_t>(offset)); });
    if (!got) return checked(std::move(got).error());
    if (*got == 0) return checked(internal("the file ends before its announced size"));
    TRY(checked(connection_.send(yield_, {std::string_view(buffer.data(), *got)})));
    offset += *got;
    length -= *got;
  }
  return {};
}

Status RequestExchange::finish() {
  if (state_ != Progress::streaming) return internal("no stream was started");
  state_ = Progress::finished;
  if (method_ == "HEAD") return {};
  if (left_.value_or(0) != 0) {
    keep_alive_ = false;
    return internal("the stream ends {} bytes before its announced length", *left_);
  }
  if (!chunked_) return {};
  return checked(connection_.send(yield_, {"0\r\n\r\n"}));
}

Result<Hijacked> RequestExchange::hijack(std::string_view content_type) {
  if (started()) return internal("the request was answered already");
  if (!conclude_body()) return invalid("the request's body is too long");
  bool upgrade = headers_.has_token("Connection", "Upgrade") && headers_.has("Upgrade");
  std::string head = upgrade ? "HTTP/1.1 101 UPGRADED\r\n" : "HTTP/1.1 200 OK\r\n";
  head += fmt::format("Content-Type: {}\r\n", content_type);
  if (upgrade) head += "Connection: Upgrade\r\nUpgrade: tcp\r\n";
  head += "\r\n";
  if (connection_.tls()) return begin_relay(head, false);
  state_ = Progress::finished;
  TRY(checked(connection_.send(yield_, {head})));
  hijacked_ = true;
  keep_alive_ = false;
  Hijacked out{connection_.release(), std::move(connection_.input())};
  TRY(sys::set_nonblocking(out.fd.get(), false));
  return out;
}

bool RequestExchange::conclude_body() {
  size_t dropped = 0;
  while (dropped <= kDrainLimit) {
    // A client that waits for "100 Continue" never sent its body.
    if (continue_expected_ && !connection_.parser().done()) return false;
    if (!fill(kLingerTime)) return false;
    if (body_.empty()) return true;
    dropped += body_.size();
    body_.clear();
    body_used_ = 0;
  }
  return false;
}

bool RequestExchange::conclude() {
  if (state_ != Progress::finished) keep_alive_ = false;  // a stream that was not ended: truncated
  return keep_alive_ && !hijacked_ && !relayed_ && conclude_body();
}

std::function<void()> RequestExchange::waker() {
  if (!wake_) wake_ = std::make_shared<WakeState>(connection_.core().io, *this);
  return [wake = wake_] { wake->notify(); };
}

void RequestExchange::on_notified() {
  notified_ = true;
  interrupt();
}

void RequestExchange::interrupt() { timer_.cancel(); }

Wake RequestExchange::wait(std::optional<Clock::time_point> deadline) {
  if (!std::exchange(notified_, false)) {
    connection_.watch(!relay_);  // half of a relayed connection may end before the other
    while (!notified_ && !connection_.gone() && !connection_.core().stopping &&
           (!deadline || Clock::now() < *deadline)) {
      timer_.expires_at(deadline.value_or(Clock::time_point::max()));
      ErrorCode code;
      timer_.async_wait(yield_[code]);
    }
    connection_.watch(false);
  } else {
    return Wake::notified;
  }
  if (std::exchange(notified_, false)) return Wake::notified;
  if (connection_.gone()) return Wake::client_gone;
  return connection_.core().stopping ? Wake::stopping : Wake::timeout;
}

void RequestExchange::start_blocking(std::function<void()> task) {
  connection_.core().pool.submit(std::move(task));
}

void RequestExchange::begin_blocking(std::function<void()> task) {
  join_blocking();
  task_begun_ = true;
  task_done_ = false;
  connection_.core().pool.submit(
      [this, self = connection_.shared_from_this(), task = std::move(task)] {
        task();
        asio::post(self->core().io, [this, self] {
          task_done_ = true;
          timer_.cancel();
        });
      });
}

void RequestExchange::join_blocking() {
  while (task_begun_ && !task_done_) {
    timer_.expires_at(Clock::time_point::max());
    ErrorCode code;
    timer_.async_wait(yield_[code]);
  }
  task_begun_ = false;
}

void RequestExchange::run_in_pool(std::function<void()> task) {
  bool done = false;
  std::exception_ptr failure;
  connection_.core().pool.submit([&, self = connection_.shared_from_this()] {
    try {
      task();
    } catch (...) {
      failure = std::current_exception();
    }
    asio::post(self->core().io, [&, self] {
      done = true;
      timer_.cancel();
    });
  });
  while (!done) {
    timer_.expires_at(Clock::time_point::max());
    ErrorCode code;
    timer_.async_wait(yield_[code]);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace gantry::http

#include "drivers/network/dns/server.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "drivers/network/dns/server_impl.h"

namespace gantry::drivers::dns {

namespace {

// Of one socket before the others have their turn.
constexpr int kDatagramsAtOnce = 32;
constexpr int kAcceptsAtOnce = 8;
// A client that reads no answers is not read either.
constexpr size_t kAnswersUnread = 128u << 10;
constexpr uint16_t kTypeIxfr = 251, kTypeAxfr = 252;

int64_t in_ns(std::chrono::nanoseconds duration) { return duration.count(); }

}  // namespace

class Asker::Datagrams final : public Source {
 public:
  explicit Datagrams(Asker& asker) : Source(asker.server.loop), asker_(asker) {}
  Status open(UniqueFd socket) { return watch(std::move(socket), EPOLLIN); }
  int socket() const { return fd(); }
  void ready(uint32_t) override {
    auto& buffer = asker_.server.buffer;
    for (int count = 0; count < kDatagramsAtOnce; ++count) {
      ReplyTo to;
      socklen_t size = sizeof to.peer;
      const ssize_t got = ::recvfrom(fd(), buffer.data(), buffer.size(), 0,
                                     reinterpret_cast<sockaddr*>(&to.peer), &size);
      if (got < 0) return;
      asker_.handle({buffer.data(), static_cast<size_t>(got)}, to);
    }
  }

 private:
  Asker& asker_;
};

class Asker::Listener final : public Source {
 public:
  explicit Listener(Asker& asker) : Source(asker.server.loop), asker_(asker) {}
  Status open(UniqueFd socket) { return watch(std::move(socket), EPOLLIN); }
  void ready(uint32_t) override {
    for (int count = 0; count < kAcceptsAtOnce; ++count) {
      UniqueFd socket(::accept4(fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!socket) {
        if (again() || errno == ECONNABORTED) return;
        // No descriptor is left: later, and not in a circle.
        want(0);
        expire_at(monotonic_ns() + 100'000'000);
        return;
      }
      make_room();
      auto connection = std::make_unique<Connection>(asker_, asker_.next_++);
      if (connection->open(std::move(socket)))
        asker_.connections_.emplace(connection->number(), std::move(connection));
    }
  }
  void expired() override { want(EPOLLIN); }

 private:
  // The oldest that waits for nothing goes, else the oldest.
  void make_room() {
    auto& all = asker_.connections_;
    if (all.size() < asker_.server.options.connections_of_one) return;
    auto oldest = std::find_if(all.begin(), all.end(),
                               [](const auto& entry) { return entry.second->idle(); });
    if (oldest == all.end()) oldest = all.begin();
    asker_.close(*oldest->second);
  }
  Asker& asker_;
};

Asker::Asker(Server::Impl& given, std::shared_ptr<const View> seen)
    : server(given), view(std::move(seen)) {}
Asker::~Asker() = default;

Status Asker::open(Sockets sockets) {
  for (const int socket : {sockets.udp.get(), sockets.tcp.get()})
    TRY(sys::set_nonblocking(socket, true));
  datagrams_ = std::make_unique<Datagrams>(*this);
  listener_ = std::make_unique<Listener>(*this);
  TRY(datagrams_->open(std::move(sockets.udp)));
  return listener_->open(std::move(sockets.tcp));
}

int Asker::udp() const { return datagrams_->socket(); }

void Asker::handle(std::string_view bytes, const ReplyTo& to) {
  Message message;
  const Reading reading = read_message(bytes, Expect::query, message);
  if (reading == Reading::not_a_query) return;
  if (reading == Reading::malformed) return reply(to, make_error(bytes, Rcode::format_error));
  ReplyTo target = to;
  target.limit = to.connection != 0 ? kLargest : message.udp_limit();
  const auto refuse = [&](Rcode rcode) {
    reply(target, make_response(bytes, message, rcode, {}, 0, target.limit));
  };
  if (message.opcode != 0) return refuse(Rcode::not_implemented);
  const Record* edns = message.opt();
  if (edns != nullptr && (edns->ttl >> 16 & 0xff) != 0) return refuse(Rcode::bad_version);
  // Whole zones are many messages; nobody asks a resolver for them.
  if (message.type == kTypeAxfr || message.type == kTypeIxfr) return refuse(Rcode::refused);
  if (auto answer = resolve(*view, bytes, message, target.limit, server.random()))
    return reply(target, *answer);
  if (!view->forward || view->upstreams.empty() ||
      forwards_.size() >= server.options.queries_of_one || server.queries >= server.options.queries)
    return refuse(Rcode::server_failure);
  target.forwarded = true;
  const uint64_t number = next_++;
  auto forward =
      std::make_unique<Forward>(*this, number, bytes.substr(0, message.end), message, target);
  Forward& begun = *forward;
  forwards_.emplace(number, std::move(forward));
  if (const auto connection = connections_.find(target.connection);
      connection != connections_.end())
    connection->second->expect_answer();
  begun.begin();
}

void Asker::reply(const ReplyTo& to, std::string_view answer) {
  if (to.connection ==
      0) {  // one that does not fit into the socket's buffer is lost, as any may be
    (void)::sendto(udp(), answer.data(), answer.size(), MSG_NOSIGNAL,
                   reinterpret_cast<const sockaddr*>(&to.peer), sizeof to.peer);
  } else if (const auto connection = connections_.find(to.connection);
             connection != connections_.end()) {
    connection->second->send(answer,
                             to.forwarded ? Connection::Expected::yes : Connection::Expected::no);
  }
}

void Asker::close(Connection& connection) {
  const auto found = connections_.find(connection.number());
  if (found == connections_.end()) return;
  server.loop.bury(std::move(found->second));
  connections_.erase(found);
}

void Asker::finished(Forward& forward) {
  const auto found = forwards_.find(forward.number());
  if (found == forwards_.end()) return;
  server.loop.bury(std::move(found->second));
  forwards_.erase(found);
}

// --- connections: two bytes of length before each message (RFC 1035 4.2.2)

Status Connection::open(UniqueFd socket) {
  TRY(watch(std::move(socket), EPOLLIN));
  expire_at(monotonic_ns() + in_ns(asker_.server.options.idle));
  return {};
}

void Connection::ready(uint32_t events) {
  // Gone in both directions, and not only done with asking.
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) return asker_.close(*this);
  if ((events & EPOLLOUT) != 0 && !flush()) return asker_.close(*this);
  if ((events & EPOLLIN) != 0 && !receive()) return asker_.close(*this);
  settle();
}

bool Connection::receive() {
  auto& buffer = asker_.server.buffer;
  const ssize_t got = ::recv(fd(), buffer.data(), buffer.size(), 0);
  if (got < 0) return again();
  if (got == 0) {
    ended_ = true;
    return true;
  }
  in_.append(buffer.data(), static_cast<size_t>(got));
  size_t at = 0;
  while (in_.size() - at >= 2) {
    const size_t size =
        static_cast<size_t>(static_cast<uint8_t>(in_[at])) << 8 | static_cast<uint8_t>(in_[at + 1]);
    if (in_.size() - at < 2 + size) break;
    ReplyTo to;
    to.connection = number_;
    asker_.handle(std::string_view(in_).substr(at + 2, size), to);
    at += 2 + size;
  }
  in_.erase(0, at);
  if (at > 0) expire_at(monotonic_ns() + in_ns(asker_.server.options.idle));
  return true;
}

void Connection::send(std::string_view answer, Expected expected) {
  if (expected == Expected::yes) --waiting_;
  out_ += static_cast<char>(answer.size() >> 8);
  out_ += static_cast<char>(answer.size());
  out_ += answer;
  (void)flush();  // an error comes back as an event
  settle();
}

bool Connection::flush() {
  while (!out_.empty()) {
    const ssize_t sent = ::send(fd(), out_.data(), out_.size(), MSG_NOSIGNAL);
    if (sent < 0) return again();
    out_.erase(0, static_cast<size_t>(sent));
    expire_at(monotonic_ns() + in_ns(asker_.server.options.idle));
  }
  return true;
}

void Connection::settle() {
  if (ended_ && idle()) return asker_.close(*this);
  const bool reads = !ended_ && out_.size() < kAnswersUnread;
  want((reads ? uint32_t{EPOLLIN} : 0) | (out_.empty() ? 0 : uint32_t{EPOLLOUT}));
}

// --- the server

bool Server::Impl::is_suspect(const Upstream& upstream) {
  const auto found = suspects.find(upstream);
  if (found == suspects.end()) return false;
  if (found->second > monotonic_ns()) return true;
  suspects.erase(found);
  return false;
}

void Server::Impl::suspect(const Upstream& upstream) {
  suspects[upstream] = monotonic_ns() + in_ns(options.suspect);
}

uint16_t Server::Impl::random_id() {
  if (ids_left == 0) {
    if (::getrandom(ids.data(), sizeof ids, 0) != sizeof ids) std::abort();  // never, for 256 bytes
    ids_left = ids.size();
  }
  return ids[--ids_left];
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() {
  std::lock_guard lock(impl_->mutex);
  impl_->askers.clear();
}

Result<std::unique_ptr<Server>> Server::create(ServerOptions options) {
  auto impl = std::make_unique<Impl>(options);
  TRY(impl->loop.open().context("DNS server"));
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

int Server::descriptor() const { return impl_->loop.descriptor(); }

void Server::run() {
  epoll_event events[Loop::kBatch];
  const int count = impl_->loop.wait(events);
  for (int i = 0; i < count; ++i) {
    // Between two events others have their turn.
    std::lock_guard lock(impl_->mutex);
    impl_->loop.handle(events[i]);
  }
}

Status Server::add(const std::string& key, Sockets sockets, std::shared_ptr<const View> view) {
  std::lock_guard lock(impl_->mutex);
  impl_->askers.erase(key);
  auto asker = std::make_unique<Asker>(*impl_, std::move(view));
  TRY(asker->open(std::move(sockets)).context("DNS server"));
  impl_->askers.emplace(key, std::move(asker));
  return {};
}

bool Server::set_view(const std::string& key, std::shared_ptr<const View> view) {
  std::lock_guard lock(impl_->mutex);
  const auto asker = impl_->askers.find(key);
  if (asker == impl_->askers.end()) return false;
  asker->second->view = std::move(view);
  return true;
}

void Server::remove(const std::string& key) {
  std::lock_guard lock(impl_->mutex);
  impl_->askers.erase(key);
}

Server::Counts Server::counts() const {
  std::lock_guard lock(impl_->mutex);
  return {impl_->askers.size(), impl_->connections, impl_->queries};
}

}  // namespace gantry::drivers::dns

// Queries that are asked of other servers.
#include <arpa/inet.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.h"
#include "base/netlink.h"
#include "base/sys.h"
#include "drivers/network/dns/server_impl.h"

namespace gantry::drivers::dns {

namespace {

// A server that keeps sending what is no answer is not read for ever in one go.
constexpr int kAnswersAtOnce = 16;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Address address_of(const Upstream& upstream) {
  Address out;
  const auto bytes = upstream.address.bytes();
  if (upstream.address.is_v4()) {
    auto& in = reinterpret_cast<sockaddr_in&>(out.storage);
    in.sin_family = AF_INET;
    in.sin_port = htons(upstream.port);
    std::copy_n(bytes.begin(), 4, reinterpret_cast<uint8_t*>(&in.sin_addr));
    out.size = sizeof in;
  } else {
    auto& in = reinterpret_cast<sockaddr_in6&>(out.storage);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(upstream.port);
    in.sin6_scope_id = upstream.scope;
    std::copy_n(bytes.begin(), 16, reinterpret_cast<uint8_t*>(&in.sin6_addr));
    out.size = sizeof in;
  }
  return out;
}

// Of the namespace that the calling thread is in.
Result<UniqueFd> connected(const Upstream& upstream, int type) {
  const Address address = address_of(upstream);
  UniqueFd socket(::socket(address.storage.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return error_from_errno(errno, "socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) ==
          -1 &&
      errno != EINPROGRESS)
    return error_from_errno(errno, "connect");
  return socket;
}

}  // namespace

Forward::Forward(Asker& asker, uint64_t number, std::string_view query, const Message& message,
                 const ReplyTo& to)
    : Source(asker.server.loop),
      asker_(asker),
      number_(number),
      view_(asker.view),
      query_(query),
      question_(message),
      to_(to),
      way_(to.connection != 0 ? Way::stream : Way::datagram) {
  ++asker_.server.queries;
  tries_ = view_->upstreams;
  std::stable_partition(tries_.begin(), tries_.end(), [&](const Upstream& upstream) {
    return !asker_.server.is_suspect(upstream);
  });
  if (tries_.size() == 1) tries_.push_back(tries_.front());  // a datagram may get lost
  const ServerOptions& options = asker_.server.options;
  const std::chrono::nanoseconds share = options.all_attempts / static_cast<long>(tries_.size());
  each_ns_ = std::min<std::chrono::nanoseconds>(options.attempt, share).count();
}

void Forward::next() {
  (void)watch({}, 0);
  truncated_ = false;
  while (attempt_ < tries_.size()) {
    ++attempt_;
    if (ask(to_.connection != 0 ? Way::stream : Way::datagram)) return;
    asker_.server.suspect(upstream());
  }
  if (kept_.empty())
    kept_ = make_response(query_, question_, Rcode::server_failure, {}, 0, to_.limit);
  finish(std::move(kept_));
}

Result<UniqueFd> Forward::connect(Way way) {
  const int type = way == Way::stream ? SOCK_STREAM : SOCK_DGRAM;
  if (!upstream().inside) return connected(upstream(), type);
  UniqueFd netns(::ioctl(asker_.udp(), SIOCGSKNS));
  if (!netns) return error_from_errno(errno, "network namespace of a socket");
  UniqueFd socket;
  TRY(inside_netns(netns.get(), [&]() -> Status {
    socket = TRY(connected(upstream(), type));
    return {};
  }));
  return socket;
}

bool Forward::ask(Way way) {
  way_ = way;
  Result<UniqueFd> socket = connect(way);
  if (!socket) return false;
  set_id(query_, asker_.server.random_id());
  in_.clear();
  out_.clear();
  if (way == Way::stream) {
    out_ += static_cast<char>(query_.size() >> 8);
    out_ += static_cast<char>(query_.size());
    out_ += query_;
  } else if (::send(socket->get(), query_.data(), query_.size(), MSG_NOSIGNAL) == -1 && !again()) {
    return false;
  }
  if (!watch(std::move(*socket), way == Way::stream ? EPOLLOUT : EPOLLIN)) return false;
  expire_at(monotonic_ns() + each_ns_);
  return true;
}

void Forward::ready(uint32_t) {
  if (way_ == Way::datagram) return read_datagrams();
  if (!out_.empty()) return write_stream();
  read_stream();
}

// Nobody answered in time.
void Forward::expired() { failed(); }

void Forward::failed() {
  if (truncated_) return finish(std::move(kept_));
  asker_.server.suspect(upstream());
  next();
}

bool Forward::is_answer(std::string_view bytes, Message& message) const {
  const Reading reading = read_message(bytes, Expect::response, message);
  if (reading == Reading::malformed && message.truncated && message.end > kHeaderSize)
    message.records.clear();  // cut in the middle of a record
  else if (reading != Reading::whole)
    return false;
  return bytes.substr(0, 2) == std::string_view(query_).substr(0, 2) &&
         message.opcode == question_.opcode && message.name == question_.name &&
         message.type == question_.type && message.klass == question_.klass;
}

void Forward::read_datagrams() {
  auto& buffer = asker_.server.buffer;
  for (int count = 0; count < kAnswersAtOnce; ++count) {
    const ssize_t got = ::recv(fd(), buffer.data(), buffer.size(), 0);
    if (got < 0) {
      if (!again()) failed();  // no such port, no such host
      return;
    }
    const std::string_view bytes(buffer.data(), static_cast<size_t>(got));
    Message message;
    // What is no answer to this may be forged; the true one may still come.
    if (is_answer(bytes, message)) return take(bytes, message);
  }
}

void Forward::write_stream() {
  const ssize_t sent = ::send(fd(), out_.data(), out_.size(), MSG_NOSIGNAL);
  if (sent < 0) {
    if (!again()) failed();
    return;
  }
  out_.erase(0, static_cast<size_t>(sent));
  if (out_.empty()) want(EPOLLIN);
}

void Forward::read_stream() {
  auto& buffer = asker_.server.buffer;
  const ssize_t got = ::recv(fd(), buffer.data(), buffer.size(), 0);
  if (got < 0 && again()) return;
  if (got <= 0) return failed();
  in_.append(buffer.data(), static_cast<size_t>(got));
  if (in_.size() < 2) return;
  const size_t size =
      static_cast<size_t>(static_cast<uint8_t>(in_[0])) << 8 | static_cast<uint8_t>(in_[1]);
  if (in_.size() < 2 + size) return;
  const std::string bytes = in_.substr(2, size);
  Message message;
  if (!is_answer(bytes, message)) return failed();
  take(bytes, message);
}

void Forward::take(std::string_view bytes, const Message& message) {
  asker_.server.suspects.erase(upstream());
  std::string answer(bytes.substr(0, message.end));
  // Another server may know better; if none does, this one's word is passed on.
  if (message.rcode == static_cast<uint8_t>(Rcode::server_failure) ||
      message.rcode == static_cast<uint8_t>(Rcode::refused)) {
    kept_ = std::move(answer);
    const Upstream refused = upstream();
    tries_.erase(std::remove(tries_.begin() + static_cast<long>(attempt_), tries_.end(), refused),
                 tries_.end());
    return next();
  }
  if (message.truncated && way_ == Way::datagram) {
    kept_ = message.records.empty() ? shorten(bytes, message, kPlainLimit) : std::move(answer);
    truncated_ = true;
    if (!ask(Way::stream)) failed();
    return;
  }
  finish(std::move(answer));
}

void Forward::finish(std::string answer) {
  set_id(answer, question_.id);
  if (answer.size() > to_.limit) {
    Message message;
    if (read_message(answer, Expect::response, message) == Reading::whole)
      answer = shorten(answer, message, to_.limit);
  }
  asker_.reply(to_, answer);
  asker_.finished(*this);  // ends here
}

}  // namespace gantry::drivers::dns

#include "drivers/network/loopback_relay.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/clock.h"
#include "base/sys.h"
#include "drivers/network/dns/loop.h"

namespace gantry::drivers {

namespace {

using dns::Loop;
using dns::Source;

constexpr size_t kMostFlows = 4096;    // of all ports; who comes then is turned away
constexpr size_t kBuffer = 64u << 10;  // bytes of one direction of a connection
constexpr int64_t kIdleDatagrams = int64_t{120} * 1'000'000'000;  // as the kernel's UDP streams
constexpr int kDatagramsAtOnce = 64;
constexpr int kRounds = 16;
constexpr int kBacklog = 1024;

bool again() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

struct Target {
  IpAddress address;
  uint16_t port = 0;
};

// A socket on the way to the target.
UniqueFd connecting(const Target& target, int type) {
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  to.sin6_port = htons(target.port);
  std::memcpy(&to.sin6_addr, target.address.bytes().data(), sizeof to.sin6_addr);
  UniqueFd fd(::socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fd;
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 &&
      errno != EINPROGRESS)
    fd.reset();
  return fd;
}

struct ServedPort;

// A flow through a port, which has it; it ends by itself through Flows::end.
struct Flow {
  virtual ~Flow() = default;
};

struct ServedPort {
  Loop& loop;
  size_t& count;  // of all ports
  Target target;
  std::map<const Flow*, std::unique_ptr<Flow>> flows;

  void add(std::unique_ptr<Flow> flow) {
    const Flow* key = flow.get();
    flows.emplace(key, std::move(flow));
    ++count;
  }
  // Destroys it later, since a call of it is on the stack.
  void end(const Flow* flow);
};

// Keeps a flow until no call of it is on the stack.
struct Grave : Source {
  Grave(Loop& loop, std::unique_ptr<Flow> ended) : Source(loop), flow(std::move(ended)) {}
  void ready(uint32_t) override {}
  std::unique_ptr<Flow> flow;
};

void ServedPort::end(const Flow* flow) {
  const auto found = flows.find(flow);
  if (found == flows.end()) return;
  loop.bury(std::make_unique<Grave>(loop, std::move(found->second)));
  flows.erase(found);
  --count;
}

// One TCP connection: two ends and what is on its way between them.
struct Connection : Flow {
  struct End : Source {
    End(Loop& loop, Connection& owner) : Source(loop), connection(owner) {}
    void ready(uint32_t events) override { connection.ready(*this, events); }
    using Source::fd;
    using Source::want;
    using Source::watch;
    Connection& connection;
    std::string out;  // for this end
    size_t sent = 0;
    bool ended = false;  // it sends no more
    bool shut = false;   // we have told it that there is no more for it
  };

  Connection(ServedPort& port, UniqueFd client, UniqueFd server)
      : port_(port), client_(port.loop, *this), server_(port.loop, *this) {
    ok_ = static_cast<bool>(client_.watch(std::move(client), 0)) &&
          static_cast<bool>(server_.watch(std::move(server), EPOLLOUT));
  }
  bool ok() const { return ok_; }

 private:
  void ready(End& end, uint32_t events) {
    if (!connected_) {
      if (&end == &client_) return give_up();  // it has gone: no other event is asked for
      int error = 0;
      socklen_t size = sizeof error;
      ::getsockopt(server_.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0 || !(events & EPOLLOUT)) return give_up();
      connected_ = true;
    } else if (events & EPOLLERR) {
      return give_up();
    }
    if (!move(client_, server_) || !move(server_, client_)) return give_up();
    if (client_.shut && server_.shut) return port_.end(this);
    watch(client_, server_);
    watch(server_, client_);
  }

  // What `from` sends, to `to`; false when that is over.
  bool move(End& from, End& to) {
    for (int round = 0;; ++round) {
      if (round == kRounds) return true;  // others have their turn
      if (to.sent == to.out.size()) {
        to.out.clear();
        to.sent = 0;
        if (from.ended) break;
        to.out.resize(kBuffer);
        const ssize_t got = ::recv(from.fd(), to.out.data(), kBuffer, 0);
        to.out.resize(got > 0 ? static_cast<size_t>(got) : 0);
        if (got < 0) return again();
        if (got == 0) from.ended = true;
        if (got == 0) break;
      }
      const ssize_t sent =
          ::send(to.fd(), to.out.data() + to.sent, to.out.size() - to.sent, MSG_NOSIGNAL);
      if (sent < 0) return again();
      to.sent += static_cast<size_t>(sent);
    }
    if (!to.shut) ::shutdown(to.fd(), SHUT_WR);
    to.shut = true;
    return true;
  }

  static void watch(End& end, const End& other) {
    uint32_t events = 0;
    if (!end.ended && other.sent == other.out.size()) events |= EPOLLIN;
    if (end.sent < end.out.size()) events |= EPOLLOUT;
    // An end that has nothing to say or hear is told of once when it goes.
    end.want(events != 0 ? events : EPOLLET);
  }

  // The client is told at once, as the kernel would.
  void give_up() {
    const linger now{1, 0};
    ::setsockopt(client_.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    port_.end(this);
  }

  ServedPort& port_;
  End client_, server_;
  bool ok_ = false, connected_ = false;
};

struct TcpListener : Source {
  TcpListener(Loop& loop, size_t& count) : Source(loop), port{loop, count, {}, {}} {}
  ~TcpListener() override { ::shutdown(fd(), SHUT_RDWR); }  // held as before, and refuses
  using Source::watch;
  void ready(uint32_t) override {
    while (true) {
      sockaddr_in6 own{};
      socklen_t size = sizeof own;
      UniqueFd client(::accept4(fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!client) return;  // out of descriptors as well: the next one may find some
      // What comes by other addresses is translated, unless nobody wants it to be.
      if (::getsockname(client.get(), reinterpret_cast<sockaddr*>(&own), &size) != 0 ||
          !IN6_IS_ADDR_LOOPBACK(&own.sin6_addr))
        continue;
      UniqueFd server;
      if (port.count < kMostFlows) server = connecting(port.target, SOCK_STREAM);
      if (!server) continue;
      auto flow = std::make_unique<Connection>(port, std::move(client), std::move(server));
      if (flow->ok()) port.add(std::move(flow));
    }
  }
  ServedPort port;
};

struct UdpListener;

// What one client sends from one port.
struct Conversation : Flow, Source {
  Conversation(UdpListener& owner, Loop& loop, const sockaddr_in6& from)
      : Source(loop), listener(owner), client(from) {}
  using Source::fd;
  using Source::watch;
  void alive() { expire_at(monotonic_ns() + kIdleDatagrams); }
  void ready(uint32_t events) override;
  void expired() override { over(); }
  void over();
  UdpListener& listener;
  const sockaddr_in6 client;
};

struct UdpListener : Source {
  UdpListener(Loop& loop, size_t& count) : Source(loop), port{loop, count, {}, {}} {}
  using Source::fd;
  using Source::watch;
  using Key = std::pair<std::array<uint8_t, 16>, uint16_t>;
  static Key key_of(const sockaddr_in6& client) {
    Key key;
    std::memcpy(key.first.data(), &client.sin6_addr, 16);
    key.second = client.sin6_port;
    return key;
  }
  void ready(uint32_t) override {
    for (int count = 0; count < kDatagramsAtOnce; ++count) {
      sockaddr_in6 from{};
      socklen_t size = sizeof from;
      const ssize_t got = ::recvfrom(fd(), buffer.data(), buffer.size(), 0,
                                     reinterpret_cast<sockaddr*>(&from), &size);
      if (got < 0) return;
      // A client of [::1] has that address itself.
      if (!IN6_IS_ADDR_LOOPBACK(&from.sin6_addr)) continue;
      Conversation* conversation = conversation_of(from);
      if (conversation == nullptr) continue;
      conversation->alive();
      (void)::send(conversation->fd(), buffer.data(), static_cast<size_t>(got), MSG_NOSIGNAL);
    }
  }
  Conversation* conversation_of(const sockaddr_in6& from) {
    const Key key = key_of(from);
    if (const auto known = clients.find(key); known != clients.end()) return known->second;
    if (port.count >= kMostFlows) return nullptr;
    UniqueFd server = connecting(port.target, SOCK_DGRAM);
    if (!server) return nullptr;
    auto made = std::make_unique<Conversation>(*this, port.loop, from);
    if (!made->watch(std::move(server), EPOLLIN)) return nullptr;
    Conversation* out = made.get();
    clients.emplace(key, out);
    port.add(std::move(made));
    return out;
  }
  ServedPort port;
  std::map<Key, Conversation*> clients;
  std::array<char, 65536> buffer{};
};

void Conversation::ready(uint32_t) {
  for (int count = 0; count < kDatagramsAtOnce; ++count) {
    const ssize_t got = ::recv(fd(), listener.buffer.data(), listener.buffer.size(), 0);
    if (got < 0) {
      if (!again()) over();  // nobody is there: the next datagram asks anew
      return;
    }
    alive();
    (void)::sendto(listener.fd(), listener.buffer.data(), static_cast<size_t>(got), MSG_NOSIGNAL,
                   reinterpret_cast<const sockaddr*>(&client), sizeof client);
  }
}

void Conversation::over() {
  listener.clients.erase(UdpListener::key_of(client));
  listener.port.end(this);
}

using Key = std::pair<Protocol, uint16_t>;

}  // namespace

struct LoopbackRelay::State {
  mutable std::mutex mutex;
  Loop loop;
  size_t flows = 0;
  std::map<Key, std::unique_ptr<TcpListener>> tcp;
  std::map<Key, std::unique_ptr<UdpListener>> udp;
};

LoopbackRelay::LoopbackRelay(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<LoopbackRelay>> LoopbackRelay::start() {
  auto state = std::make_unique<State>();
  TRY(state->loop.open());
  std::unique_ptr<LoopbackRelay> relay(new LoopbackRelay(std::move(state)));
  relay->stop_ = TRY(sys::eventfd(0));
  relay->thread_ = std::thread([self = relay.get()] { self->run(); });
  return relay;
}

LoopbackRelay::~LoopbackRelay() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    (void)sys::write(stop_.get(), &one, sizeof one);
    thread_.join();
  }
}

void LoopbackRelay::run() {
  pollfd fds[2] = {{state_->loop.descriptor(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
  epoll_event events[Loop::kBatch];
  while (sys::retry([&] { return ::poll(fds, 2, -1); }) > 0 && !(fds[1].revents & POLLIN)) {
    const int count = state_->loop.wait(events);
    for (int i = 0; i < count; ++i) {
      std::lock_guard lock(state_->mutex);
      state_->loop.handle(events[i]);
    }
  }
}

bool LoopbackRelay::relays(const PortMapping& mapping) {
  return !mapping.routed && mapping.host_ip.is_v6() && mapping.protocol != Protocol::sctp &&
         (mapping.host_ip.is_unspecified() || mapping.host_ip.is_loopback());
}

Status LoopbackRelay::serve(Protocol protocol, uint16_t port, const IpAddress& to, uint16_t to_port,
                            UniqueFd holder) {
  if (!to.is_v6()) return internal("the relay of [::1] leads to IPv6 addresses");
  const Key key{protocol, port};
  const Target target{to, to_port};
  std::lock_guard lock(state_->mutex);
  if (protocol == Protocol::tcp) {
    if (const auto known = state_->tcp.find(key); known != state_->tcp.end()) {
      known->second->port.target = target;
      return {};
    }
    TRY(sys::set_nonblocking(holder.get(), true));
    if (::listen(holder.get(), kBacklog) != 0)
      return errno_error(errno, "listen at [::1]:{}", port);
    auto listener = std::make_unique<TcpListener>(state_->loop, state_->flows);
    listener->port.target = target;
    TRY(listener->watch(std::move(holder), EPOLLIN));
    state_->tcp.emplace(key, std::move(listener));
    return {};
  }
  if (const auto known = state_->udp.find(key); known != state_->udp.end()) {
    known->second->port.target = target;
    known->second->clients.clear();
    state_->flows -= known->second->port.flows.size();
    known->second->port.flows.clear();  // of the former one
    return {};
  }
  TRY(sys::set_nonblocking(holder.get(), true));
  const int room = 256 << 10;  // while it was only held it had none
  ::setsockopt(holder.get(), SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  auto listener = std::make_unique<UdpListener>(state_->loop, state_->flows);
  listener->port.target = target;
  TRY(listener->watch(std::move(holder), EPOLLIN));
  state_->udp.emplace(key, std::move(listener));
  return {};
}

void LoopbackRelay::stop(Protocol protocol, uint16_t port) {
  const Key key{protocol, port};
  std::lock_guard lock(state_->mutex);
  if (const auto known = state_->tcp.find(key); known != state_->tcp.end()) {
    state_->flows -= known->second->port.flows.size();
    state_->tcp.erase(known);
  }
  if (const auto known = state_->udp.find(key); known != state_->udp.end()) {
    state_->flows -= known->second->port.flows.size();
    state_->udp.erase(known);
  }
}

size_t LoopbackRelay::connections() const {
  std::lock_guard lock(state_->mutex);
  return state_->flows;
}

}  // namespace gantry::drivers

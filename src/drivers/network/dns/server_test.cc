#include "drivers/network/dns/server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <set>
#include <thread>

#include "base/sys.h"
#include "drivers/network/dns/test_messages.h"
#include "drivers/network/test_namespaces.h"

namespace gantry::drivers::dns {
namespace {

using namespace std::string_literals;
using testing::be16;
using testing::query;
using testing::record;

constexpr int kPatience = 10'000;  // ms

sockaddr_in loopback(uint16_t port, uint32_t host = INADDR_LOOPBACK) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(host);
  address.sin_port = htons(port);
  return address;
}
uint16_t port_of(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}
UniqueFd bound(int type, uint16_t port) {
  UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == -1)
    return {};
  if (type == SOCK_STREAM) ::listen(fd.get(), 8);
  return fd;
}
// Both kinds on one port.
Sockets bound_pair() {
  for (int i = 0; i < 50; ++i) {
    Sockets sockets;
    sockets.udp = bound(SOCK_DGRAM, 0);
    sockets.tcp = bound(SOCK_STREAM, port_of(sockets.udp.get()));
    if (sockets.tcp) return sockets;
  }
  ADD_FAILURE() << "no port";
  return {};
}

UniqueFd client(int type, uint16_t port, uint32_t host = INADDR_LOOPBACK) {
  UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port, host);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0)
      << strerror(errno);
  return fd;
}
bool readable(int fd, int timeout_ms = kPatience) {
  return sys::poll_one(fd, POLLIN, timeout_ms).value_or(false);
}
std::string receive(int fd) {
  if (!readable(fd)) return {};
  std::string buffer(kLargest, '\0');
  const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
  buffer.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return buffer;
}
std::string receive_exactly(int fd, size_t size) {
  std::string out;
  while (out.size() < size && readable(fd)) {
    char buffer[4096];
    const ssize_t got = ::recv(fd, buffer, std::min(sizeof buffer, size - out.size()), 0);
    if (got <= 0) break;
    out.append(buffer, static_cast<size_t>(got));
  }
  return out;
}
std::string framed(const std::string& message) {
  return be16(static_cast<unsigned>(message.size())) + message;
}
std::string receive_framed(int fd) {
  const std::string size = receive_exactly(fd, 2);
  if (size.size() < 2) return {};
  return receive_exactly(fd, static_cast<uint8_t>(size[0]) * 256u + static_cast<uint8_t>(size[1]));
}

Message read(const std::string& bytes) {
  Message message;
  EXPECT_EQ(read_message(bytes, Expect::response, message), Reading::whole) << bytes.size();
  return message;
}

// An answer of `count` address records to a query.
std::string answer_to(const std::string& asked, unsigned count, unsigned flags = 0x8180) {
  Message message;
  if (read_message(asked, Expect::query, message) != Reading::whole) return {};
  std::string out = asked.substr(0, message.question_end);
  out.replace(2, 10, be16(flags) + be16(1) + be16(count) + be16(0) + be16(0));
  for (unsigned i = 0; i < count; ++i) out += record("\xc0\x0c"s, type::kA, "\x0a\1"s + be16(i));
  return out;
}

// A resolver of the test's own, on a thread.
class Upstreams {
 public:
  using Reply = std::function<std::vector<std::string>(const std::string& asked, bool stream)>;
  explicit Upstreams(Reply reply) : sockets_(bound_pair()), reply_(std::move(reply)) {
    stop_ = *sys::eventfd(0);
    thread_ = std::thread([this] { run(); });
  }
  ~Upstreams() {
    const uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    thread_.join();
  }
  Upstream address() const {
    return {IpAddress::v4(INADDR_LOOPBACK), port_of(sockets_.udp.get()), 0, false};
  }
  std::atomic<int> asked{0};

 private:
  void run() {
    for (;;) {
      pollfd fds[] = {{sockets_.udp.get(), POLLIN, 0},
                      {sockets_.tcp.get(), POLLIN, 0},
                      {stop_.get(), POLLIN, 0}};
      if (::poll(fds, 3, -1) < 0) continue;
      if (fds[2].revents) return;
      if (fds[0].revents) {
        char buffer[4096];
        sockaddr_in peer{};
        socklen_t size = sizeof peer;
        const ssize_t got = ::recvfrom(sockets_.udp.get(), buffer, sizeof buffer, 0,
                                       reinterpret_cast<sockaddr*>(&peer), &size);
        if (got < 0) continue;
        ++asked;
        for (const std::string& out : reply_({buffer, static_cast<size_t>(got)}, false))
          ::sendto(sockets_.udp.get(), out.data(), out.size(), 0,
                   reinterpret_cast<sockaddr*>(&peer), size);
      }
      if (fds[1].revents) {
        UniqueFd peer(::accept4(sockets_.tcp.get(), nullptr, nullptr, SOCK_CLOEXEC));
        const std::string message = receive_framed(peer.get());
        if (message.empty()) continue;
        ++asked;
        for (const std::string& out : reply_(message, true)) {
          const std::string frame = framed(out);
          ::send(peer.get(), frame.data(), frame.size(), MSG_NOSIGNAL);
        }
      }
    }
  }
  Sockets sockets_;
  Reply reply_;
  UniqueFd stop_;
  std::thread thread_;
};

// The server, with one container, whose sockets are on the loopback interface of this machine.
struct Served {
  explicit Served(std::shared_ptr<View> seen, ServerOptions options = {}) : view(std::move(seen)) {
    server = std::move(*Server::create(options));
    Sockets sockets = bound_pair();
    port = port_of(sockets.udp.get());
    EXPECT_TRUE(server->add("c", std::move(sockets), view));
    stop_ = *sys::eventfd(0);
    thread_ = std::thread([this] {
      for (;;) {
        pollfd fds[] = {{server->descriptor(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
        if (::poll(fds, 2, -1) < 0) continue;
        if (fds[1].revents) return;
        server->run();
      }
    });
  }
  ~Served() {
    const uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    thread_.join();
  }
  std::string ask(const std::string& bytes) const {
    UniqueFd fd = client(SOCK_DGRAM, port);
    ::send(fd.get(), bytes.data(), bytes.size(), 0);
    return receive(fd.get());
  }
  bool nothing_outstanding() const {
    for (int i = 0; i < 1000; ++i) {
      if (server->counts().queries == 0) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  std::shared_ptr<View> view;
  std::unique_ptr<Server> server;
  uint16_t port = 0;

 private:
  UniqueFd stop_;
  std::thread thread_;
};

std::shared_ptr<View> view_of(std::vector<Upstream> upstreams) {
  auto zone = std::make_shared<Zone>("net");
  zone->put("e", {"web", {"www"}, {*IpAddress::parse("10.0.0.2")}});
  auto view = std::make_shared<View>();
  view->networks.push_back({zone, {}});
  view->upstreams = std::move(upstreams);
  return view;
}

std::vector<std::string> one_record(const std::string& asked, bool) {
  return {answer_to(asked, 1)};
}
std::vector<std::string> silence(const std::string&, bool) { return {}; }

TEST(DnsServer, AnswersLocalNamesByDatagramAndConnection) {
  Served served(view_of({}));
  EXPECT_EQ(read(served.ask(query("web", type::kA, {.id = 77}))).id, 77);
  UniqueFd fd = client(SOCK_STREAM, served.port);
  // Two questions in one piece, and a third in two.
  const std::string third = framed(query("www", type::kA, {.id = 3}));
  const std::string sent = framed(query("web", type::kA, {.id = 1})) +
                           framed(query("www", type::kA, {.id = 2})) + third.substr(0, 5);
  ASSERT_EQ(::send(fd.get(), sent.data(), sent.size(), 0), static_cast<ssize_t>(sent.size()));
  EXPECT_EQ(read(receive_framed(fd.get())).id, 1);
  EXPECT_EQ(read(receive_framed(fd.get())).id, 2);
  ::send(fd.get(), third.data() + 5, third.size() - 5, 0);
  EXPECT_EQ(read(receive_framed(fd.get())).records.size(), 1u);
  EXPECT_EQ(served.server->counts().connections, 1u);
}

TEST(DnsServer, TellsWhatItDoesNotUnderstand) {
  Served served(view_of({}));
  std::string bytes = query("web", type::kA);
  EXPECT_EQ(static_cast<int>(served.ask(bytes.substr(0, bytes.size() - 1))[3] & 0xf), 1);
  bytes[2] |= 0x10;  // opcode STATUS
  EXPECT_EQ(read(served.ask(bytes)).rcode, 4);
  EXPECT_EQ(read(served.ask(query("web", 252))).rcode, 5);
  bytes = query("web", type::kA, {.edns_size = 1232});
  bytes[bytes.size() - 5] = 1;  // version
  const std::string answer = served.ask(bytes);
  const Message message = read(answer);
  EXPECT_EQ(message.rcode, 0);
  ASSERT_NE(message.opt(), nullptr);
  EXPECT_EQ(message.opt()->ttl >> 24, 1u) << "BADVERS";
  // Rubbish and answers are not answered, and do no harm.
  UniqueFd fd = client(SOCK_DGRAM, served.port);
  for (const std::string& rubbish : {""s, "x"s, std::string(11, '\0'), std::string(4000, '\xff')})
    ::send(fd.get(), rubbish.data(), rubbish.size(), 0);
  EXPECT_FALSE(served.ask(query("web", type::kA)).empty());
  EXPECT_FALSE(readable(fd.get(), 0));
}

TEST(DnsServer, AsksOthersForOtherNames) {
  Upstreams upstream(one_record);
  Served served(view_of({upstream.address()}));
  const std::string answer = served.ask(query("example.org", type::kA, {.id = 4711}));
  EXPECT_EQ(read(answer).id, 4711);
  EXPECT_EQ(read(answer).records.size(), 1u);
  EXPECT_EQ(upstream.asked, 1);
  EXPECT_TRUE(served.nothing_outstanding());
}

TEST(DnsServer, AsksNobodyForAnInternalNetwork) {
  Upstreams upstream(one_record);
  auto view = view_of({upstream.address()});
  view->forward = false;
  Served served(view);
  EXPECT_EQ(read(served.ask(query("example.org", type::kA))).rcode, 2);
  EXPECT_EQ(read(served.ask(query("9.0.0.10.in-addr.arpa", type::kPtr))).rcode, 2);
  EXPECT_EQ(read(served.ask(query("web", type::kA))).records.size(), 1u);
  EXPECT_EQ(upstream.asked, 0);
}

TEST(DnsServer, BelievesOnlyTheAnswerToItsQuestion) {
  Upstreams upstream([](const std::string& asked, bool) -> std::vector<std::string> {
    std::string other_id = answer_to(asked, 3), other_name = answer_to(asked, 4),
                other_type = answer_to(asked, 5), no_answer = answer_to(asked, 6);
    other_id[0] ^= 1;
    other_name[13] ^= 1;
    other_type[12 + 13 + 1] = 28;
    no_answer[2] &= 0x7f;
    return {"", "x", other_id, other_name, other_type, no_answer, answer_to(asked, 1)};
  });
  Served served(view_of({upstream.address()}));
  EXPECT_EQ(read(served.ask(query("example.org", type::kA))).records.size(), 1u);
}

TEST(DnsServer, DrawsIdAndPortForEveryQuery) {
  std::mutex mutex;
  std::set<std::string> ids;
  Upstreams upstream([&](const std::string& asked, bool) {
    std::lock_guard lock(mutex);
    ids.insert(asked.substr(0, 2));
    return one_record(asked, false);
  });
  Served served(view_of({upstream.address()}));
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(read(served.ask(query("example.org", type::kA, {.id = 1}))).id, 1);
  EXPECT_GT(ids.size(), 24u);
}

TEST(DnsServer, GoesOnToTheNextServer) {
  Upstreams silent(silence), failing([](const std::string& asked, bool) {
    return std::vector{answer_to(asked, 0, 0x8182)};
  });
  Upstreams good(one_record);
  ServerOptions options;
  options.attempt = std::chrono::milliseconds(50);
  Upstream closed = good.address();
  {
    Sockets nobody = bound_pair();
    closed.port = port_of(nobody.udp.get());
  }
  Served served(view_of({silent.address(), closed, failing.address(), good.address()}), options);
  EXPECT_EQ(read(served.ask(query("example.org", type::kA))).records.size(), 1u);
  EXPECT_EQ(silent.asked, 1);
  EXPECT_EQ(failing.asked, 1);
  // The silent one is now asked last.
  EXPECT_EQ(read(served.ask(query("example.org", type::kA))).records.size(), 1u);
  EXPECT_EQ(silent.asked, 1);
}

TEST(DnsServer, SaysSoWhenNobodyAnswersOrAllRefuse) {
  ServerOptions options;
  options.attempt = std::chrono::milliseconds(30);
  Upstreams silent(silence);
  Served served(view_of({silent.address()}), options);
  EXPECT_EQ(read(served.ask(query("example.org", type::kA))).rcode, 2);
  EXPECT_EQ(silent.asked, 2) << "a datagram may be lost";
  EXPECT_TRUE(served.nothing_outstanding());

  Upstreams refusing(
      [](const std::string& asked, bool) { return std::vector{answer_to(asked, 0, 0x8185)}; });
  Served refused(view_of({refusing.address()}), options);
  EXPECT_EQ(read(refused.ask(query("example.org", type::kA))).rcode, 5);
  EXPECT_EQ(refusing.asked, 1);
}

TEST(DnsServer, ASlowServerHoldsNobodyUp) {
  Upstreams silent(silence), good(one_record);
  Served served(view_of({silent.address()}));
  EXPECT_TRUE(served.server->add("other", bound_pair(), view_of({good.address()})));
  UniqueFd slow = client(SOCK_DGRAM, served.port);
  for (uint16_t id = 0; id < 50; ++id) {
    const std::string bytes = query("example.org", type::kA, {.id = id});
    ::send(slow.get(), bytes.data(), bytes.size(), 0);
  }
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(read(served.ask(query("web", type::kA))).records.size(), 1u);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  EXPECT_FALSE(readable(slow.get(), 0));
}

TEST(DnsServer, BoundsWhatOneContainerMayHaveUnderWay) {
  Upstreams silent(silence);
  ServerOptions options;
  options.queries_of_one = 10;
  Served served(view_of({silent.address()}), options);
  UniqueFd fd = client(SOCK_DGRAM, served.port);
  for (uint16_t id = 0; id < 15; ++id) {
    const std::string bytes = query("example.org", type::kA, {.id = id});
    ::send(fd.get(), bytes.data(), bytes.size(), 0);
  }
  for (int i = 0; i < 5; ++i) EXPECT_EQ(read(receive(fd.get())).rcode, 2);
  EXPECT_EQ(served.server->counts().queries, 10u);
  served.server->remove("c");
  EXPECT_EQ(served.server->counts().queries, 0u);
}

TEST(DnsServer, FetchesByConnectionWhatWasTruncatedAndCutsItForTheAsker) {
  Upstreams upstream([](const std::string& asked, bool stream) {
    return std::vector{stream ? answer_to(asked, 100) : answer_to(asked, 2, 0x8380)};
  });
  Served served(view_of({upstream.address()}));
  const std::string small = served.ask(query("example.org", type::kA));
  EXPECT_LE(small.size(), 512u);
  EXPECT_GT(small.size(), 480u);
  EXPECT_TRUE(read(small).truncated);
  const std::string large = served.ask(query("example.org", type::kA, {.edns_size = 4096}));
  EXPECT_FALSE(read(large).truncated);
  EXPECT_EQ(read(large).records.size(), 100u);
  UniqueFd fd = client(SOCK_STREAM, served.port);
  const std::string bytes = framed(query("example.org", type::kA));
  ::send(fd.get(), bytes.data(), bytes.size(), 0);
  ::shutdown(fd.get(), SHUT_WR);  // done with asking, not with reading
  EXPECT_EQ(read(receive_framed(fd.get())).records.size(), 100u);
  EXPECT_EQ(receive(fd.get()), "") << "closed after the last answer";
}

TEST(DnsServer, PassesATruncatedAnswerOnWhenThereIsNoConnection) {
  Upstreams upstream([](const std::string& asked, bool stream) {
    return stream ? std::vector<std::string>() : std::vector{answer_to(asked, 2, 0x8380)};
  });
  Served served(view_of({upstream.address()}));
  const Message message = read(served.ask(query("example.org", type::kA)));
  EXPECT_TRUE(message.truncated);
  EXPECT_EQ(message.records.size(), 2u);
}

TEST(DnsServer, PassesEdnsOn) {
  Upstreams upstream([](const std::string& asked, bool) {
    Message message;
    EXPECT_EQ(read_message(asked, Expect::query, message), Reading::whole);
    std::string answer = answer_to(asked, 40);
    if (message.opt() != nullptr && message.udp_limit() == 1400) {
      answer += asked.substr(message.question_end);
      answer[11] = 1;
    }
    return std::vector{answer};
  });
  Served served(view_of({upstream.address()}));
  const Message message = read(served.ask(query("example.org", type::kA, {.edns_size = 1400})));
  ASSERT_NE(message.opt(), nullptr);
  EXPECT_EQ(message.opt()->klass, 1400);
  EXPECT_EQ(message.records.size(), 41u);
}

TEST(DnsServer, ClosesConnectionsThatSayNothingOrAreTooMany) {
  ServerOptions options;
  options.connections_of_one = 4;
  options.idle = std::chrono::milliseconds(200);
  Served served(view_of({}), options);
  std::vector<UniqueFd> fds;
  for (int i = 0; i < 6; ++i) fds.push_back(client(SOCK_STREAM, served.port));
  const std::string bytes = framed(query("web", type::kA));
  ::send(fds.back().get(), bytes.data(), bytes.size(), 0);
  EXPECT_EQ(read(receive_framed(fds.back().get())).records.size(), 1u);
  EXPECT_LE(served.server->counts().connections, 4u);
  for (UniqueFd& fd : fds) EXPECT_EQ(receive(fd.get()), "");
  EXPECT_EQ(served.server->counts().connections, 0u);
}

TEST(DnsServer, WhatWasAskedWhileNobodyReadIsAnsweredByTheNext) {
  Sockets sockets = bound_pair();
  Sockets held = *sockets.duplicate();
  const uint16_t port = port_of(sockets.udp.get());
  UniqueFd datagram = client(SOCK_DGRAM, port), stream;
  const std::string bytes = query("web", type::kA);
  {
    auto first = std::move(*Server::create());
    ASSERT_TRUE(first->add("c", std::move(sockets), view_of({})));
  }
  ::send(datagram.get(), bytes.data(), bytes.size(), 0);
  stream = client(SOCK_STREAM, port);
  ::send(stream.get(), framed(bytes).data(), framed(bytes).size(), 0);
  Served served(view_of({}));
  ASSERT_TRUE(served.server->add("c", std::move(held), view_of({})));
  EXPECT_EQ(read(receive(datagram.get())).records.size(), 1u);
  EXPECT_EQ(read(receive_framed(stream.get())).records.size(), 1u);
}

TEST(DnsSockets, LeadPort53OfTheServersAddressToTheirOwn) {
  drivers::testing::in_new_netns([] {
    UniqueFd here = *sys::open("/proc/thread-self/ns/net", O_RDONLY);
    auto made = open_sockets(here.get());
    ASSERT_TRUE(made) << made.error().message();
    // The namespace's own: nobody has port 53.
    UniqueFd own = bound(SOCK_DGRAM, 53);
    EXPECT_TRUE(own.valid());
    made = open_sockets(here.get());  // replaces what was there
    ASSERT_TRUE(made) << made.error().message();
    Served served(view_of({}));
    ASSERT_TRUE(served.server->add("inside", std::move(*made), view_of({})));
    const std::string bytes = query("web", type::kA);
    UniqueFd datagram = client(SOCK_DGRAM, 53, 0x7f00000b);  // connected: the source must be right
    ::send(datagram.get(), bytes.data(), bytes.size(), 0);
    EXPECT_EQ(read(receive(datagram.get())).records.size(), 1u);
    UniqueFd stream = client(SOCK_STREAM, 53, 0x7f00000b);
    ::send(stream.get(), framed(bytes).data(), framed(bytes).size(), 0);
    EXPECT_EQ(read(receive_framed(stream.get())).records.size(), 1u);
  });
}

TEST(DnsSockets, KeepNothingOfTheNamespaceWhenTheyAreClosed) {
  drivers::testing::in_new_netns([] {
    UniqueFd other = drivers::testing::make_netns();
    auto made = open_sockets(other.get());
    ASSERT_TRUE(made) << made.error().message();
    auto server = std::move(*Server::create());
    ASSERT_TRUE(server->add("c", std::move(*made), view_of({})));
    EXPECT_EQ(server->counts().served, 1u);
    server->remove("c");
    EXPECT_EQ(server->counts().served, 0u);
    EXPECT_FALSE(server->set_view("c", view_of({})));
  });
}

}  // namespace
}  // namespace gantry::drivers::dns

// The host's [::1] and published ports, through a driver, with real connections.
#include "drivers/network/loopback_relay.h"

#include <atomic>

#include "drivers/network/test_world.h"

namespace gantry::drivers {
namespace {

sockaddr_in6 at6(const std::string& address, uint16_t port) {
  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(port);
  inet_pton(AF_INET6, address.c_str(), &in.sin6_addr);
  return in;
}

// Sends back what it gets, until there is no more, or a datagram for a datagram.
class Echo {
 public:
  Echo(int netns, uint16_t port, int type) : type_(type) {
    socket_ = inside(netns, [&] {
      UniqueFd fd(::socket(AF_INET6, type | SOCK_CLOEXEC, 0));
      const sockaddr_in6 in = at6("::", port);
      EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&in), sizeof in), 0);
      if (type == SOCK_STREAM) EXPECT_EQ(::listen(fd.get(), 16), 0);
      return fd;
    });
    thread_ = std::thread([this] { type_ == SOCK_STREAM ? serve() : answer(); });
  }
  ~Echo() {
    stopping_ = true;
    ::shutdown(socket_.get(), SHUT_RDWR);
    thread_.join();
  }

 private:
  void serve() {
    while (true) {
      UniqueFd client(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!client) return;
      char buffer[8192];
      std::string all;
      for (ssize_t got; (got = ::recv(client.get(), buffer, sizeof buffer, 0)) > 0;)
        all.append(buffer, static_cast<size_t>(got));
      (void)sys::write_all(client.get(), all);  // only after the client's end of file
    }
  }
  void answer() {
    while (!stopping_) {
      pollfd wait{socket_.get(), POLLIN, 0};
      if (::poll(&wait, 1, 100) <= 0) continue;
      char buffer[2048];
      sockaddr_in6 peer{};
      socklen_t size = sizeof peer;
      const ssize_t got = ::recvfrom(socket_.get(), buffer, sizeof buffer, 0,
                                     reinterpret_cast<sockaddr*>(&peer), &size);
      if (got >= 0)
        ::sendto(socket_.get(), buffer, static_cast<size_t>(got), 0,
                 reinterpret_cast<sockaddr*>(&peer), size);
    }
  }
  const int type_;
  std::atomic<bool> stopping_ = false;
  UniqueFd socket_;
  std::thread thread_;
};

std::string converse(int netns, uint16_t port, const std::string& text) {
  return inside(netns, [&]() -> std::string {
    UniqueFd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in6 in = at6("::1", port);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&in), sizeof in) != 0)
      return strerrorname_np(errno);
    if (!sys::write_all(fd.get(), text)) return "write";
    ::shutdown(fd.get(), SHUT_WR);
    std::string back;
    char buffer[8192];
    ssize_t got;
    while ((got = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0)
      back.append(buffer, static_cast<size_t>(got));
    return got < 0 ? strerrorname_np(errno) : back;
  });
}

NetworkConfig both_families() {
  NetworkConfig config;
  config.name = "both";
  config.ipv6 = true;
  config.options = {{"com.docker.network.bridge.name", "both0"}};
  return config;
}

TEST(LoopbackRelay, TheHostReachesAPublishedPortByItsIpv6LoopbackAddress) {
  in_new_netns([] {
    World world;
    const NetworkConfig network = world.add_network(both_families());
    auto a = world.start(network, {publish(8080, 80), publish(5353, 53, nullptr, Protocol::udp),
                                   publish(8081, 81, "::1")});
    ASSERT_OK(a);
    const int host = world.host.get();
    {
      Echo web(a->netns.get(), 80, SOCK_STREAM), names(a->netns.get(), 53, SOCK_DGRAM);
      EXPECT_EQ(converse(host, 8080, "hello"), "hello");
      EXPECT_EQ(converse(host, 8080, ""), "");
      std::string much(3 << 20, 'x');
      for (size_t i = 0; i < much.size(); i += 997) much[i] = static_cast<char>(i);
      EXPECT_TRUE(converse(host, 8080, much) == much);
      UniqueFd client =
          inside(host, [] { return UniqueFd(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)); });
      const sockaddr_in6 in = at6("::1", 5353);
      ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&in), sizeof in), 0);
      for (const char* word : {"one", "two"}) {
        ASSERT_EQ(::send(client.get(), word, 3, 0), 3);
        pollfd wait{client.get(), POLLIN, 0};
        ASSERT_EQ(::poll(&wait, 1, 5000), 1);
        char buffer[16];
        ASSERT_EQ(::recv(client.get(), buffer, sizeof buffer, 0), 3);
        EXPECT_EQ(std::string(buffer, 3), word);
      }
    }
    EXPECT_NE(converse(host, 8080, "hello"), "hello");  // nobody is there any more, and it is told
    Echo more(a->netns.get(), 81, SOCK_STREAM);
    EXPECT_EQ(converse(host, 8081, "hello"), "hello");
    world.release_all();
    EXPECT_EQ(converse(host, 8081, "hello"), "ECONNREFUSED");
  });
}

TEST(LoopbackRelay, LeadsToTheContainerThatHasThePortNow) {
  in_new_netns([] {
    World world;
    const NetworkConfig network = world.add_network(both_families());
    for (int round = 0; round < 2; ++round) {
      auto a = world.start(network, {publish(8080, 80)});
      ASSERT_OK(a);
      Echo web(a->netns.get(), 80, SOCK_STREAM);
      EXPECT_EQ(converse(world.host.get(), 8080, "hello"), "hello") << round;
      for (auto row = world.rows.rbegin(); row != world.rows.rend(); ++row)
        if (row->owner.starts_with("container:"))
          ASSERT_OK(world.kinds.at(row->kind).release(*row));
      std::erase_if(world.rows,
                    [](const auto& row) { return row.owner.starts_with("container:"); });
    }
    world.release_all();
  });
}

TEST(LoopbackRelay, IsForIpv6LoopbackOnly) {
  const auto relays = [](const char* address, Protocol protocol = Protocol::tcp) {
    return LoopbackRelay::relays({protocol, 80, ip(address), 8080});
  };
  EXPECT_TRUE(relays("::"));
  EXPECT_TRUE(relays("::1", Protocol::udp));
  EXPECT_FALSE(relays("fd00::1"));
  EXPECT_FALSE(relays("127.0.0.1"));
  EXPECT_FALSE(relays("::", Protocol::sctp));
}

}  // namespace
}  // namespace gantry::drivers

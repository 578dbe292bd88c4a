// Drivers with real packets: a "host", containers and an outside neighbour, each a network
// namespace of the test's own. Included by one test file each of those that need it.
#pragma once

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <future>

#include "base/id.h"
#include "drivers/network/network_system.h"
#include "drivers/network/test_namespaces.h"

namespace gantry::drivers {
namespace {

using ::testing::HasSubstr;
using testing::in_new_netns;
using testing::make_netns;
using ::testing::Not;
using testing::output_of;

constexpr int kPatienceMs = 500;  // how long a packet that must not come is waited for

IpAddress ip(const std::string& text) { return *IpAddress::parse(text); }

#define ASSERT_OK(expression)                                            \
  do {                                                                   \
    auto&& assert_ok_status = (expression);                              \
    ASSERT_TRUE(assert_ok_status) << assert_ok_status.error().message(); \
  } while (0)

sockaddr_in at(const std::string& address, uint16_t port) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  inet_pton(AF_INET, address.c_str(), &in.sin_addr);
  return in;
}

// A thread's errand in another namespace.
template <typename Call>
auto inside(int netns, Call&& call) {
  decltype(call()) result{};
  auto status = inside_netns(netns, [&]() -> Status {
    result = call();
    return {};
  });
  EXPECT_TRUE(status);
  return result;
}

// A TCP server that answers each connection with the peer's address and closes; one for every test.
class Server {
 public:
  Server(int netns, uint16_t port, int type = SOCK_STREAM) : type_(type) {
    socket_ = inside(netns, [&] {
      UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
      const sockaddr_in in = at("0.0.0.0", port);
      EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&in), sizeof in), 0);
      if (type == SOCK_STREAM) {
        EXPECT_EQ(::listen(fd.get(), 16), 0);
      }
      return fd;
    });
    stop_ = *sys::eventfd(0);
    thread_ = std::thread([this] { serve(); });
  }
  ~Server() {
    const uint64_t one = 1;
    (void)sys::write(stop_.get(), &one, sizeof one);
    thread_.join();
  }

 private:
  void serve() {
    for (;;) {
      pollfd fds[2] = {{socket_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      ::poll(fds, 2, -1);
      if (fds[1].revents) return;
      sockaddr_in peer{};
      socklen_t size = sizeof peer;
      if (type_ == SOCK_DGRAM) {
        char data[64];
        ::recvfrom(socket_.get(), data, sizeof data, 0, reinterpret_cast<sockaddr*>(&peer), &size);
        const std::string text = inet_ntoa(peer.sin_addr);
        ::sendto(socket_.get(), text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&peer),
                 size);
        continue;
      }
      UniqueFd client(
          ::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC));
      const std::string text = inet_ntoa(peer.sin_addr);
      (void)sys::write_all(client.get(), text);
    }
  }
  const int type_;
  UniqueFd socket_;
  UniqueFd stop_;
  std::thread thread_;
};

// What the server says ("172.17.0.1", the client as it sees it), or the error ("refused",
// "timeout").
std::string ask(int netns, const std::string& address, uint16_t port, int type = SOCK_STREAM) {
  return inside(netns, [&]() -> std::string {
    UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const sockaddr_in in = at(address, port);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&in), sizeof in) != 0 &&
        errno != EINPROGRESS)
      return strerrorname_np(errno);
    if (type == SOCK_DGRAM) ::send(fd.get(), "?", 1, 0);
    pollfd wait{fd.get(), POLLIN, 0};
    if (::poll(&wait, 1, kPatienceMs) == 0) return "timeout";
    char data[64];
    const ssize_t got = ::recv(fd.get(), data, sizeof data, 0);
    return got < 0 ? strerrorname_np(errno) : std::string(data, got);
  });
}

class World {
 public:
  explicit World(DefaultBridge bridge = {}, std::string instance = "0123456789ab") {
    auto opened = NetworkSystem::open({.instance_id = instance});
    EXPECT_TRUE(opened) << opened.error().message();
    system = std::move(*opened);
    for (engine::ResourceKind& kind : system->resource_kinds()) kinds.emplace(kind.name, kind);
    host = *sys::open("/proc/thread-self/ns/net", O_RDONLY);
    driver = *system->driver("bridge");
    NetworkConfig wanted = system->default_network(bridge);
    wanted.id = new_id();
    network = add_network(wanted);
  }

  NetworkConfig add_network(NetworkConfig wanted) {
    if (wanted.id.empty()) wanted.id = new_id();
    auto plan = driver->plan_network(wanted);
    EXPECT_TRUE(plan) << plan.error().message();
    if (!plan) return wanted;
    plan->reservation.keep();
    for (auto& row : plan->rows) rows.push_back(row);
    auto created = driver->create_network(plan->network);
    EXPECT_TRUE(created) << created.error().message();
    return plan->network;
  }

  struct Container {
    UniqueFd netns;
    Endpoint endpoint;
    std::string address() const { return endpoint.ipv4->address().to_string(); }
  };
  Result<Container> start(const NetworkConfig& on, std::vector<PortRequest> ports = {}) {
    EndpointRequest request;
    request.container_id = new_id();
    request.endpoint_id = new_id();
    request.ports = std::move(ports);
    EndpointPlan plan = TRY(driver->plan_endpoint(on, std::move(request)));
    plan.reservation.keep();
    for (auto& row : plan.rows) rows.push_back(row);
    Container container{make_netns(), plan.endpoint};
    TRY(driver->join(on, container.endpoint, container.netns.get()));
    return container;
  }
  // What the engine does with every row, in reverse order.
  void release_all() {
    for (; !rows.empty(); rows.pop_back()) {
      const auto& row = rows.back();
      auto released = kinds.at(row.kind).release(row);
      EXPECT_TRUE(released) << row.kind << " " << row.name << ": " << released.error().message();
      auto presence = kinds.at(row.kind).probe(row);
      ASSERT_TRUE(presence) << presence.error().message();
      EXPECT_EQ(*presence, engine::Presence::absent) << row.kind << " " << row.name;
    }
  }

  std::unique_ptr<NetworkSystem> system;
  NetworkDriver* driver = nullptr;
  std::map<std::string, engine::ResourceKind> kinds;
  NetworkConfig network;
  UniqueFd host;
  std::vector<engine::Resource> rows;
};

// A neighbour on the host's outer network: host 203.0.113.1, neighbour 203.0.113.2.
UniqueFd make_neighbour() {
  UniqueFd netns = make_netns();
  auto socket = *NetlinkSocket::open(NETLINK_ROUTE);
  VethSpec spec;
  spec.name = "outer";
  spec.alias = "test";
  spec.peer_name = "eth0";
  spec.peer_mac = *parse_mac("02:00:00:00:00:02");
  spec.netns_fd = netns.get();
  auto peer = create_veth(socket, spec);
  EXPECT_TRUE(peer) << peer.error().message();
  auto own = find_link(socket, "outer");
  EXPECT_TRUE(add_address(socket, (*own)->index, *Cidr::parse("203.0.113.1/24")));
  auto there = *NetlinkSocket::open_in(NETLINK_ROUTE, netns.get());
  InterfaceSetup setup;
  setup.index = *peer;
  setup.ipv4 = *Cidr::parse("203.0.113.2/24");
  EXPECT_TRUE(configure_interface(there, setup));
  EXPECT_TRUE(find_link(socket, "outer"));
  return netns;
}

// The neighbour takes the host for the way to everything: what a hostile one on the same LAN can
// do.
void route_through_host(int netns) {
  auto there = *NetlinkSocket::open_in(NETLINK_ROUTE, netns);
  auto link = *find_link(there, "eth0");
  InterfaceSetup setup;
  setup.index = link->index;
  setup.gateway4 = ip("203.0.113.1");
  EXPECT_TRUE(configure_interface(there, setup));
}

PortRequest publish(uint16_t host_port, uint16_t container_port, const char* host_ip = nullptr,
                    Protocol protocol = Protocol::tcp) {
  PortRequest request;
  request.protocol = protocol;
  request.host_port = host_port;
  request.container_port = container_port;
  if (host_ip != nullptr) request.host_ip = ip(host_ip);
  return request;
}

}  // namespace
}  // namespace gantry::drivers

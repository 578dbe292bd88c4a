// The bridge driver with real packets: a "host", containers and an outside neighbour, each a
// network namespace of the test's own.
#include "drivers/network/bridge_driver.h"

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

TEST(BridgeDriver, ContainerGetsDockersAddressMacAndRoute) {
  in_new_netns([] {
    World world;
    EXPECT_EQ(world.network.pools[0].subnet.to_string(), "172.17.0.0/16");
    auto container = world.start(world.network);
    ASSERT_OK(container);
    EXPECT_EQ(container->endpoint.ipv4->to_string(), "172.17.0.2/16");
    EXPECT_EQ(container->endpoint.mac, "02:42:ac:11:00:02");
    const std::string seen = inside(
        container->netns.get(), [] { return output_of("ip -o address; ip route; ip -o link"); });
    EXPECT_THAT(seen, HasSubstr("eth0    inet 172.17.0.2/16 brd 172.17.255.255"));
    EXPECT_THAT(seen, HasSubstr("default via 172.17.0.1 dev eth0"));
    EXPECT_THAT(seen, HasSubstr("inet 127.0.0.1/8"));
    EXPECT_THAT(seen, HasSubstr("02:42:ac:11:00:02"));
    world.release_all();
    EXPECT_THAT(output_of("ip -o link"), Not(HasSubstr("gantry0")));
    EXPECT_THAT(output_of("ip -o link"), Not(HasSubstr("gv0123")));
  });
}

TEST(BridgeDriver, NeighboursTalkAndTheOutsideSeesTheHost) {
  in_new_netns([] {
    World world;
    UniqueFd neighbour = make_neighbour();
    auto a = world.start(world.network), b = world.start(world.network);
    ASSERT_OK(a);
    ASSERT_OK(b);
    Server server(b->netns.get(), 80), outside(neighbour.get(), 80);
    EXPECT_EQ(ask(a->netns.get(), b->address(), 80), a->address());
    EXPECT_EQ(ask(world.host.get(), b->address(), 80), "172.17.0.1");
    EXPECT_EQ(ask(a->netns.get(), "203.0.113.2", 80), "203.0.113.1");  // masqueraded
    world.release_all();
  });
}

// With and without br_netfilter, which Docker and Kubernetes switch on for the whole host.
class BridgeNetfilter : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(BridgeDriver, BridgeNetfilter, ::testing::Values("0", "1"));

TEST_P(BridgeNetfilter, PublishedPortIsReachedFromEverywhere) {
  in_new_netns([] {
    if (!write_sysctl("net.bridge.bridge-nf-call-iptables", GetParam()) &&
        GetParam() != std::string("0"))
      GTEST_SKIP() << "br_netfilter is not there";
    World world;
    UniqueFd neighbour = make_neighbour();
    auto a =
        world.start(world.network, {publish(8080, 80), publish(5353, 53, nullptr, Protocol::udp)});
    ASSERT_OK(a);
    auto b = world.start(world.network);
    ASSERT_OK(b);
    Server server(a->netns.get(), 80), datagrams(a->netns.get(), 53, SOCK_DGRAM);
    EXPECT_EQ(ask(neighbour.get(), "203.0.113.1", 8080),
              "203.0.113.2");  // the client's address is kept
    EXPECT_EQ(ask(neighbour.get(), "203.0.113.1", 5353, SOCK_DGRAM), "203.0.113.2");
    EXPECT_EQ(ask(world.host.get(), "127.0.0.1", 8080), "172.17.0.1");
    EXPECT_EQ(ask(world.host.get(), "127.0.0.1", 5353, SOCK_DGRAM), "172.17.0.1");
    EXPECT_EQ(ask(world.host.get(), "203.0.113.1", 8080), "203.0.113.1");
    EXPECT_EQ(ask(b->netns.get(), "172.17.0.1", 8080),
              "172.17.0.1");  // another container, by the host
    EXPECT_EQ(ask(a->netns.get(), "172.17.0.1", 8080), "172.17.0.1");  // itself
    EXPECT_EQ(ask(a->netns.get(), "203.0.113.1", 8080), "172.17.0.1");

    ASSERT_OK(world.driver->leave(world.network, a->endpoint));
    EXPECT_EQ(ask(neighbour.get(), "203.0.113.1", 8080), "ECONNREFUSED");
    EXPECT_EQ(ask(world.host.get(), "127.0.0.1", 8080), "ECONNREFUSED");
    world.release_all();
  });
}

TEST(BridgeDriver, UnpublishedPortsAndLoopbackPortsStayInside) {
  in_new_netns([] {
    World world;
    UniqueFd neighbour = make_neighbour();
    auto a = world.start(world.network, {publish(8080, 80, "127.0.0.1")});
    ASSERT_OK(a);
    Server server(a->netns.get(), 80), secret(a->netns.get(), 81);
    EXPECT_EQ(ask(world.host.get(), "127.0.0.1", 8080), "172.17.0.1");
    EXPECT_EQ(ask(neighbour.get(), "203.0.113.1", 8080), "ECONNREFUSED");
    // A neighbour that routes through the host reaches neither port, nor the host's loopback.
    route_through_host(neighbour.get());
    EXPECT_EQ(ask(neighbour.get(), a->address(), 80), "timeout");
    EXPECT_EQ(ask(neighbour.get(), a->address(), 81), "timeout");
    // Nor does flushing the ruleset change that.
    output_of("nft flush ruleset");
    EXPECT_EQ(ask(neighbour.get(), a->address(), 81), "timeout");
    EXPECT_EQ(ask(world.host.get(), "127.0.0.1", 8080), "172.17.0.1");
    world.release_all();
  });
}

TEST(BridgeDriver, AContainerCannotReachTheHostsLoopback) {
  in_new_netns([] {
    World world;
    auto a = world.start(world.network, {publish(8080, 80)});
    ASSERT_OK(a);
    Server local(world.host.get(), 9000);
    auto inside_a = *NetlinkSocket::open_in(NETLINK_ROUTE, a->netns.get());
    // Root in the container points 127.9.9.9 at the bridge.
    inside(a->netns.get(), [] {
      return output_of(
          "sysctl -w net.ipv4.conf.all.route_localnet=1; ip addr flush dev lo;"
          "ip route flush table local; ip route add 127.0.0.0/8 via 172.17.0.1 dev eth0;"
          "ip route add local 172.17.0.2 dev eth0 table local");
    });
    EXPECT_EQ(ask(a->netns.get(), "172.17.0.1", 9000), "172.17.0.2");
    EXPECT_EQ(ask(a->netns.get(), "127.0.0.1", 9000), "timeout");
    world.release_all();
  });
}

TEST(BridgeDriver, NetworksAreApart) {
  in_new_netns([] {
    World world;
    NetworkConfig second;
    second.name = "second";
    second = world.add_network(second);
    EXPECT_EQ(second.pools[0].subnet.to_string(), "172.18.0.0/16");
    auto a = world.start(world.network), b = world.start(second, {publish(8080, 80)});
    ASSERT_OK(a);
    ASSERT_OK(b);
    Server server(b->netns.get(), 80), hidden(b->netns.get(), 81);
    EXPECT_EQ(ask(a->netns.get(), b->address(), 81), "timeout");
    EXPECT_EQ(ask(a->netns.get(), "172.17.0.1", 8080), "172.18.0.1");  // published is published
    world.release_all();
  });
}

TEST(BridgeDriver, InternalNetworksHaveNoWayOut) {
  in_new_netns([] {
    World world;
    UniqueFd neighbour = make_neighbour();
    NetworkConfig wanted;
    wanted.name = "inner";
    wanted.internal = true;
    NetworkConfig inner = world.add_network(wanted);
    auto a = world.start(inner), b = world.start(inner);
    ASSERT_OK(a);
    ASSERT_OK(b);
    Server outside(neighbour.get(), 80), server(b->netns.get(), 80);
    EXPECT_EQ(ask(a->netns.get(), b->address(), 80), a->address());
    EXPECT_EQ(ask(a->netns.get(), "203.0.113.2", 80), "ENETUNREACH");
    auto inside_a = *NetlinkSocket::open_in(NETLINK_ROUTE, a->netns.get());
    InterfaceSetup by_force;
    by_force.index = (*find_link(inside_a, "eth0"))->index;
    by_force.gateway4 = inner.pools[0].gateway;
    ASSERT_OK(configure_interface(inside_a, by_force));
    EXPECT_EQ(ask(a->netns.get(), "203.0.113.2", 80), "timeout");
    world.release_all();
  });
}

TEST(BridgeDriver, WithoutIccContainersMeetOnlyOverPublishedPorts) {
  in_new_netns([] {
    World world;
    NetworkConfig wanted;
    wanted.name = "apart";
    wanted.options["com.docker.network.bridge.enable_icc"] = "false";
    NetworkConfig apart = world.add_network(wanted);
    auto a = world.start(apart), b = world.start(apart, {publish(8080, 80)});
    ASSERT_OK(a);
    ASSERT_OK(b);
    Server server(b->netns.get(), 80);
    EXPECT_THAT(ask(a->netns.get(), b->address(), 80), ::testing::AnyOf("timeout", "EHOSTUNREACH"));
    EXPECT_EQ(ask(a->netns.get(), apart.pools[0].gateway->to_string(), 8080),
              apart.pools[0].gateway->to_string());
    world.release_all();
  });
}

TEST(BridgeDriver, TakenPortsAndAddressesAreSaidInDockersWordsAndNothingStays) {
  in_new_netns([] {
    World world;
    auto a = world.start(world.network, {publish(8080, 80)});
    ASSERT_OK(a);
    auto again = world.start(world.network, {publish(9090, 90), publish(8080, 80)});
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().message(), "Bind for 0.0.0.0:8080 failed: port is already allocated");
    auto free = world.start(world.network, {publish(9090, 90)});  // given back by the failed plan
    ASSERT_OK(free);
    Server other(world.host.get(), 7070);
    auto foreign = world.start(world.network, {publish(7070, 80)});
    ASSERT_FALSE(foreign);
    EXPECT_THAT(foreign.error().message(), HasSubstr("failed to bind host port for 0.0.0.0:7070"));
    EXPECT_THAT(foreign.error().message(), HasSubstr("address already in use"));
    world.release_all();
  });
}

TEST(BridgeDriver, RestartedDaemonKnowsWhatIsTakenAndTrafficGoesOn) {
  in_new_netns([] {
    auto first = std::make_unique<World>();
    const NetworkConfig network = first->network;
    auto a = first->start(network, {publish(8080, 80)});
    ASSERT_OK(a);
    Server server(a->netns.get(), 80);
    std::vector<engine::ResourceRow> rows;
    for (const engine::Resource& row : first->rows) {
      engine::ResourceRow stored;
      static_cast<engine::Resource&>(stored) = row;
      rows.push_back(stored);
    }
    const std::vector<engine::Resource> kept = first->rows;
    first->system.reset();  // the daemon is gone
    EXPECT_EQ(ask(first->host.get(), "127.0.0.1", 8080), "172.17.0.1");

    auto system = NetworkSystem::open({.instance_id = "0123456789ab"});
    ASSERT_OK(system);
    ASSERT_OK((*system)->restore(rows));
    NetworkDriver* driver = *(*system)->driver("bridge");
    ASSERT_OK(driver->create_network(network));
    ASSERT_OK(driver->adopt(network, a->endpoint));
    EXPECT_EQ(ask(first->host.get(), "127.0.0.1", 8080), "172.17.0.1");
    EndpointRequest next;
    next.container_id = next.endpoint_id = new_id();
    next.ports = {publish(8080, 80)};
    auto plan = driver->plan_endpoint(network, next);
    ASSERT_FALSE(plan);
    EXPECT_THAT(plan.error().message(), HasSubstr("port is already allocated"));
    next.ports.clear();
    plan = driver->plan_endpoint(network, next);
    ASSERT_OK(plan);
    EXPECT_EQ(plan->endpoint.ipv4->address().to_string(),
              "172.17.0.4");  // .3 rests since the refusal
    for (engine::ResourceKind& kind : (*system)->resource_kinds())
      for (auto row = kept.rbegin(); row != kept.rend(); ++row)
        if (row->kind == kind.name) {
          ASSERT_OK(kind.release(*row));
        }
    EXPECT_THAT(output_of("nft list ruleset"), Not(HasSubstr("8080")));
    EXPECT_THAT(output_of("ip -o link"), Not(HasSubstr("gv0123")));
  });
}

TEST(BridgeDriver, TwoInstancesStandSideBySide) {
  in_new_netns([] {
    World one;
    World two({.link = "gantry1"}, "ba9876543210");
    EXPECT_EQ(two.network.pools[0].subnet.to_string(), "172.18.0.0/16");
    auto a = one.start(one.network, {publish(8080, 80)}),
         b = two.start(two.network, {publish(8081, 80)});
    ASSERT_OK(a);
    ASSERT_OK(b);
    Server on_a(a->netns.get(), 80), on_b(b->netns.get(), 80);
    EXPECT_EQ(ask(one.host.get(), "127.0.0.1", 8080), "172.17.0.1");
    EXPECT_EQ(ask(one.host.get(), "127.0.0.1", 8081), "172.18.0.1");
    auto clash = two.start(two.network, {publish(8080, 80)});
    ASSERT_FALSE(clash);
    EXPECT_THAT(clash.error().message(), HasSubstr("address already in use"));
    two.release_all();
    EXPECT_EQ(ask(one.host.get(), "127.0.0.1", 8080), "172.17.0.1");
    one.release_all();
    EXPECT_EQ(*read_sysctl("net.ipv4.ip_forward"), "0");
  });
}

TEST(BridgeDriver, PassesAnotherFirewallThatDropsWhatIsForwarded) {
  in_new_netns([] {
    output_of(
        "nft 'add table ip filter; add chain ip filter FORWARD "
        "{ type filter hook forward priority 0; policy drop; }'");
    const std::string before = output_of("nft -s list table ip filter");
    World world;
    UniqueFd neighbour = make_neighbour();
    auto a = world.start(world.network, {publish(8080, 80)});
    ASSERT_OK(a);
    Server server(a->netns.get(), 80), hidden(a->netns.get(), 81), outside(neighbour.get(), 80);
    EXPECT_EQ(ask(neighbour.get(), "203.0.113.1", 8080), "203.0.113.2");
    EXPECT_EQ(ask(a->netns.get(), "203.0.113.2", 80), "203.0.113.1");
    route_through_host(neighbour.get());
    EXPECT_EQ(ask(neighbour.get(), a->address(), 81), "timeout");  // our own filter still decides
    ASSERT_OK(world.driver->create_network(world.network));        // again: nothing twice
    const std::string between = output_of("nft -s list table ip filter");
    EXPECT_EQ(std::count(between.begin(), between.end(), '\n'),
              std::count(before.begin(), before.end(), '\n') + 2);
    world.release_all();
    EXPECT_EQ(output_of("nft -s list table ip filter"), before);
  });
}

TEST(BridgeDriver, AForeignBridgeIsLeftAlone) {
  in_new_netns([] {
    output_of("ip link add gantry0 type bridge");
    auto system = *NetworkSystem::open({.instance_id = "0123456789ab"});
    NetworkDriver* driver = *system->driver("bridge");
    NetworkConfig wanted = system->default_network({});
    wanted.id = new_id();
    auto plan = driver->plan_network(wanted);
    ASSERT_OK(plan);
    auto refused = driver->create_network(plan->network);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind(), ErrorKind::conflict);
    EXPECT_THAT(refused.error().message(), HasSubstr("--bridge"));
    EXPECT_THAT(output_of("ip -o link"), HasSubstr("gantry0"));
  });
}

TEST(BridgeDriver, AThousandPublishedPortsCostTheSameAsOne) {
  in_new_netns([] {
    World world;
    std::vector<PortRequest> many;
    for (uint16_t i = 0; i < 1000; ++i)
      many.push_back(publish(static_cast<uint16_t>(20000 + i), 80));
    auto first = world.start(world.network, many);
    ASSERT_OK(first);
    auto a = world.start(world.network, {publish(8080, 80)});
    ASSERT_OK(a);
    Server server(a->netns.get(), 80);
    EXPECT_EQ(ask(world.host.get(), "127.0.0.1", 8080), "172.17.0.1");
    const std::string table = output_of("nft -s list chain inet gantry-0123456789ab prerouting");
    EXPECT_LT(std::count(table.begin(), table.end(), '\n'), 12);  // rules do not grow with ports
    world.release_all();
    EXPECT_THAT(output_of("nft list ruleset"), Not(HasSubstr("8080")));
  });
}

}  // namespace
}  // namespace gantry::drivers

// Gateway modes and host bindings of bridge networks, with real packets.
#include "drivers/network/bridge_driver.h"
#include "drivers/network/test_world.h"

namespace gantry::drivers {
namespace {

constexpr const char* kMode4 = "com.docker.network.bridge.gateway_mode_ipv4";
constexpr const char* kMode6 = "com.docker.network.bridge.gateway_mode_ipv6";

NetworkConfig wanted(const char* subnet, std::map<std::string, std::string> options) {
  NetworkConfig config;
  config.name = "made";
  IpamPool pool;
  pool.subnet = *Cidr::parse(subnet);
  config.pools.push_back(pool);
  config.options = std::move(options);
  return config;
}

// Whether an echo request is answered; not every machine has a ping program.
bool answers_echo(int netns, const std::string& address) {
  return inside(netns, [&] {
    UniqueFd socket(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP));
    const unsigned char request[8] = {8, 0, 0xf7, 0xff};  // echo, its checksum, id and number 0
    const sockaddr_in in = at(address, 0);
    ::sendto(socket.get(), request, sizeof request, 0, reinterpret_cast<const sockaddr*>(&in),
             sizeof in);
    pollfd wait{socket.get(), POLLIN, 0};
    unsigned char data[64];
    constexpr size_t kIpHeader = 20;
    return ::poll(&wait, 1, 4 * kPatienceMs) == 1 &&
           ::recv(socket.get(), data, sizeof data, 0) >= 28 && data[kIpHeader] == 0;
  });
}

TEST(BridgeModes, RoutedAddressesAreReachedAtTheirOpenPortsAndNotTranslated) {
  in_new_netns([] {
    World world;
    UniqueFd neighbour = make_neighbour();
    route_through_host(neighbour.get());
    const NetworkConfig network = world.add_network(wanted("10.66.0.0/24", {{kMode4, "routed"}}));
    auto container = world.start(network, {publish(8080, 80)});
    ASSERT_OK(container);
    ASSERT_EQ(container->endpoint.ports.size(), 1u);
    EXPECT_TRUE(container->endpoint.ports[0].routed);
    Server open(container->netns.get(), 80), closed(container->netns.get(), 81),
        outside(neighbour.get(), 80);
    EXPECT_EQ(ask(neighbour.get(), container->address(), 80), "203.0.113.2");
    EXPECT_EQ(ask(neighbour.get(), container->address(), 81), "timeout");
    EXPECT_EQ(ask(neighbour.get(), "203.0.113.1", 8080), "ECONNREFUSED");  // no port of the host
    EXPECT_EQ(ask(container->netns.get(), "203.0.113.2", 80), container->address());
    EXPECT_TRUE(answers_echo(neighbour.get(), container->address()));
    world.release_all();
    EXPECT_THAT(output_of("nft list ruleset"), Not(HasSubstr("10.66.0.2")));
  });
}

TEST(BridgeModes, AnIsolatedNetworkDoesNotReachTheHost) {
  in_new_netns([] {
    World world;
    NetworkConfig config = wanted("10.66.0.0/24", {{kMode4, "isolated"}});
    EXPECT_THAT(world.driver->plan_network(config).error().message(),
                HasSubstr("can only be used for an internal network"));
    config.internal = true;
    const NetworkConfig network = world.add_network(config);
    auto a = world.start(network), b = world.start(network);
    ASSERT_OK(a);
    ASSERT_OK(b);
    Server server(b->netns.get(), 80), host(world.host.get(), 80);
    EXPECT_EQ(ask(a->netns.get(), b->address(), 80), a->address());
    EXPECT_NE(ask(a->netns.get(), network.pools[0].gateway->to_string(), 80), a->address());
    EXPECT_THAT(output_of("ip -o -4 address"), Not(HasSubstr("10.66.0")));
    world.release_all();
  });
}

TEST(BridgeModes, HostBindingsAreWherePortsArePublishedThatNameNone) {
  in_new_netns([] {
    World world;
    NetworkConfig config =
        wanted("10.66.0.0/24", {{"com.docker.network.bridge.host_binding_ipv4", "127.0.0.1"},
                                {"com.docker.network.bridge.host_binding_ipv6", "::1"}});
    config.ipv6 = true;
    const NetworkConfig network = world.add_network(config);
    auto container = world.start(network, {publish(8080, 80)});
    ASSERT_OK(container);
    ASSERT_EQ(container->endpoint.ports.size(), 2u);
    EXPECT_EQ(container->endpoint.ports[0].host_ip.to_string(), "127.0.0.1");
    EXPECT_EQ(container->endpoint.ports[1].host_ip.to_string(), "::1");
    world.release_all();
  });
}

// A client that goes on sending from the same port, as a resolver or a game does.
TEST(BridgeModes, DatagramsOfAnOldFlowGoToTheContainerThatHasThePortNow) {
  in_new_netns([] {
    World world;
    UniqueFd neighbour = make_neighbour();
    const PortRequest port = publish(5353, 53, nullptr, Protocol::udp);
    UniqueFd client = inside(
        neighbour.get(), [] { return UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); });
    const sockaddr_in in = at("203.0.113.1", 5353);
    ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&in), sizeof in), 0);
    const auto answered = [&] {
      ::send(client.get(), "?", 1, 0);
      pollfd wait{client.get(), POLLIN, 0};
      char data[64];
      return ::poll(&wait, 1, kPatienceMs) == 1 && ::recv(client.get(), data, sizeof data, 0) > 0;
    };
    for (int round = 0; round < 2; ++round) {
      auto container = world.start(world.network, {port});
      ASSERT_OK(container);
      Server server(container->netns.get(), 53, SOCK_DGRAM);
      EXPECT_TRUE(answered()) << "round " << round;
      // The rows of this container only: the network stays.
      while (world.rows.size() > 1 && world.rows.back().kind != "net.bridge" &&
             world.rows.back().kind != "net.sysctl") {
        ASSERT_OK(world.kinds.at(world.rows.back().kind).release(world.rows.back()));
        world.rows.pop_back();
      }
    }
    world.release_all();
  });
}

TEST(BridgeModes, WhatIsNoModeIsRefused) {
  NetworkConfig config = wanted("10.66.0.0/24", {{kMode6, "bridged"}});
  EXPECT_FALSE(BridgeSettings::read(config));
  config.options = {{"com.docker.network.bridge.host_binding_ipv6", "127.0.0.1"}};
  EXPECT_FALSE(BridgeSettings::read(config));
  config.options = {{"com.docker.network.bridge.colour", "red"}};
  EXPECT_FALSE(BridgeSettings::read(config));
}

}  // namespace
}  // namespace gantry::drivers

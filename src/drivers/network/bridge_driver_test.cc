// The bridge driver with real packets.
#include "drivers/network/bridge_driver.h"

#include "drivers/network/test_world.h"

namespace gantry::drivers {
namespace {

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

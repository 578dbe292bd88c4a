// What every driver must do that gives containers interfaces: one suite, run for each, with real
// packets. "host" has an interface `outer` that leads to a neighbour, 203.0.113.2.
#include "base/json.h"
#include "drivers/network/link.h"
#include "drivers/network/test_world.h"

namespace gantry::drivers {
namespace {

struct Kind {
  const char* name;
  const char* driver;
  std::map<std::string, std::string> options;
  bool on_the_outer_network;  // containers have addresses of the neighbour's subnet
  bool meet = true;           // containers of a network reach each other
  bool alone = false;         // a network has one container
};

void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

class DriverSuite : public ::testing::TestWithParam<Kind> {
 protected:
  static NetworkConfig wanted(const char* subnet = nullptr) {
    NetworkConfig config;
    config.id = new_id();
    config.name = "suite";
    config.driver = GetParam().driver;
    config.options = GetParam().options;
    IpamPool pool;
    pool.subnet = *Cidr::parse(subnet != nullptr                 ? subnet
                               : GetParam().on_the_outer_network ? "203.0.113.0/24"
                                                                 : "10.66.0.0/24");
    if (subnet == nullptr && GetParam().on_the_outer_network) {
      pool.range = *Cidr::parse("203.0.113.128/25");
      pool.gateway = *IpAddress::parse("203.0.113.2");
    }
    config.pools.push_back(pool);
    return config;
  }
};

class SuiteWorld : public World {
 public:
  SuiteWorld() {
    driver = *system->driver(DriverSuite::GetParam().driver);
    neighbour = make_neighbour();
    before = links();
  }
  static std::string links() {
    return output_of("ip -o link | cut -d: -f2 | grep -v gantry0 | sort");
  }
  // As the next daemon: only rows, and the namespaces of what runs, are known.
  void restart() {
    system.reset();
    system = *NetworkSystem::open({.instance_id = "0123456789ab"});
    kinds.clear();
    for (engine::ResourceKind& kind : system->resource_kinds()) kinds.emplace(kind.name, kind);
    driver = *system->driver(DriverSuite::GetParam().driver);
    std::vector<engine::ResourceRow> all;
    for (const engine::Resource& row : rows) {
      engine::ResourceRow held;
      static_cast<engine::Resource&>(held) = row;
      all.push_back(held);
    }
    ASSERT_OK(system->restore(all));
  }
  // Releases the rows of the containers and leaves the networks.
  void release_containers() {
    for (auto row = rows.rbegin(); row != rows.rend(); ++row)
      if (row->owner.starts_with("container:")) ASSERT_OK(kinds.at(row->kind).release(*row));
    std::erase_if(rows, [](const auto& row) { return row.owner.starts_with("container:"); });
  }
  UniqueFd neighbour;
  std::string before;
};

std::string interfaces(int netns) {
  return inside(netns, [] { return output_of("ip -o link | cut -d: -f2"); });
}

TEST_P(DriverSuite, ContainersReachTheOutsideAndEachOther) {
  in_new_netns([] {
    SuiteWorld world;
    const NetworkConfig network = world.add_network(wanted());
    auto a = world.start(network);
    ASSERT_OK(a);
    Server outside(world.neighbour.get(), 80);
    EXPECT_THAT(ask(a->netns.get(), "203.0.113.2", 80), HasSubstr("203.0.113."));
    if (GetParam().alone) {
      EXPECT_FALSE(world.start(network));
    } else {
      auto b = world.start(network);
      ASSERT_OK(b);
      Server server(b->netns.get(), 80);
      const std::string answer = ask(a->netns.get(), b->address(), 80);
      if (GetParam().meet)
        EXPECT_EQ(answer, a->address());
      else
        EXPECT_NE(answer, a->address());
    }
    world.release_all();
    EXPECT_EQ(SuiteWorld::links(), world.before);
  });
}

TEST_P(DriverSuite, AddressesAreTheOnesThatWereAskedForAndOnlyFreeOnes) {
  in_new_netns([] {
    SuiteWorld world;
    const NetworkConfig network = world.add_network(wanted("10.66.0.0/29"));
    EndpointRequest request;
    request.container_id = new_id();
    request.endpoint_id = new_id();
    request.ipv4 = ip("10.66.0.5");
    auto fixed = world.driver->plan_endpoint(network, request);
    ASSERT_OK(fixed);
    EXPECT_EQ(fixed->endpoint.ipv4->to_string(), "10.66.0.5/29");
    auto again = world.driver->plan_endpoint(network, request);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().kind(), ErrorKind::conflict);
    request.ipv4 = ip("10.67.0.5");
    EXPECT_EQ(world.driver->plan_endpoint(network, request).error().kind(), ErrorKind::invalid);
    request.ipv4.reset();
    std::vector<EndpointPlan> plans;
    for (int i = 0; i < 4; ++i) {  // six, without the gateway and the one above
      auto plan = world.driver->plan_endpoint(network, request);
      ASSERT_OK(plan);
      plans.push_back(std::move(*plan));
    }
    EXPECT_EQ(world.driver->plan_endpoint(network, request).error().kind(), ErrorKind::unavailable);
    plans.clear();  // what is not kept goes back
    EXPECT_TRUE(world.driver->plan_endpoint(network, request));
    world.release_all();
  });
}

TEST_P(DriverSuite, BothFamiliesAndNoGatewayOfAnInternalNetwork) {
  in_new_netns([] {
    SuiteWorld world;
    NetworkConfig config = wanted();
    config.ipv6 = true;
    config.internal = true;
    const NetworkConfig network = world.add_network(config);
    auto a = world.start(network);
    ASSERT_OK(a);
    ASSERT_TRUE(a->endpoint.ipv6);
    const std::string addresses =
        inside(a->netns.get(), [] { return output_of("ip -o addr show eth0; ip route"); });
    EXPECT_THAT(addresses, HasSubstr(a->endpoint.ipv6->to_string()));
    EXPECT_THAT(addresses, Not(HasSubstr("default")));
    EXPECT_FALSE(world.driver->has_gateway(network, IpFamily::v4));
    world.release_all();
    EXPECT_EQ(SuiteWorld::links(), world.before);
  });
}

TEST_P(DriverSuite, AnInterfaceIsTakenOutOfAContainerThatRuns) {
  in_new_netns([] {
    SuiteWorld world;
    const NetworkConfig network = world.add_network(wanted());
    auto a = world.start(network);
    ASSERT_OK(a);
    EXPECT_THAT(interfaces(a->netns.get()), HasSubstr("eth0"));
    world.release_containers();
    EXPECT_THAT(interfaces(a->netns.get()), Not(HasSubstr("eth0")));
    auto b = world.start(network);  // the network is as it was
    ASSERT_OK(b);
    world.release_all();
  });
}

TEST_P(DriverSuite, TheNextDaemonGivesBackWhatTheLastOneMade) {
  in_new_netns([] {
    SuiteWorld world;
    const NetworkConfig network = world.add_network(wanted());
    auto a = world.start(network);
    ASSERT_OK(a);
    world.restart();
    ASSERT_OK(world.driver->create_network(network));  // as at each start
    world.driver->found(a->endpoint.id, a->netns.get());
    for (const engine::Resource& row : world.rows)
      EXPECT_EQ(*world.kinds.at(row.kind).probe(row), engine::Presence::present) << row.kind;
    EndpointRequest request;
    request.container_id = new_id();
    request.endpoint_id = new_id();
    request.ipv4 = a->endpoint.ipv4->address();
    EXPECT_FALSE(world.driver->plan_endpoint(network, request));  // it is still taken
    world.release_all();
    EXPECT_THAT(interfaces(a->netns.get()), Not(HasSubstr("eth0")));
    EXPECT_EQ(SuiteWorld::links(), world.before);
  });
}

TEST_P(DriverSuite, WhatItDoesNotKnowIsRefused) {
  in_new_netns([] {
    SuiteWorld world;
    NetworkConfig config = wanted();
    config.options["com.docker.network.colour"] = "red";
    EXPECT_EQ(world.driver->plan_network(config).error().kind(), ErrorKind::invalid);
    config = wanted();
    config.pools[0].gateway = ip("192.0.2.1");
    EXPECT_EQ(world.driver->plan_network(config).error().kind(), ErrorKind::invalid);
    config = wanted();
    config.ipv4 = false;
    EXPECT_EQ(world.driver->plan_network(config).error().kind(), ErrorKind::invalid);
    const NetworkConfig first = world.add_network(wanted());
    auto second = world.driver->plan_network(wanted());  // of the same subnet
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind(), ErrorKind::conflict);
    world.release_all();
    EXPECT_EQ(SuiteWorld::links(), world.before);
  });
}

INSTANTIATE_TEST_SUITE_P(
    Drivers, DriverSuite,
    ::testing::Values(
        Kind{"bridge", "bridge", {{"com.docker.network.bridge.name", "suite0"}}, false},
        Kind{"macvlan_bridge", "macvlan", {{"parent", "outer"}}, true},
        Kind{"macvlan_private",
             "macvlan",
             {{"parent", "outer"}, {"macvlan_mode", "private"}},
             true,
             false},
        Kind{"macvlan_vepa",
             "macvlan",
             {{"parent", "outer"}, {"macvlan_mode", "vepa"}},
             true,
             false},
        Kind{"macvlan_passthru",
             "macvlan",
             {{"parent", "outer"}, {"macvlan_mode", "passthru"}},
             true,
             false,
             true}),
    [](const auto& kind) { return std::string(kind.param.name); });

NetworkConfig on_parent(const std::string& parent, const char* subnet,
                        const char* mode = "bridge") {
  NetworkConfig config;
  config.id = new_id();
  config.name = "on-" + parent;
  config.driver = "macvlan";
  config.options = {{"parent", parent}, {"macvlan_mode", mode}};
  IpamPool pool;
  pool.subnet = *Cidr::parse(subnet);
  config.pools.push_back(pool);
  return config;
}

bool no_vlans() {
  return output_of("ip link add link outer name probe.9 type vlan id 9").find("Unknown device") !=
             std::string::npos ||
         ::system("ip link delete probe.9") != 0;
}

class MacvlanWorld : public World {
 public:
  MacvlanWorld() { driver = *system->driver("macvlan"); }
  std::string refused(const NetworkConfig& config) {
    auto plan = driver->plan_network(config);
    return plan ? "" : plan.error().message();
  }
};

TEST(Macvlan, AParentWithANumberIsMadeAsAVlanAndGoesWithItsNetwork) {
  in_new_netns([] {
    MacvlanWorld world;
    UniqueFd neighbour = make_neighbour();
    if (no_vlans()) GTEST_SKIP() << "this kernel has no VLANs";
    const NetworkConfig network = world.add_network(on_parent("outer.50", "10.66.0.0/24"));
    EXPECT_THAT(output_of("ip -d link show outer.50"), HasSubstr("vlan protocol 802.1Q id 50"));
    inside(neighbour.get(), [] {
      return output_of(
          "ip link add link eth0 name eth0.50 type vlan id 50; ip addr add 10.66.0.1/24 dev "
          "eth0.50; ip link set eth0.50 up");
    });
    auto a = world.start(network);
    ASSERT_OK(a);
    Server outside(neighbour.get(), 80);
    EXPECT_EQ(ask(a->netns.get(), "10.66.0.1", 80), a->address());
    EXPECT_THAT(world.refused(on_parent("outer.50", "10.67.0.0/24")),
                HasSubstr("was made for another network"));
    world.release_all();
    EXPECT_THAT(output_of("ip link"), Not(HasSubstr("outer.50")));
  });
}

TEST(Macvlan, AVlanThatIsThereStays) {
  in_new_netns([] {
    MacvlanWorld world;
    UniqueFd neighbour = make_neighbour();
    if (no_vlans()) GTEST_SKIP() << "this kernel has no VLANs";
    output_of("ip link add link outer name outer.51 type vlan id 51; ip link set outer.51 up");
    world.add_network(on_parent("outer.51", "10.66.0.0/24"));
    world.add_network(on_parent("outer.51", "10.67.0.0/24"));  // and is shared
    world.release_all();
    EXPECT_THAT(output_of("ip link"), HasSubstr("outer.51"));
  });
}

TEST(Macvlan, WhatCannotBeAParentIsRefused) {
  in_new_netns([] {
    MacvlanWorld world;
    UniqueFd neighbour = make_neighbour();
    const char* subnet = "10.66.0.0/24";
    NetworkConfig none = on_parent("outer", subnet);
    none.options.erase("parent");
    EXPECT_THAT(world.refused(none), HasSubstr("-o parent=INTERFACE"));
    EXPECT_THAT(world.refused(on_parent("absent0", subnet)),
                HasSubstr("parent interface absent0 was not found"));
    EXPECT_THAT(world.refused(on_parent("absent0.7", subnet)),
                HasSubstr("parent interface absent0 was not found"));
    EXPECT_THAT(world.refused(on_parent("outer.4095", subnet)), HasSubstr("was not found"));
    EXPECT_THAT(world.refused(on_parent("outer", subnet, "switch")),
                HasSubstr("requested macvlan mode 'switch' is not valid"));
    EXPECT_EQ(world.refused(on_parent("outer", subnet, "passthru")), "");
    world.add_network(on_parent("outer", subnet));
    EXPECT_THAT(world.refused(on_parent("outer", "10.67.0.0/24", "passthru")),
                HasSubstr("is the parent of network on-outer already"));
    world.release_all();
  });
}

}  // namespace
}  // namespace gantry::drivers

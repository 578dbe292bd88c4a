// Networks through the engine, in a network namespace of the test's own.
#include "daemon/networks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/id.h"
#include "daemon/events.h"
#include "daemon/network_ports.h"
#include "daemon/options.h"
#include "drivers/network/network_system.h"
#include "drivers/network/test_namespaces.h"
#include "engine/engine.h"

namespace gantry::daemon {
namespace {

using drivers::testing::in_new_netns;
using drivers::testing::make_netns;
using drivers::testing::output_of;
using ::testing::HasSubstr;
using ::testing::Not;

#define ASSERT_OK(expression)                                            \
  do {                                                                   \
    auto&& assert_ok_status = (expression);                              \
    ASSERT_TRUE(assert_ok_status) << assert_ok_status.error().message(); \
  } while (0)

// A start and an end of a container, as far as the network goes.
struct Start {
  static constexpr std::string_view kName = "test.start";
  struct Input {
    Networks* networks;
    ContainerRecord* record;
    int netns;
    bool fail_after_join = false;
  };
  using Output = bool;
};
struct End {
  static constexpr std::string_view kName = "test.end";
  using Input = std::pair<Networks*, ContainerRecord*>;
  using Output = bool;
};

class World {
 public:
  explicit World(std::string directory = ::testing::TempDir() + "networks-" + random_hex(6))
      : directory_(std::move(directory)) {
    std::filesystem::create_directories(directory_);
    open();
  }
  ~World() {
    close();
    std::filesystem::remove_all(directory_);
  }
  void open() {
    database = *graph::Database::open(directory_ + "/graph.db");
    auto created = engine::Engine::create(
        *database, {.owner_exists = [](std::string_view) { return Result<bool>(true); }});
    ASSERT_OK(created);
    engine = std::move(*created);
    auto opened = Networks::open(*engine, events, options, "0123456789ab");
    ASSERT_OK(opened);
    networks = std::move(*opened);
    engine->add<Start>(
        [](engine::JobContext& job, Start::Input in) -> Result<bool> {
          SandboxPlan plan = TRY(in.networks->plan(*in.record));
          TRY(job.take(plan.rows));
          plan.keep();
          TRY(in.networks->join(plan, in.netns));
          if (in.fail_after_join) return internal("asked to fail");
          in.record->networks = plan.settings;
          in.record->ports = plan.ports;
          in.networks->connected(*in.record);
          return true;
        },
        engine::JobClass::container);
    engine->add<End>(
        [](engine::JobContext& job, End::Input in) -> Result<bool> {
          TRY(job.release_owned("container:" + in.second->id, kNetworkKinds));
          in.first->disconnected(*in.second);
          return true;
        },
        engine::JobClass::control);
    ASSERT_OK(engine->reconcile(engine::ReconcileMode::repair));
    ASSERT_OK(engine->run<NetworkRestore>({}));
  }
  void close() {
    if (engine) engine->shutdown(std::chrono::seconds(5));
    networks.reset();
    engine.reset();
    database.reset();
  }
  ContainerRecord container(const std::string& name, const std::string& mode = "") {
    ContainerRecord record;
    record.id = new_id();
    record.name = name;
    record.config.Hostname = name;
    record.host_config.NetworkMode = mode;
    return record;
  }

  Options options;
  Events events;
  std::unique_ptr<graph::Database> database;
  std::unique_ptr<engine::Engine> engine;
  std::unique_ptr<Networks> networks;

 private:
  std::string directory_;
};

void publish(ContainerRecord& record, const char* port, const char* host_port) {
  record.host_config.PortBindings[port] = std::vector<api::PortBinding>{{"", host_port}};
}

TEST(PortRequests, AreReadAsDockerWritesThem) {
  api::ContainerConfig config;
  api::HostConfig host;
  host.PortBindings["80/tcp"] =
      std::vector<api::PortBinding>{{"127.0.0.1", "8080"}, {"", "9000-9010"}};
  host.PortBindings["53/udp"] = std::nullopt;
  auto requests = read_port_requests(config, host);
  ASSERT_OK(requests);
  ASSERT_EQ(requests->size(), 3u);
  EXPECT_EQ((*requests)[0].protocol, drivers::Protocol::udp);
  EXPECT_EQ((*requests)[0].host_port, 0);
  EXPECT_EQ((*requests)[1].host_ip->to_string(), "127.0.0.1");
  EXPECT_EQ((*requests)[2].host_port_end, 9010);
  config.ExposedPorts["443/tcp"];
  EXPECT_EQ(read_port_requests(config, host)->size(), 3u);
  host.PublishAllPorts = true;
  EXPECT_EQ(read_port_requests(config, host)->size(), 4u);
  for (const char* bad : {"x", "70000", "9-8", "-"}) {
    host.PortBindings = {{"80/tcp", std::vector<api::PortBinding>{{"", bad}}}};
    EXPECT_FALSE(read_port_requests(config, host)) << bad;
  }
  host.PortBindings = {{"80/icmp", std::nullopt}};
  EXPECT_FALSE(read_port_requests(config, host));
}

TEST(Networks, DefaultsStandAndAreShownAsDockerShowsThem) {
  in_new_netns([] {
    World world;
    auto all = world.networks->list({});
    ASSERT_OK(all);
    EXPECT_EQ(all->size(), 3u);
    auto bridge = world.networks->inspect("bridge");
    ASSERT_OK(bridge);
    EXPECT_EQ(bridge->at("Driver"), "bridge");
    EXPECT_EQ(bridge->at("IPAM").at("Config").at(0).at("Subnet"), "172.17.0.0/16");
    EXPECT_EQ(bridge->at("IPAM").at("Config").at(0).at("Gateway"), "172.17.0.1");
    EXPECT_EQ(bridge->at("Options").at("com.docker.network.bridge.name"), "gantry0");
    EXPECT_EQ(world.networks->inspect("none")->at("Driver"), "null");
    EXPECT_EQ(world.networks->list({{"driver", {"host"}}})->size(), 1u);
    EXPECT_EQ(world.networks->list({{"type", {"custom"}}})->size(), 0u);
    EXPECT_FALSE(world.networks->list({{"colour", {"red"}}}));
    EXPECT_EQ(world.networks->inspect("nope").error().message(), "network nope not found");
    ASSERT_OK(world.networks->take_down());
    EXPECT_EQ(output_of("nft list tables"), "");
    EXPECT_THAT(output_of("ip -o link"), Not(HasSubstr("gantry0")));
  });
}

TEST(Networks, AContainerComesAndGoes) {
  in_new_netns([] {
    World world;
    ContainerRecord web = world.container("web");
    publish(web, "80/tcp", "8080");
    UniqueFd netns = make_netns();
    ASSERT_OK(world.engine->run<Start>({world.networks.get(), &web, netns.get()}));
    EXPECT_EQ(web.networks.at("bridge").IPAddress, "172.17.0.2");
    EXPECT_EQ(web.networks.at("bridge").Gateway, "172.17.0.1");
    EXPECT_EQ(web.ports.at("80/tcp")->at(0).HostPort, "8080");
    EXPECT_EQ(web.ports.at("80/tcp")->at(0).HostIp, "0.0.0.0");
    const json::object bridge = *world.networks->inspect("bridge");
    EXPECT_EQ(bridge.at("Containers").at(web.id).at("IPv4Address"), "172.17.0.2/16");

    ContainerRecord other = world.container("other");
    publish(other, "81/tcp", "8080");
    auto refused = world.networks->plan(other);
    ASSERT_FALSE(refused);
    EXPECT_THAT(
        refused.error().message(),
        HasSubstr("failed to set up container networking: driver failed programming external "
                  "connectivity on endpoint other ("));
    EXPECT_THAT(refused.error().message(),
                HasSubstr("): Bind for 0.0.0.0:8080 failed: port is already allocated"));

    ASSERT_OK(world.engine->run<End>({world.networks.get(), &web}));
    ASSERT_TRUE(world.engine->drain_releases(std::chrono::seconds(10)));
    EXPECT_THAT(output_of("ip -o link"), Not(HasSubstr("gv0123")));
    EXPECT_THAT(output_of("nft list ruleset"), Not(HasSubstr("8080")));
    EXPECT_EQ(world.networks->endpoints(), 0u);
    EXPECT_EQ(world.engine->resources().owned_by("container:" + web.id)->size(), 0u);
    ASSERT_OK(world.networks->take_down());
  });
}

TEST(Networks, NamesFollowWhoIsConnected) {
  in_new_netns([] {
    World world;
    std::vector<std::string> changed;
    world.networks->on_names_changed([&](const std::string& id) { changed.push_back(id); });
    NetworkCreate::Input input;
    input.Name = "app";
    input.Internal = true;
    input.ipam.Config.push_back({.Subnet = "10.77.0.0/24"});
    const std::string id = world.engine->run<NetworkCreate>(input)->Id;
    EXPECT_EQ(world.networks->names_of(id), nullptr);
    ContainerRecord web = world.container("web", "app"), db = world.container("db", "app");
    web.config.Hostname = "www";
    web.networks["app"].Aliases = {"front", "web"};
    web.networks["app"].Links = {"db:database"};
    web.networks["bridge"];
    UniqueFd netns = make_netns(), other = make_netns();
    ASSERT_OK(world.engine->run<Start>({world.networks.get(), &web, netns.get()}));
    ASSERT_OK(world.engine->run<Start>({world.networks.get(), &db, other.get()}));

    const SharedNetworkNames app = world.networks->names_of(id);
    ASSERT_NE(app, nullptr);
    EXPECT_EQ(app->name, "app");
    EXPECT_TRUE(app->internal);
    EXPECT_TRUE(app->user_defined);
    ASSERT_EQ(app->endpoints.size(), 2u);
    const EndpointNames& endpoint = *app->endpoints.at(web.id);
    EXPECT_EQ(endpoint.names,
              (std::vector<std::string>{"web", "front", web.id.substr(0, 12), "www"}));
    EXPECT_EQ(web.networks.at("app").DNSNames, endpoint.names);
    EXPECT_EQ(endpoint.links,
              (std::vector<std::pair<std::string, std::string>>{{"db", "database"}}));
    EXPECT_EQ(endpoint.ipv4->to_string(), "10.77.0.2/24");
    EXPECT_FALSE(endpoint.ipv6);
    auto on = world.networks->networks_of(web.id);
    ASSERT_EQ(on.size(), 2u);
    EXPECT_EQ(on[0]->name, "app");
    EXPECT_EQ(on[1]->name, "bridge");
    EXPECT_FALSE(on[1]->user_defined);
    EXPECT_EQ(std::count(changed.begin(), changed.end(), id), 2);

    ASSERT_OK(world.engine->run<End>({world.networks.get(), &web}));
    EXPECT_EQ(app->endpoints.size(), 2u);  // what was given out does not change
    EXPECT_EQ(world.networks->names_of(id)->endpoints.size(), 1u);
    EXPECT_EQ(world.networks->networks_of(web.id).size(), 0u);
    EXPECT_EQ(std::count(changed.begin(), changed.end(), id), 3);
    ASSERT_OK(world.engine->run<End>({world.networks.get(), &db}));
    EXPECT_EQ(world.networks->names_of(id), nullptr);
    ASSERT_OK(world.networks->take_down());
  });
}

TEST(Networks, AFailedStartLeavesNothing) {
  in_new_netns([] {
    World world;
    ContainerRecord web = world.container("web");
    publish(web, "80/tcp", "8080");
    UniqueFd netns = make_netns();
    EXPECT_FALSE(world.engine->run<Start>({world.networks.get(), &web, netns.get(), true}));
    ASSERT_TRUE(world.engine->drain_releases(std::chrono::seconds(10)));
    EXPECT_THAT(output_of("ip -o link"), Not(HasSubstr("gv0123")));
    EXPECT_THAT(output_of("nft list ruleset"), Not(HasSubstr("8080")));
    ContainerRecord again = world.container("again");
    publish(again, "80/tcp", "8080");
    UniqueFd second = make_netns();
    ASSERT_OK(world.engine->run<Start>({world.networks.get(), &again, second.get()}));
    ASSERT_OK(world.engine->run<End>({world.networks.get(), &again}));
    ASSERT_OK(world.networks->take_down());
  });
}

TEST(Networks, UserDefinedNetworksAreMadeUsedAndRemoved) {
  in_new_netns([] {
    World world;
    NetworkCreate::Input input;
    input.Name = "app";
    input.ipam.Config.push_back({.Subnet = "10.77.0.0/24", .IPRange = "10.77.0.128/25"});
    input.Labels["tier"] = "web";
    auto created = world.engine->run<NetworkCreate>(input);
    ASSERT_OK(created);
    EXPECT_EQ(created->Id.size(), 64u);
    EXPECT_EQ(world.networks->inspect("app")->at("Id"), json::value(json::encode(created->Id)));
    EXPECT_EQ(world.networks->list({{"label", {"tier=web"}}})->size(), 1u);
    EXPECT_EQ(world.engine->run<NetworkCreate>(input).error().message(),
              "network with name app already exists");
    NetworkCreate::Input overlapping;
    overlapping.Name = "other";
    overlapping.ipam.Config.push_back({.Subnet = "10.77.0.64/26"});
    EXPECT_THAT(world.engine->run<NetworkCreate>(overlapping).error().message(),
                HasSubstr("Pool overlaps with other one on this address space"));

    ContainerRecord web = world.container("web", "app");
    web.networks["app"].IPAMConfig = api::EndpointIpamConfig{.IPv4Address = "10.77.0.9"};
    web.networks["bridge"];
    UniqueFd netns = make_netns();
    ASSERT_OK(world.engine->run<Start>({world.networks.get(), &web, netns.get()}));
    EXPECT_EQ(web.networks.at("app").IPAddress, "10.77.0.9");
    EXPECT_EQ(web.networks.at("bridge").IPAddress, "172.17.0.2");
    std::string seen;
    ASSERT_OK(inside_netns(netns.get(), [&]() -> Status {
      seen = output_of("ip -o address; ip route");
      return {};
    }));
    EXPECT_THAT(seen, HasSubstr("eth0    inet 10.77.0.9/24"));
    EXPECT_THAT(seen, HasSubstr("eth1    inet 172.17.0.2/16"));
    EXPECT_THAT(seen, Not(HasSubstr("fe80")));  // no IPv6 where the network has none
    EXPECT_THAT(seen, HasSubstr("default via 10.77.0.128 dev eth0"));

    auto busy = world.engine->run<NetworkRemove>({"app"});
    ASSERT_FALSE(busy);
    EXPECT_THAT(busy.error().message(),
                HasSubstr("network app has active endpoints (name:\"web\""));
    ASSERT_OK(world.engine->run<End>({world.networks.get(), &web}));
    ASSERT_OK(world.engine->run<NetworkRemove>({created->Id.substr(0, 8)}));
    EXPECT_FALSE(world.networks->inspect("app"));
    ASSERT_TRUE(world.engine->drain_releases(std::chrono::seconds(10)));
    EXPECT_THAT(output_of("ip -o link"), Not(HasSubstr("br-")));
    EXPECT_EQ(world.engine->run<NetworkRemove>({"bridge"}).error().message(),
              "bridge is a pre-defined network and cannot be removed");
    ASSERT_OK(world.networks->take_down());
  });
}

TEST(Networks, RestartKeepsNetworksAndRunningContainersPorts) {
  in_new_netns([] {
    World world;
    NetworkCreate::Input input;
    input.Name = "app";
    ASSERT_OK(world.engine->run<NetworkCreate>(input));
    ContainerRecord web = world.container("web");
    publish(web, "80/tcp", "8080");
    UniqueFd netns = make_netns();
    ASSERT_OK(world.engine->run<Start>({world.networks.get(), &web, netns.get()}));
    const std::string id(world.networks->inspect("app")->at("Id").as_string());
    world.close();
    output_of("ip link delete br-" + id.substr(0, 12));  // as after a reboot
    world.open();
    EXPECT_EQ(world.networks->inspect("app")->at("Id"), json::value(json::encode(id)));
    EXPECT_THAT(output_of("ip -o link"), HasSubstr("br-" + id.substr(0, 12)));
    EXPECT_EQ(world.engine->resources().get("net.bridge", "br-" + id.substr(0, 12))->owner,
              "network:" + id);
    EXPECT_THAT(output_of("nft list ruleset"), HasSubstr("172.17.0.2 . 80"));
    ContainerRecord other = world.container("other");
    publish(other, "81/tcp", "8080");
    EXPECT_FALSE(world.networks->plan(other));
    ASSERT_OK(world.engine->run<End>({world.networks.get(), &web}));
    EXPECT_TRUE(world.networks->plan(other));
    ASSERT_OK(world.engine->run<NetworkPrune>({}));
    EXPECT_FALSE(world.networks->inspect("app"));
    ASSERT_OK(world.networks->take_down());
  });
}

TEST(Networks, ModesWithoutABridge) {
  in_new_netns([] {
    World world;
    ContainerRecord record = world.container("c", "host");
    auto host = world.networks->plan(record);
    ASSERT_OK(host);
    EXPECT_EQ(host->mode, SandboxMode::host);
    EXPECT_TRUE(host->rows.empty());
    record.host_config.NetworkMode = "none";
    UniqueFd netns = make_netns();
    ASSERT_OK(world.engine->run<Start>({world.networks.get(), &record, netns.get()}));
    std::string seen;
    ASSERT_OK(inside_netns(netns.get(), [&]() -> Status {
      seen = output_of("ip -o link");
      return {};
    }));
    EXPECT_THAT(seen, HasSubstr("LOOPBACK,UP"));
    EXPECT_THAT(seen, Not(HasSubstr("eth0")));
    record.host_config.NetworkMode = "container:other";
    auto shared = world.networks->plan(record);
    ASSERT_FALSE(shared);  // it is connected to "none" by now
    record.networks.clear();
    record.config.Hostname.clear();
    shared = world.networks->plan(record);
    ASSERT_OK(shared);
    EXPECT_EQ(shared->shared_with, "other");
    publish(record, "80/tcp", "8080");
    EXPECT_THAT(world.networks->plan(record).error().message(), HasSubstr("conflicting options"));
    record = world.container("d", "missing");
    EXPECT_EQ(world.networks->plan(record).error().message(),
              "failed to set up container networking: network missing not found");
    ASSERT_OK(world.networks->take_down());
  });
}

TEST(Networks, FilesNameTheContainer) {
  in_new_netns([] {
    World world;
    ContainerRecord record = world.container("web");
    record.host_config.ExtraHosts = {"db:10.0.0.9", "me:host-gateway"};
    record.host_config.Dns = {"192.0.2.53"};
    auto plan = world.networks->plan(record);
    ASSERT_OK(plan);
    EXPECT_THAT(plan->hosts, HasSubstr("10.0.0.9\tdb\n172.17.0.1\tme\n172.17.0.2\tweb\n"));
    EXPECT_EQ(plan->hostname, "web\n");
    EXPECT_THAT(plan->resolv_conf, HasSubstr("nameserver 192.0.2.53\n"));
    ASSERT_OK(world.networks->take_down());
  });
}

#ifdef GANTRY_FAILPOINTS
// A daemon that starts a container and is killed on the way; run as a process of its own by the
// test below.
TEST(NetworksCrash, DISABLED_Daemon) {
  World world(::getenv("GANTRY_TEST_DIRECTORY"));
  ContainerRecord web = world.container("web");
  publish(web, "80/tcp", "8080");
  UniqueFd netns = make_netns();
  ASSERT_OK(world.engine->run<Start>({world.networks.get(), &web, netns.get()}));
}

class NetworksCrash : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Networks, NetworksCrash,
                         ::testing::Values("network.bridge", "network.firewall",
                                           "network.firewall_bridge", "network.veth",
                                           "network.configure", "network.publish"));

TEST_P(NetworksCrash, TheNextDaemonFindsAndReleasesWhatWasBegun) {
  in_new_netns([] {
    const std::string directory = ::testing::TempDir() + "networks-" + random_hex(6);
    const std::string daemon = fmt::format(
        "GANTRY_TEST_DIRECTORY={} GANTRY_FAILPOINTS={}=kill {} --gtest_also_run_disabled_tests "
        "--gtest_filter=NetworksCrash.DISABLED_Daemon",
        directory, GetParam(), std::filesystem::read_symlink("/proc/self/exe").string());
    EXPECT_THAT(output_of(daemon), Not(HasSubstr("[       OK ]")));  // it did die
    {
      World world(directory);
      ASSERT_TRUE(world.engine->drain_releases(std::chrono::seconds(10)));
      EXPECT_THAT(output_of("ip -o link"), Not(HasSubstr("gv0123")));
      EXPECT_THAT(output_of("nft list ruleset"), Not(HasSubstr("8080")));
      ContainerRecord again = world.container("again");
      publish(again, "80/tcp", "8080");
      UniqueFd netns = make_netns();
      ASSERT_OK(world.engine->run<Start>({world.networks.get(), &again, netns.get()}));
      ASSERT_OK(world.engine->run<End>({world.networks.get(), &again}));
      ASSERT_TRUE(world.engine->drain_releases(std::chrono::seconds(10)));
      ASSERT_OK(world.networks->take_down());
    }
    EXPECT_EQ(output_of("nft list tables"), "");
    const std::string links = output_of("ip -o link");
    EXPECT_EQ(std::count(links.begin(), links.end(), '\n'), 1) << links;  // loopback
  });
}
#endif

}  // namespace
}  // namespace gantry::daemon

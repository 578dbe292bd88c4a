// Who may ask for what, as containers come and go: the name service with networks of its own, asked
// from inside the containers' namespaces.
#include "daemon/name_service.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <filesystem>
#include <thread>

#include "base/id.h"
#include "base/netlink.h"
#include "base/sys.h"
#include "daemon/events.h"
#include "daemon/options.h"
#include "drivers/network/dns/test_messages.h"
#include "drivers/network/network_system.h"
#include "drivers/network/test_namespaces.h"
#include "engine/engine.h"

namespace gantry::daemon {
namespace {

namespace dns = drivers::dns;
using drivers::testing::in_new_netns;
using drivers::testing::make_netns;

#define ASSERT_OK(expression)                                            \
  do {                                                                   \
    auto&& assert_ok_status = (expression);                              \
    ASSERT_TRUE(assert_ok_status) << assert_ok_status.error().message(); \
  } while (0)

// What a start does up to the program, and then the rest of it.
struct Begin {
  static constexpr std::string_view kName = "test.begin";
  struct Input {
    ContainerRecord* record;
    int netns;
    std::shared_ptr<NameService::Serving>* serving;
  };
  using Output = bool;
};

struct World {
  World() : directory(::testing::TempDir() + "names-" + random_hex(6)) {
    std::filesystem::create_directories(directory);
    options.dns = {"127.0.0.1"};  // the containers' own: nobody is there
    database = *graph::Database::open(directory + "/graph.db");
    auto created = engine::Engine::create(
        *database, {.owner_exists = [](std::string_view) { return Result<bool>(true); }});
    engine = std::move(*created);
    networks = std::move(*Networks::open(*engine, events, options, "0123456789ab"));
    names = std::move(*NameService::create(*networks, options));
    engine->add<Begin>(
        [this](engine::JobContext& job, Begin::Input in) -> Result<bool> {
          SandboxPlan plan = TRY(networks->plan(*in.record));
          TRY(job.take(plan.rows));
          plan.keep();
          TRY(networks->join(plan, in.netns));
          *in.serving = TRY(names->serve(*in.record, plan, in.netns));
          in.record->networks = plan.settings;
          return true;
        },
        engine::JobClass::container);
    EXPECT_TRUE(engine->reconcile(engine::ReconcileMode::repair));
    EXPECT_TRUE(engine->run<NetworkRestore>({}));
    names->begin();
    stop = *sys::eventfd(0);
    thread = std::thread([this] {
      for (;;) {
        pollfd fds[] = {{names->descriptor(), POLLIN, 0}, {stop.get(), POLLIN, 0}};
        if (::poll(fds, 2, -1) < 0) continue;
        if (fds[1].revents) return;
        names->run();
      }
    });
  }
  ~World() {
    const uint64_t one = 1;
    (void)!::write(stop.get(), &one, sizeof one);
    thread.join();
    (void)networks->take_down();
    engine->shutdown(std::chrono::seconds(5));
    names.reset();
    networks.reset();
    engine.reset();
    database.reset();
    std::filesystem::remove_all(directory);
  }
  void network(const std::string& name, const std::string& subnet, bool internal = false) {
    NetworkCreate::Input input;
    input.Name = name;
    input.Internal = internal;
    input.ipam.Config.push_back({.Subnet = subnet});
    ASSERT_OK(engine->run<NetworkCreate>(input));
  }
  ContainerRecord container(const std::string& name, const std::string& network) {
    ContainerRecord record;
    record.id = new_id();
    record.name = name;
    record.host_config.NetworkMode = network;
    record.networks[network];
    return record;
  }

  std::string directory;
  Options options;
  Events events;
  std::unique_ptr<graph::Database> database;
  std::unique_ptr<engine::Engine> engine;
  std::unique_ptr<Networks> networks;
  std::unique_ptr<NameService> names;
  UniqueFd stop;
  std::thread thread;
};

// "10.70.0.2", "none" (no such record), "error" (SERVFAIL, and so on) or "silence".
std::string ask(int netns, std::string_view name) {
  std::string out = "silence";
  (void)inside_netns(netns, [&]() -> Status {
    UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in server{};
    server.sin_family = AF_INET;
    server.sin_port = htons(53);
    ::inet_pton(AF_INET, dns::kServerAddress, &server.sin_addr);
    const std::string bytes = dns::testing::query(name, dns::type::kA);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&server), sizeof server) == -1 ||
        ::send(fd.get(), bytes.data(), bytes.size(), 0) == -1 ||
        !sys::poll_one(fd.get(), POLLIN, 10'000).value_or(false))
      return {};
    char buffer[512];
    const ssize_t got = ::recv(fd.get(), buffer, sizeof buffer, 0);
    const std::string_view answer(buffer, got > 0 ? static_cast<size_t>(got) : 0);
    dns::Message message;
    if (dns::read_message(answer, dns::Expect::response, message) != dns::Reading::whole) return {};
    out = message.rcode != 0 ? "error" : "none";
    for (const dns::Record& record : message.records)
      out = drivers::IpAddress::from_bytes(drivers::IpFamily::v4, answer.data() + record.data)
                .to_string();
    return {};
  });
  return out;
}

void up(int netns) {
  auto socket = NetlinkSocket::open_in(NETLINK_ROUTE, netns);
  ASSERT_TRUE(socket);
  ASSERT_OK(drivers::set_loopback_up(*socket));
}

TEST(NameService, NamesFollowTheContainers) {
  in_new_netns([] {
    World world;
    world.network("app", "10.70.0.0/24");
    world.network("closed", "10.71.0.0/24", true);
    ContainerRecord web = world.container("web", "app"), db = world.container("db", "closed"),
                    plain = world.container("plain", "bridge");
    web.networks["app"].Aliases = {"www"};
    web.networks["closed"].Links = {"db:data"};
    UniqueFd in_web = make_netns(), in_db = make_netns(), in_plain = make_netns();
    up(in_web.get());
    up(in_db.get());
    std::shared_ptr<NameService::Serving> web_serving, db_serving, none;

    ASSERT_OK(world.engine->run<Begin>({&plain, in_plain.get(), &none}));
    EXPECT_EQ(none, nullptr) << "the default bridge has no names";
    ASSERT_OK(world.engine->run<Begin>({&web, in_web.get(), &web_serving}));
    ASSERT_NE(web_serving, nullptr);
    EXPECT_EQ(web_serving->sockets().size(), 2u);
    // Before its program runs, and before anybody hears that it is connected.
    EXPECT_EQ(ask(in_web.get(), "web.app"), "10.70.0.2");
    EXPECT_EQ(ask(in_web.get(), "WWW"), "10.70.0.2");
    world.networks->connected(web);
    web_serving->keep();
    EXPECT_EQ(ask(in_web.get(), "www"), "10.70.0.2");
    EXPECT_EQ(ask(in_web.get(), "data"), "error");

    ASSERT_OK(world.engine->run<Begin>({&db, in_db.get(), &db_serving}));
    world.networks->connected(db);
    db_serving->keep();
    const std::string address = db.networks.at("closed").IPAddress;
    EXPECT_EQ(ask(in_web.get(), "db"), address);
    EXPECT_EQ(ask(in_web.get(), "data"), address);
    EXPECT_EQ(ask(in_db.get(), "data"), "error") << "a link is its container's own";
    EXPECT_EQ(ask(in_db.get(), "www"), "error") << "an alias is of one network";
    EXPECT_EQ(ask(in_db.get(), "web.app"), "error");
    EXPECT_EQ(ask(in_db.get(), "web"), web.networks.at("closed").IPAddress);

    web.name = "site";
    world.networks->connected(web);
    EXPECT_EQ(ask(in_db.get(), "site"), web.networks.at("closed").IPAddress);
    EXPECT_EQ(ask(in_db.get(), "web"), "error");

    EXPECT_EQ(world.names->counts().served, 2u);
    world.names->end(db.id);
    world.networks->disconnected(db);
    EXPECT_EQ(ask(in_web.get(), "db"), "error");
    world.names->end(web.id);
    world.networks->disconnected(web);
    EXPECT_EQ(world.names->counts().served, 0u);
  });
}

TEST(NameService, AStartThatFailsLeavesNoNames) {
  in_new_netns([] {
    World world;
    world.network("app", "10.70.0.0/24");
    ContainerRecord web = world.container("web", "app"), other = world.container("other", "app");
    UniqueFd in_web = make_netns(), in_other = make_netns();
    up(in_other.get());
    std::shared_ptr<NameService::Serving> serving, failing;
    ASSERT_OK(world.engine->run<Begin>({&other, in_other.get(), &serving}));
    ASSERT_OK(world.engine->run<Begin>({&web, in_web.get(), &failing}));
    // One that comes meanwhile does not take the names of who is being started.
    world.networks->connected(other);
    serving->keep();
    EXPECT_EQ(ask(in_other.get(), "web"), web.networks.at("app").IPAddress);
    failing.reset();
    EXPECT_EQ(ask(in_other.get(), "web"), "error");
    EXPECT_EQ(world.names->counts().served, 1u);
  });
}

}  // namespace
}  // namespace gantry::daemon

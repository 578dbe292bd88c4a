// Other firewalls on the same host.
#include "drivers/network/foreign_forward.h"

#include "drivers/network/test_world.h"

namespace gantry::drivers {
namespace {

constexpr const char* kDropping =
    "nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; "
    "policy drop; }'";

// Within a second, as is promised.
bool soon(const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (!holds())
    if (std::chrono::steady_clock::now() > deadline) return false;
  return true;
}
bool passes() {
  return output_of("nft list chain ip filter FORWARD").find("gantry0") != std::string::npos;
}

TEST(ForeignForward, WhatAReloadOfAnotherFirewallDropsIsPutBackWithinASecond) {
  in_new_netns([] {
    output_of(kDropping);
    World world;
    UniqueFd neighbour = make_neighbour();
    auto a = world.start(world.network);
    ASSERT_OK(a);
    Server outside(neighbour.get(), 80);
    EXPECT_EQ(ask(a->netns.get(), "203.0.113.2", 80), "203.0.113.1");
    output_of("nft flush chain ip filter FORWARD");
    EXPECT_TRUE(soon(passes));
    output_of("nft delete table ip filter");
    output_of(kDropping);
    EXPECT_TRUE(soon(passes));
    EXPECT_EQ(ask(a->netns.get(), "203.0.113.2", 80), "203.0.113.1");
    world.release_all();
    EXPECT_FALSE(passes());
    output_of("nft flush chain ip filter FORWARD");  // nothing is put back for what has gone
    EXPECT_FALSE(soon(passes));
  });
}

TEST(ForeignForward, AFirewallThatBeginsToDropLaterIsPassedToo) {
  in_new_netns([] {
    World world;
    output_of(kDropping);
    EXPECT_TRUE(soon(passes));
    world.release_all();
    EXPECT_FALSE(passes());
  });
}

TEST(ForeignForward, InternalNetworksAreNotLetPass) {
  in_new_netns([] {
    World world;
    NetworkConfig config;
    config.name = "inner";
    config.internal = true;
    config.options = {{"com.docker.network.bridge.name", "inner0"}};
    world.add_network(config);
    output_of(kDropping);
    EXPECT_TRUE(soon(passes));
    EXPECT_THAT(output_of("nft list chain ip filter FORWARD"), Not(HasSubstr("inner0")));
    world.release_all();
  });
}

TEST(ForeignForward, AChainOfAnotherNameThatDropsIsTold) {
  in_new_netns([] {
    World world;
    EXPECT_TRUE(world.system->obstacles()->empty());
    output_of(
        "nft 'add table inet filter; add chain inet filter forward { type filter hook forward "
        "priority 0; policy drop; }'");
    const auto obstacles = world.system->obstacles();
    ASSERT_OK(obstacles);
    ASSERT_EQ(obstacles->size(), 1u);
    EXPECT_THAT((*obstacles)[0], HasSubstr("the nftables chain inet filter forward drops"));
    EXPECT_THAT((*obstacles)[0], HasSubstr("nft insert rule inet filter forward iifname gantry0"));
    world.release_all();
  });
}

TEST(ForeignForward, WhatLegacyIptablesDropsIsToldWithTheCommandThatMendsIt) {
  in_new_netns([] {
    if (::system("iptables-legacy -P FORWARD DROP 2>/dev/null") != 0)
      GTEST_SKIP() << "no legacy iptables here";
    World world;
    const auto obstacles = world.system->obstacles();
    ASSERT_OK(obstacles);
    ASSERT_EQ(obstacles->size(), 1u);
    EXPECT_THAT((*obstacles)[0], HasSubstr("`iptables-legacy -I FORWARD -i gantry0 -j ACCEPT`"));
    // Only what accepts everything both ways is the cure.
    output_of("iptables-legacy -I FORWARD -i gantry0 -j ACCEPT");
    output_of("iptables-legacy -I FORWARD -o gantry0 -p tcp -j ACCEPT");
    EXPECT_EQ(world.system->obstacles()->size(), 1u);
    output_of("iptables-legacy -I FORWARD -o gantry0 -j ACCEPT");
    EXPECT_TRUE(world.system->obstacles()->empty());
    world.release_all();
  });
}

}  // namespace
}  // namespace gantry::drivers

// The administrator's firewall and published ports: what is read, what is said of a port, and what
// packets do.
#include "drivers/network/host_policy.h"

#include "base/fs.h"
#include "drivers/network/firewall.h"
#include "drivers/network/test_world.h"
#include "drivers/network/ufw.h"

namespace gantry::drivers {
namespace {

// As ufw 0.36 writes them.
constexpr std::string_view kUserRules = R"(*filter
:ufw-user-input - [0:0]
### RULES ###

### tuple ### allow tcp 80,443 0.0.0.0/0 any 0.0.0.0/0 in
-A ufw-user-input -p tcp -m multiport --dports 80,443 -j ACCEPT

### tuple ### deny any any 0.0.0.0/0 any 203.0.113.7 in comment=626164
### tuple ### allow_log udp 6000:6007 203.0.113.1 any 0.0.0.0/0 in
### tuple ### limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in
### tuple ### allow any 8080 0.0.0.0/0 any 203.0.113.0/24 in_eth0
### tuple ### route:allow tcp 81 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### reject tcp 25 0.0.0.0/0 any 0.0.0.0/0 out
### tuple ### allow esp any 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### reject tcp 8080 0.0.0.0/0 any 0.0.0.0/0 in
)";

TEST(Ufw, ReadsItsRulesForWhatComesIn) {
  const auto rules = read_ufw_rules(kUserRules);
  ASSERT_OK(rules);
  ASSERT_EQ(rules->size(), 6u);
  EXPECT_EQ((*rules)[0].ports, (std::vector<PortRange>{{80, 80}, {443, 443}}));
  EXPECT_EQ((*rules)[0].text, "allow 80,443/tcp");
  EXPECT_EQ((*rules)[1].action, PolicyAction::drop);
  EXPECT_EQ((*rules)[1].text, "deny from 203.0.113.7/32");
  EXPECT_EQ((*rules)[2].ports, (std::vector<PortRange>{{6000, 6007}}));
  EXPECT_EQ((*rules)[2].destination->to_string(), "203.0.113.1/32");
  EXPECT_EQ((*rules)[3].text, "limit 22/tcp");
  EXPECT_EQ((*rules)[4].interface, "eth0");
  EXPECT_EQ((*rules)[5].action, PolicyAction::reject);
}

TEST(Ufw, WhatItDoesNotUnderstandIsAnError) {
  for (const char* line : {"### tuple ### allow tcp", "### tuple ### permit tcp 80 any any any in",
                           "### tuple ### allow tcp 80:x any any any in",
                           "### tuple ### allow tcp 80 10.0.0.0/99 any any in",
                           "### tuple ### allow tcp 80 any any any sideways"})
    EXPECT_FALSE(read_ufw_rules(line)) << line;
}

TEST(Ufw, CountsOnlyWhenItIsEnabled) {
  const std::string root = "/tmp/gantry-ufw-" + random_hex(8);
  ASSERT_EQ(::system(("mkdir -p " + root + "/etc/ufw " + root + "/etc/default").c_str()), 0);
  EXPECT_FALSE(*read_ufw(root));  // not installed
  ASSERT_OK(fs::write_file(root + "/etc/ufw/ufw.conf", "# ENABLED=yes\nENABLED=no\n"));
  EXPECT_FALSE(*read_ufw(root));
  ASSERT_OK(fs::write_file(root + "/etc/ufw/ufw.conf", "ENABLED=yes\n"));
  ASSERT_OK(
      fs::write_file(root + "/etc/default/ufw", "IPV6=yes\nDEFAULT_INPUT_POLICY=\"REJECT\"\n"));
  ASSERT_OK(fs::write_file(root + "/etc/ufw/user.rules", std::string(kUserRules)));
  ASSERT_OK(fs::write_file(root + "/etc/ufw/user6.rules",
                           "### tuple ### allow tcp 80 ::/0 any ::/0 in\n"));
  const auto policy = read_ufw(root);
  ASSERT_OK(policy);
  ASSERT_TRUE(*policy);
  EXPECT_EQ((*policy)->otherwise, PolicyAction::reject);
  EXPECT_EQ((*policy)->rules4.size(), 6u);
  EXPECT_EQ((*policy)->rules6.size(), 1u);
  ASSERT_EQ(::system(("rm -r " + root).c_str()), 0);
}

PortMapping mapping(const char* host_ip, uint16_t port, Protocol protocol = Protocol::tcp) {
  return {protocol, port, ip(host_ip), port};
}
HostPolicy policy_of(std::string_view rules) {
  HostPolicy policy;
  policy.firewall = "ufw";
  policy.rules4 = *read_ufw_rules(rules);
  return policy;
}

TEST(HostPolicy, SaysOfAPortWhetherItIsReachedAndWhy) {
  const HostPolicy policy = policy_of(kUserRules);
  const auto said = [&](const PortMapping& port) {
    const PortState state = evaluate(policy, port);
    std::string out = std::string(to_string(state.state)) + " (" + state.by + ")";
    for (const std::string& whom : state.from) out += " " + whom;
    return out;
  };
  EXPECT_EQ(said(mapping("0.0.0.0", 443)), "allowed (ufw: allow 80,443/tcp)");
  EXPECT_EQ(said(mapping("0.0.0.0", 81)), "blocked (ufw: default deny)");
  EXPECT_EQ(said(mapping("127.0.0.1", 81)), "allowed ()");
  EXPECT_EQ(said(mapping("0.0.0.0", 8080)),
            "allowed (ufw: allow 8080 from 203.0.113.0/24 on eth0) 203.0.113.0/24 on eth0");
  EXPECT_EQ(said(mapping("203.0.113.1", 6003, Protocol::udp)),
            "allowed (ufw: allow 6000:6007/udp to 203.0.113.1/32)");
  EXPECT_EQ(said(mapping("203.0.113.2", 6003, Protocol::udp)), "blocked (ufw: default deny)");
  EXPECT_EQ(said(mapping("0.0.0.0", 6003, Protocol::udp)),
            "allowed (ufw: allow 6000:6007/udp to 203.0.113.1/32) to 203.0.113.1/32");
  EXPECT_EQ(said(mapping("::", 443)), "blocked (ufw: default deny)");
  HostPolicy rejecting = policy_of("### tuple ### reject tcp 81 any any any in\n");
  EXPECT_EQ(evaluate(rejecting, mapping("0.0.0.0", 81)).by, "ufw: reject 81/tcp");
  rejecting.otherwise = PolicyAction::allow;
  EXPECT_EQ(evaluate(rejecting, mapping("0.0.0.0", 82)).by, "ufw: default allow");
}

// The neighbour is 203.0.113.2.
TEST(HostPolicy, PacketsToPublishedPortsAreTreatedAsTheHostsOwnWouldBe) {
  in_new_netns([] {
    World world;
    UniqueFd neighbour = make_neighbour();
    auto a = world.start(world.network, {publish(8080, 80), publish(8081, 80)});
    ASSERT_OK(a);
    Server server(a->netns.get(), 80), outside(neighbour.get(), 80);
    const auto asked = [&](uint16_t port) { return ask(neighbour.get(), "203.0.113.1", port); };
    EXPECT_EQ(asked(8080), "203.0.113.2");

    const auto apply = [&](std::string_view rules) {
      ASSERT_OK(world.system->set_host_policy(policy_of(rules)));
    };
    apply("");  // nothing but the default: deny
    EXPECT_EQ(asked(8080), "timeout");
    EXPECT_EQ(ask(a->netns.get(), "203.0.113.2", 80), "203.0.113.1");  // out it may
    EXPECT_EQ(ask(world.host.get(), "127.0.0.1", 8080),
              world.network.pools[0].gateway->to_string());
    auto b = world.start(world.network);
    ASSERT_OK(b);
    EXPECT_NE(ask(b->netns.get(), "203.0.113.1", 8080), "timeout");  // containers are not outside

    apply("### tuple ### allow tcp 8080 0.0.0.0/0 any 0.0.0.0/0 in\n");
    EXPECT_EQ(asked(8080), "203.0.113.2");
    EXPECT_EQ(asked(8081), "timeout");
    apply("### tuple ### allow tcp 8000:8080 203.0.113.1 any 203.0.113.0/24 in_outer\n");
    EXPECT_EQ(asked(8080), "203.0.113.2");
    apply("### tuple ### allow tcp 8080 203.0.113.9 any 0.0.0.0/0 in\n");
    EXPECT_EQ(asked(8080), "timeout");
    apply("### tuple ### allow tcp 8080 0.0.0.0/0 any 0.0.0.0/0 in_other\n");
    EXPECT_EQ(asked(8080), "timeout");
    apply("### tuple ### allow udp 8080 0.0.0.0/0 any 0.0.0.0/0 in\n");
    EXPECT_EQ(asked(8080), "timeout");
    apply(
        "### tuple ### reject tcp 8080 0.0.0.0/0 any 203.0.113.2 in\n"
        "### tuple ### allow tcp 8080,8081 0.0.0.0/0 any 0.0.0.0/0 in\n");
    EXPECT_THAT(asked(8080), ::testing::AnyOf("ECONNREFUSED", "EAGAIN"));  // told at once
    EXPECT_EQ(asked(8081), "203.0.113.2");
    ASSERT_OK(world.system->set_host_policy(std::nullopt));
    EXPECT_EQ(asked(8080), "203.0.113.2");
    world.release_all();
  });
}

TEST(HostPolicy, StandsInATableThatIsWrittenAnew) {
  in_new_netns([] {
    auto firewall = *Firewall::open("0123456789ab");
    ASSERT_OK(firewall->set_policy(
        policy_of("### tuple ### allow tcp 8080 0.0.0.0/0 any 10.0.0.0/8 in\n")));
    ASSERT_OK(firewall->install({{"gantry0"}}, {}));
    EXPECT_THAT(output_of("nft list chain inet gantry-0123456789ab host_policy"),
                HasSubstr("ip saddr 10.0.0.0/8"));
    ASSERT_OK(firewall->set_policy(std::nullopt));
    EXPECT_THAT(output_of("nft list chain inet gantry-0123456789ab host_policy"),
                Not(HasSubstr("10.0.0.0")));
    ASSERT_OK(firewall->remove());
  });
}

}  // namespace
}  // namespace gantry::drivers

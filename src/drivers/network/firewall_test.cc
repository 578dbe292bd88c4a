#include "drivers/network/firewall.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "drivers/network/test_namespaces.h"

namespace gantry::drivers {
namespace {

using ::testing::HasSubstr;
using testing::in_new_netns;
using ::testing::Not;
using testing::output_of;

constexpr const char* kInstance = "0123456789ab";

PortRule port(const char* host, uint16_t host_port, const char* to, uint16_t to_port,
              Protocol protocol = Protocol::tcp) {
  return {protocol, *IpAddress::parse(host), host_port, *IpAddress::parse(to), to_port, "c0ffee"};
}

TEST(NftFields, ArePaddedToRegisters) {
  nft::Fields key;
  key.address(*IpAddress::parse("10.0.0.1")).byte(6).port(8080);
  EXPECT_EQ(key.data(), std::string("\x0a\x00\x00\x01\x06\x00\x00\x00\x1f\x90\x00\x00", 12));
  nft::Fields name;
  EXPECT_EQ(name.ifname("gantry0").data().size(), 16u);
}

TEST(NftTransaction, IsFramedByBatchMarks) {
  nft::Transaction change(NFPROTO_INET, "t");
  EXPECT_EQ(change.changes(), 0u);
  change.add_table(0);
  EXPECT_EQ(change.changes(), 1u);
  EXPECT_EQ(change.batch().bytes() % 4, 0u);
}

TEST(Firewall, TableStandsAsNftShowsItAndGoes) {
  in_new_netns([] {
    auto firewall = Firewall::open(kInstance);
    ASSERT_TRUE(firewall) << firewall.error().message();
    auto installed = (*firewall)->install({{"gantry0"}}, {port("0.0.0.0", 8080, "172.17.0.2", 80)});
    ASSERT_TRUE(installed) << installed.error().message();
    auto published = (*firewall)->publish(
        {port("127.0.0.1", 53, "172.17.0.3", 53, Protocol::udp), port("::", 8080, "fd00::2", 80)});
    ASSERT_TRUE(published) << published.error().message();
    std::string table = output_of("nft list table inet gantry-0123456789ab");
    EXPECT_THAT(table, HasSubstr("tcp . 8080 comment \"c0ffee\" : 172.17.0.2 . 80"));
    EXPECT_THAT(table, HasSubstr("127.0.0.1 . udp . 53 comment \"c0ffee\" : 172.17.0.3 . 53"));
    EXPECT_THAT(table, HasSubstr("fd00::2 . 80"));
    EXPECT_THAT(table, HasSubstr("\"gantry0\" . \"gantry0\""));
    EXPECT_TRUE(*(*firewall)->has_port(port("0.0.0.0", 8080, "172.17.0.2", 80)));
    auto gone = (*firewall)->unpublish({port("0.0.0.0", 8080, "172.17.0.2", 80)});
    ASSERT_TRUE(gone) << gone.error().message();
    EXPECT_FALSE(*(*firewall)->has_port(port("0.0.0.0", 8080, "172.17.0.2", 80)));
    ASSERT_TRUE((*firewall)->unpublish({port("0.0.0.0", 8080, "172.17.0.2", 80)}));  // again
    ASSERT_TRUE((*firewall)->remove_bridge("gantry0"));
    EXPECT_THAT(output_of("nft list table inet gantry-0123456789ab"), Not(HasSubstr("gantry0")));
    auto removed = (*firewall)->remove();
    ASSERT_TRUE(removed) << removed.error().message();
    EXPECT_EQ(output_of("nft list tables"), "");
    if (HasFailure()) puts(table.c_str());
  });
}

TEST(Firewall, SurvivesAFlushOfTheRuleset) {
  in_new_netns([] {
    auto firewall = *Firewall::open(kInstance);
    ASSERT_TRUE(firewall->install({{"gantry0"}}, {}));
    output_of("nft flush ruleset");
    const PortRule rule = port("0.0.0.0", 8080, "172.17.0.2", 80);
    ASSERT_TRUE(firewall->publish({rule}));
    output_of("nft flush ruleset");
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!firewall->has_port(rule).value_or(false) && std::chrono::steady_clock::now() < deadline)
      std::this_thread::yield();
    EXPECT_TRUE(*firewall->has_port(rule));
    EXPECT_THAT(output_of("nft list table inet gantry-0123456789ab"), HasSubstr("gantry0"));
  });
}

TEST(Firewall, NextDaemonTakesTheTableOver) {
  in_new_netns([] {
    const PortRule rule = port("0.0.0.0", 8080, "172.17.0.2", 80);
    {
      auto first = *Firewall::open(kInstance);
      ASSERT_TRUE(first->install({{"gantry0"}}, {rule}));
      if (first->ownership() == Firewall::Ownership::owned) {
        auto other = *Firewall::open(kInstance);
        auto refused = other->install({}, {});
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().kind(), ErrorKind::conflict) << refused.error().message();
      }
    }
    auto second = *Firewall::open(kInstance);
    EXPECT_TRUE(*second->has_port(rule));  // stood while nobody was there
    auto taken = second->install({{"gantry0"}}, {});
    ASSERT_TRUE(taken) << taken.error().message();
    EXPECT_FALSE(*second->has_port(rule));
    ASSERT_TRUE(second->remove());
    EXPECT_EQ(output_of("nft list tables"), "");
  });
}

TEST(Firewall, ThousandsOfPortsInAFewTransactions) {
  in_new_netns([] {
    auto firewall = *Firewall::open(kInstance);
    ASSERT_TRUE(firewall->install({}, {}));
    std::vector<PortRule> rules;
    for (int i = 0; i < 3000; ++i)
      rules.push_back(port("0.0.0.0", static_cast<uint16_t>(10000 + i), "172.17.0.2", 80));
    auto published = firewall->publish(rules);
    ASSERT_TRUE(published) << published.error().message();
    EXPECT_TRUE(*firewall->has_port(rules.back()));
    auto again = firewall->install({}, rules);
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_TRUE(*firewall->has_port(rules.back()));
    ASSERT_TRUE(firewall->unpublish(rules));
    EXPECT_FALSE(*firewall->has_port(rules.front()));
    EXPECT_FALSE(*firewall->has_port(rules.back()));
  });
}

}  // namespace
}  // namespace gantry::drivers

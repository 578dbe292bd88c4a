#include "drivers/network/ip_address.h"

#include <gtest/gtest.h>

#include "drivers/network/network_types.h"

namespace gantry::drivers {
namespace {

TEST(IpAddress, ReadsAndWritesBothFamilies) {
  for (const char* text :
       {"0.0.0.0", "172.17.0.2", "255.255.255.255", "::", "::1", "2001:db8::2", "fe80::1"}) {
    auto address = IpAddress::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->to_string(), text);
    EXPECT_EQ(IpAddress::from_bytes(address->family(), address->bytes().data()), *address);
  }
}

TEST(IpAddress, RefusesWhatIsNotAnAddress) {
  for (std::string_view text : {"", "1.2.3", "1.2.3.4.5", "01.2.3.4 ", "256.1.1.1", "1.2.3.4/8",
                                "::g", "fe80::1%eth0", "[::1]"})
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  EXPECT_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0x", 9)));
}

TEST(IpAddress, KnowsLoopbackAndMulticast) {
  EXPECT_TRUE(IpAddress::parse("127.8.0.1")->is_loopback());
  EXPECT_TRUE(IpAddress::parse("::1")->is_loopback());
  EXPECT_FALSE(IpAddress::parse("128.0.0.1")->is_loopback());
  EXPECT_TRUE(IpAddress::parse("224.0.0.1")->is_multicast());
  EXPECT_TRUE(IpAddress::parse("ff02::1")->is_multicast());
}

TEST(Cidr, BoundsContainmentAndOverlap) {
  const Cidr a = *Cidr::parse("172.17.5.9/16");
  EXPECT_EQ(a.first().to_string(), "172.17.0.0");
  EXPECT_EQ(a.last().to_string(), "172.17.255.255");
  EXPECT_TRUE(a.contains(*IpAddress::parse("172.17.255.1")));
  EXPECT_FALSE(a.contains(*IpAddress::parse("172.18.0.0")));
  EXPECT_FALSE(a.contains(*IpAddress::parse("::1")));
  EXPECT_TRUE(a.overlaps(*Cidr::parse("172.0.0.0/8")));
  EXPECT_TRUE(a.overlaps(*Cidr::parse("172.17.3.0/24")));
  EXPECT_FALSE(a.overlaps(*Cidr::parse("172.18.0.0/16")));
  EXPECT_TRUE(Cidr::parse("0.0.0.0/0")->contains(a));
  EXPECT_FALSE(a.contains(*Cidr::parse("0.0.0.0/0")));
  EXPECT_EQ(Cidr::parse("::/0")->last().to_string(), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
  EXPECT_EQ(Cidr::parse("2001:db8::5/64")->network().to_string(), "2001:db8::/64");
}

TEST(Cidr, RefusesBadPrefixes) {
  for (std::string_view text :
       {"1.2.3.4", "1.2.3.4/", "1.2.3.4/33", "::/129", "1.2.3.4/-1", "1.2.3.4/8x"})
    EXPECT_FALSE(Cidr::parse(text)) << text;
}

TEST(Mac, FollowsTheAddress) {
  EXPECT_EQ(format_mac(mac_from_ipv4(*IpAddress::parse("172.17.0.2"))), "02:42:ac:11:00:02");
  EXPECT_EQ(format_mac(*parse_mac("02:42:AC:11:00:02")), "02:42:ac:11:00:02");
  for (std::string_view text : {"", "02:42:ac:11:00", "02:42:ac:11:00:0g", "02.42.ac.11.00.02"})
    EXPECT_FALSE(parse_mac(text)) << text;
}

TEST(NetworkTypes, SurviveJson) {
  Endpoint endpoint;
  endpoint.id = "e1";
  endpoint.ipv4 = *Cidr::parse("172.17.0.2/16");
  endpoint.ports.push_back({Protocol::udp, 53, *IpAddress::parse("127.0.0.1"), 5353});
  auto again = json::parse<Endpoint>(json::dump(endpoint));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->ipv4, endpoint.ipv4);
  EXPECT_FALSE(again->ipv6);
  ASSERT_EQ(again->ports.size(), 1u);
  EXPECT_EQ(again->ports[0].protocol, Protocol::udp);
  EXPECT_EQ(again->ports[0].host_ip.to_string(), "127.0.0.1");
  EXPECT_FALSE(json::parse<PortMapping>(R"({"protocol":"icmp"})"));
}

}  // namespace
}  // namespace gantry::drivers

#include "drivers/network/ipam.h"

#include <gtest/gtest.h>

namespace gantry::drivers {
namespace {

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

NetworkConfig network(const char* subnet, const char* id = "n1") {
  NetworkConfig config;
  config.id = id;
  config.name = "net";
  IpamPool pool;
  pool.subnet = *Cidr::parse(subnet);
  config.pools.push_back(*complete_pool(pool));
  return config;
}

std::string next(Ipam& ipam, const NetworkConfig& config, IpFamily family = IpFamily::v4) {
  auto address = ipam.allocate(config, family, std::nullopt);
  return address ? address->to_string() : address.error().message();
}

TEST(Ipam, TheGatewayIsTheFirstAndContainersFollow) {
  Ipam ipam;
  const NetworkConfig config = network("172.17.0.0/16");
  EXPECT_EQ(config.pools[0].gateway->to_string(), "172.17.0.1");
  EXPECT_EQ(next(ipam, config), "172.17.0.2");
  EXPECT_EQ(next(ipam, config), "172.17.0.3");
}

TEST(Ipam, AReleasedAddressRestsUntilTheRangeWraps) {
  Ipam ipam;
  const NetworkConfig config = network("10.0.0.0/29");  // .2 to .6
  EXPECT_EQ(next(ipam, config), "10.0.0.2");
  ipam.release("n1", ip("10.0.0.2"));
  for (const char* expected : {"10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"})
    EXPECT_EQ(next(ipam, config), expected);
  auto full = ipam.allocate(config, IpFamily::v4, std::nullopt);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().kind(), ErrorKind::unavailable);
  EXPECT_EQ(full.error().message(),
            "no available IPv4 addresses on this network's address pools: net (n1)");
  ipam.release("n1", ip("10.0.0.4"));
  EXPECT_EQ(next(ipam, config), "10.0.0.4");
}

TEST(Ipam, RangesAndAuxiliaryAddressesAreHeeded) {
  Ipam ipam;
  NetworkConfig config = network("10.0.0.0/24");
  config.pools[0].range = *Cidr::parse("10.0.0.128/30");
  config.pools[0].auxiliary["router"] = ip("10.0.0.129");
  EXPECT_EQ(next(ipam, config), "10.0.0.128");
  EXPECT_EQ(next(ipam, config), "10.0.0.130");
  EXPECT_EQ(next(ipam, config), "10.0.0.131");
  EXPECT_FALSE(ipam.allocate(config, IpFamily::v4, std::nullopt));
  EXPECT_TRUE(ipam.allocate(config, IpFamily::v4, ip("10.0.0.7")));  // outside the range, asked for
  EXPECT_FALSE(ipam.allocate(config, IpFamily::v4, ip("10.0.0.129")));
}

TEST(Ipam, WantedAddressesAreChecked) {
  Ipam ipam;
  const NetworkConfig config = network("10.0.0.0/24");
  EXPECT_TRUE(ipam.allocate(config, IpFamily::v4, ip("10.0.0.9")));
  EXPECT_EQ(ipam.allocate(config, IpFamily::v4, ip("10.0.0.9")).error().kind(),
            ErrorKind::conflict);
  EXPECT_EQ(ipam.allocate(config, IpFamily::v4, ip("10.0.0.1")).error().kind(),
            ErrorKind::conflict);
  EXPECT_EQ(ipam.allocate(config, IpFamily::v4, ip("10.0.1.9")).error().kind(), ErrorKind::invalid);
  EXPECT_EQ(ipam.allocate(config, IpFamily::v4, ip("10.0.0.255")).error().kind(),
            ErrorKind::invalid);
}

TEST(Ipam, RestoredAddressesAreTakenAndTheNextFollowsThem) {
  Ipam ipam;
  ipam.restore("n1", ip("172.17.0.9"));
  const NetworkConfig config = network("172.17.0.0/16");
  EXPECT_TRUE(ipam.is_taken("n1", ip("172.17.0.9")));
  EXPECT_EQ(next(ipam, config), "172.17.0.10");
}

TEST(Ipam, SixtyFourBitSubnetsCostNothing) {
  Ipam ipam;
  const NetworkConfig config = network("fd00:1::/64");
  EXPECT_EQ(next(ipam, config, IpFamily::v6), "fd00:1::2");
  EXPECT_EQ(next(ipam, config, IpFamily::v6), "fd00:1::3");
}

TEST(Ipam, DefaultPoolsAvoidTheHostAndOtherNetworks) {
  Ipam ipam;
  const auto pools = default_address_pools();
  const std::vector<Cidr> routes = {*Cidr::parse("172.17.0.0/16"), *Cidr::parse("172.19.4.0/24")};
  EXPECT_EQ(ipam.choose_subnet(pools, IpFamily::v4, routes, "a")->to_string(), "172.18.0.0/16");
  EXPECT_EQ(ipam.choose_subnet(pools, IpFamily::v4, routes, "b")->to_string(), "172.20.0.0/16");
  EXPECT_FALSE(ipam.reserve_subnet(*Cidr::parse("172.18.5.0/24"), "c"));
  ipam.release_network("a");
  EXPECT_TRUE(ipam.reserve_subnet(*Cidr::parse("172.18.5.0/24"), "c"));
  int count = 2;
  while (ipam.choose_subnet(pools, IpFamily::v4, {}, "x" + std::to_string(count))) ++count;
  EXPECT_EQ(count, 2 + 13 + 16);  // 172.17, .19, .21–.31; sixteen /20
}

TEST(Ipam, PoolsAreChecked) {
  IpamPool pool;
  pool.subnet = *Cidr::parse("10.0.0.5/24");
  EXPECT_FALSE(complete_pool(pool));
  pool.subnet = *Cidr::parse("10.0.0.0/24");
  pool.gateway = ip("10.0.1.1");
  EXPECT_FALSE(complete_pool(pool));
  pool.gateway.reset();
  pool.range = *Cidr::parse("10.0.0.0/23");
  EXPECT_FALSE(complete_pool(pool));
  pool.range.reset();
  pool.auxiliary["a"] = ip("10.0.0.1");
  EXPECT_EQ(complete_pool(pool)->gateway->to_string(), "10.0.0.2");
}

}  // namespace
}  // namespace gantry::drivers

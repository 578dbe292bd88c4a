#include "drivers/network/endpoint_options.h"

#include <gtest/gtest.h>

namespace gantry::drivers {
namespace {

constexpr const char* kSysctls = "com.docker.network.endpoint.sysctls";

TEST(EndpointOptions, AreReadAsDockerReadsThem) {
  auto options = EndpointOptions::read(
      {{"com.docker.network.endpoint.ifname", "data0"},
       {kSysctls, "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.accept_ra=2"},
       {"com.example.of-others", "x"}});
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->interface_name, "data0");
  ASSERT_EQ(options->sysctls.size(), 2u);
  EXPECT_EQ(options->sysctls[0].first, "net/ipv4/conf/IFNAME/log_martians");
  EXPECT_EQ(options->sysctls[1].second, "2");
}

TEST(EndpointOptions, NoPathLeadsElsewhere) {
  for (const char* bad :
       {"net.ipv4.ip_forward=1", "net.ipv4.conf.eth0.log_martians=1", "kernel.x.y.IFNAME.z=1",
        "net.ipv4.conf.IFNAME.log_martians", "net.ipv4.../.IFNAME.x=1",
        "net.ipv4.conf.IFNAME.a/b=1", "net.ipv4.conf.IFNAME.=1", "", "net.ipv4.conf.IFNAME.a.b=1",
        "net.core.conf.IFNAME.x=1"})
    EXPECT_FALSE(EndpointOptions::read({{kSysctls, bad}})) << bad;
  EXPECT_FALSE(EndpointOptions::read({{"com.docker.network.endpoint.ifname", "a/b"}}));
  EXPECT_FALSE(EndpointOptions::read({{"com.docker.network.endpoint.colour", "red"}}));
}

TEST(EndpointOptions, InterfaceNamesTakeTheFirstFreeNumber) {
  EXPECT_EQ(*choose_interface_name({}, "eth", {"lo", "eth0", "eth2"}), "eth1");
  EXPECT_EQ(*choose_interface_name({.interface_name = "data"}, "eth", {"lo"}), "data");
  EXPECT_FALSE(choose_interface_name({.interface_name = "lo"}, "eth", {"lo"}));
}

TEST(EndpointOptions, LinkLocalAddressesAreLinkLocal) {
  auto both =
      link_local_addresses({*IpAddress::parse("169.254.1.2"), *IpAddress::parse("fe80::7")});
  ASSERT_TRUE(both);
  EXPECT_EQ((*both)[0].to_string(), "169.254.1.2/16");
  EXPECT_EQ((*both)[1].to_string(), "fe80::7/64");
  EXPECT_FALSE(link_local_addresses({*IpAddress::parse("10.0.0.1")}));
}

}  // namespace
}  // namespace gantry::drivers

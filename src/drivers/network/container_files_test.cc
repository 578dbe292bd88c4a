#include "drivers/network/container_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gantry::drivers {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Hosts, NamesTheContainerAfterTheExtraHosts) {
  HostsFile file{"web", "", {*IpAddress::parse("172.17.0.2")}, {{"10.0.0.9", "db"}}};
  EXPECT_THAT(build_hosts(file), HasSubstr("127.0.0.1\tlocalhost\n"));
  EXPECT_THAT(build_hosts(file),
              HasSubstr("ff02::2\tip6-allrouters\n10.0.0.9\tdb\n172.17.0.2\tweb\n"));
  file.domainname = "example.org";
  EXPECT_THAT(build_hosts(file), HasSubstr("172.17.0.2\tweb.example.org web\n"));
  EXPECT_EQ(build_hostname("web"), "web\n");
}

TEST(ExtraHost, TakesBothSeparatorsAndTheGateway) {
  const auto gateway = IpAddress::parse("172.17.0.1").release();
  EXPECT_EQ(parse_extra_host("db:10.0.0.9", gateway)->address, "10.0.0.9");
  EXPECT_EQ(parse_extra_host("db=fd00::1", gateway)->address, "fd00::1");
  EXPECT_EQ(parse_extra_host("db:[fd00::1]", gateway)->address, "fd00::1");
  EXPECT_EQ(parse_extra_host("db:fd00::1", gateway)->address, "fd00::1");
  EXPECT_EQ(parse_extra_host("me:host-gateway", gateway)->address, "172.17.0.1");
  EXPECT_FALSE(parse_extra_host("me:host-gateway", std::nullopt));
  EXPECT_EQ(parse_extra_host("db", gateway).error().message(), "bad format for add-host: \"db\"");
  EXPECT_EQ(parse_extra_host("db:10.0.0", gateway).error().message(),
            "invalid IP address in add-host: \"10.0.0\"");
  EXPECT_FALSE(parse_extra_host("d b:10.0.0.1", gateway));
  EXPECT_FALSE(parse_extra_host(":10.0.0.1", gateway));
}

TEST(ResolvConf, LoopbackServersAreLeftOut) {
  const ResolvConf host = parse_resolv_conf(
      "# comment\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver ::1\nnameserver "
      "2001:db8::1\n"
      "nameserver fe80::1%eth0\nsearch a.example\nsearch b.example c.example\noptions "
      "ndots:2\noptions rotate\n");
  const std::string text = build_resolv_conf(host, {}, Ipv6Servers::drop);
  EXPECT_THAT(
      text,
      HasSubstr("nameserver 192.0.2.1\nsearch b.example c.example\noptions ndots:2 rotate\n"));
  EXPECT_THAT(text, Not(HasSubstr("127.0.0.53")));
  EXPECT_THAT(text, Not(HasSubstr("2001:db8")));
  EXPECT_THAT(build_resolv_conf(host, {}, Ipv6Servers::keep),
              HasSubstr("nameserver 2001:db8::1\n"));
  EXPECT_THAT(build_resolv_conf(host, {}, Ipv6Servers::keep), Not(HasSubstr("fe80")));
}

TEST(ResolvConf, PublicServersWhenNoneIsLeft) {
  const std::string text =
      build_resolv_conf(parse_resolv_conf("nameserver 127.0.0.1\n"), {}, Ipv6Servers::drop);
  EXPECT_THAT(text, HasSubstr("nameserver 8.8.8.8\nnameserver 8.8.4.4\n"));
}

TEST(ResolvConf, OptionsOfTheContainerReplaceTheHosts) {
  const ResolvConf host =
      parse_resolv_conf("nameserver 192.0.2.1\nsearch a.example\noptions ndots:2\n");
  const std::string text =
      build_resolv_conf(host, {{"127.0.0.1"}, {"."}, {"timeout:1"}}, Ipv6Servers::drop);
  EXPECT_THAT(text, HasSubstr("nameserver 127.0.0.1\noptions timeout:1\n"));
  EXPECT_THAT(text, Not(HasSubstr("search")));
}

TEST(ResolvConf, SurvivesWhatIsNotOne) {
  EXPECT_TRUE(parse_resolv_conf("").nameservers.empty());
  EXPECT_TRUE(parse_resolv_conf("nameserver\n\noptions").nameservers.empty());
  EXPECT_TRUE(parse_resolv_conf(std::string(100, '\0') + "\nsearch").search.empty());
}

TEST(ContainerFiles, HostsAreUpdatedAndTheContainersLinesStay) {
  HostsFile file{"web", "example.test", {*IpAddress::parse("10.0.0.2")}, {}};
  const std::string before = build_hosts(file) + "10.9.9.9 mine\n";
  file.addresses = {*IpAddress::parse("10.0.1.2"), *IpAddress::parse("fd00::2")};
  const std::string after = update_hosts(before, file);
  EXPECT_EQ(after.find("10.0.0.2"), std::string::npos);
  EXPECT_NE(
      after.find("10.9.9.9 mine\n10.0.1.2\tweb.example.test web\nfd00::2\tweb.example.test web\n"),
      std::string::npos)
      << after;
  EXPECT_NE(after.find("127.0.0.1\tlocalhost\n"), std::string::npos);
  EXPECT_EQ(update_hosts(after, file), after);  // nothing is missing
}

TEST(ContainerFiles, HostsThatWereAskedForAreNotTakenForOwnOnes) {
  const HostsFile file{"web", "", {*IpAddress::parse("10.0.0.2")}, {{"10.5.5.5", "web"}}};
  const std::string text = build_hosts(file);
  EXPECT_EQ(update_hosts(text, file), text);
  EXPECT_EQ(update_hosts("10.5.5.5\tweb", file), "10.5.5.5\tweb\n10.0.0.2\tweb\n");
}

}  // namespace
}  // namespace gantry::drivers

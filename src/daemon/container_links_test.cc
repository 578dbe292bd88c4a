#include "daemon/container_links.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gantry::daemon {
namespace {

using ::testing::ElementsAre;

ContainerRecord database() {
  ContainerRecord record;
  record.id = std::string(64, 'a');
  record.name = "db";
  record.config.Hostname = "host";
  record.config.Env = {"PATH=/bin", "HOME=/", "PASS=a=b"};
  record.config.ExposedPorts["5432/tcp"];
  record.config.ExposedPorts["53/udp"];
  record.networks["bridge"].IPAddress = "172.17.0.5";
  return record;
}

TEST(ContainerLinks, AreReadInDockersForms) {
  auto link = parse_link("db:store");
  ASSERT_TRUE(link);
  EXPECT_EQ(link->container, "db");
  EXPECT_EQ(link->alias, "store");
  EXPECT_EQ(parse_link("db")->alias, "db");
  EXPECT_EQ(parse_link("/db:/web/store")->container, "db");
  EXPECT_EQ(parse_link("/db:/web/store")->alias, "store");
  for (const char* bad : {"", ":x", "db:", "a:b:c", "db:a b"}) EXPECT_FALSE(parse_link(bad)) << bad;
}

TEST(ContainerLinks, TellOfTheOtherInHostsAndEnvironment) {
  EXPECT_EQ(*link_hosts_line({"db", "my-db"}, database()), "172.17.0.5\tmy-db host db");
  EXPECT_EQ(*link_hosts_line({"db", "db"}, database()), "172.17.0.5\tdb host");
  EXPECT_THAT(
      link_environment({"db", "my-db"}, "web", database()),
      ElementsAre("MY_DB_PORT=udp://172.17.0.5:53", "MY_DB_PORT_53_UDP=udp://172.17.0.5:53",
                  "MY_DB_PORT_53_UDP_ADDR=172.17.0.5", "MY_DB_PORT_53_UDP_PORT=53",
                  "MY_DB_PORT_53_UDP_PROTO=udp", "MY_DB_PORT_5432_TCP=tcp://172.17.0.5:5432",
                  "MY_DB_PORT_5432_TCP_ADDR=172.17.0.5", "MY_DB_PORT_5432_TCP_PORT=5432",
                  "MY_DB_PORT_5432_TCP_PROTO=tcp", "MY_DB_NAME=/web/my-db", "MY_DB_ENV_PASS=a=b"));
  ContainerRecord elsewhere = database();
  elsewhere.networks.clear();
  EXPECT_FALSE(link_hosts_line({"db", "db"}, elsewhere));
}

}  // namespace
}  // namespace gantry::daemon

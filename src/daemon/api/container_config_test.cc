#include "daemon/api/container_config.h"

#include <gtest/gtest.h>

#include "daemon/container_jobs.h"

namespace gantry::daemon {
namespace {

TEST(CreateBody, HostConfigStandsBesideTheConfig) {
  json::value body = *json::parse(R"({"Image":"busybox","Cmd":"true","Entrypoint":null,
    "HostConfig":{"Memory":1048576,"PortBindings":{"80/tcp":[{"HostPort":"8080"}],"81/tcp":null}},
    "NetworkingConfig":{"EndpointsConfig":{"bridge":{"Aliases":["a"]}}}})");
  Result<api::CreateBody> parsed = api::parse_create_body(body);
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(parsed->config.Image, "busybox");
  EXPECT_EQ(parsed->config.Cmd.items->at(0), "true");
  EXPECT_FALSE(parsed->config.Entrypoint.items.has_value());
  EXPECT_EQ(parsed->host_config.Memory, 1048576);
  EXPECT_EQ(parsed->host_config.PortBindings.at("80/tcp")->at(0).HostPort, "8080");
  EXPECT_FALSE(parsed->host_config.PortBindings.at("81/tcp").has_value());
  EXPECT_EQ(parsed->networking_config.EndpointsConfig.at("bridge").Aliases.at(0), "a");
}

TEST(CreateBody, AWrongTypeNamesTheField) {
  Result<api::CreateBody> parsed =
      api::parse_create_body(*json::parse(R"({"HostConfig":{"Memory":"1m"}})"));
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().message(), "HostConfig.Memory: expected an integer, got a string");
}

TEST(JobInputs, SurviveTheJournal) {
  ContainerCreate::Input input;
  input.name = "n";
  input.body.config.Cmd.items = {"a", "b"};
  input.body.host_config.Mounts.push_back({.Type = "tmpfs", .Target = "/x"});
  Result<ContainerCreate::Input> back = json::parse<ContainerCreate::Input>(json::dump(input));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->body.config.Cmd.items->at(1), "b");
  EXPECT_EQ(back->body.host_config.Mounts.at(0).Target, "/x");
}

}  // namespace
}  // namespace gantry::daemon

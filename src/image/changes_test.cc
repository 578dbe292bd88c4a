#include "image/changes.h"

#include <gtest/gtest.h>

namespace gantry::image {
namespace {

using Words = std::vector<std::string>;

ContainerConfig changed(const Words& changes, ContainerConfig config = {}) {
  Status done = apply_changes(config, changes);
  EXPECT_TRUE(done) << (done ? "" : done.error().message());
  return config;
}
std::string refused(const std::string& change) {
  ContainerConfig config;
  Status done = apply_changes(config, {change});
  return done ? "" : done.error().message();
}

TEST(Changes, AnEntryPointTakesAwayACommandThatNoInstructionGave) {
  ContainerConfig before;
  before.cmd = Words{"sh"};
  EXPECT_FALSE(changed({"ENTRYPOINT [\"a\"]"}, before).cmd);
  EXPECT_EQ(*changed({"CMD [\"b\"]", "ENTRYPOINT [\"a\"]"}, before).cmd, Words{"b"});
}

TEST(Changes, TheShellFormUsesTheShellOfTheConfiguration) {
  ContainerConfig before;
  before.shell = {"/bin/bash", "-ec"};
  EXPECT_EQ(*changed({"CMD echo hi"}, before).cmd, (Words{"/bin/bash", "-ec", "echo hi"}));
  EXPECT_EQ(*changed({"cmd echo hi"}).cmd, (Words{"/bin/sh", "-c", "echo hi"}));
}

TEST(Changes, VariablesStandForTheirValuesButBetweenSingleQuotes) {
  ContainerConfig before;
  before.env = {"A=1"};
  EXPECT_EQ(changed({"ENV B=$A-${A} C='$A' D=\\$A E=${X:-x} F=${A:+y} G=$"}, before).env,
            (Words{"A=1", "B=1-1", "C=$A", "D=$A", "E=x", "F=y", "G=$"}));
  EXPECT_EQ(changed({"WORKDIR /w/$A"}, before).working_dir, "/w/1");
  EXPECT_EQ(changed({"USER ${A}"}, before).user, "1");
  EXPECT_EQ(changed({"ENV B a value"}, before).env, (Words{"A=1", "B=a value"}));
  EXPECT_NE(refused("ENV A=${B"), "");
}

TEST(Changes, WorkingDirectoriesAreRelativeToTheLast) {
  EXPECT_EQ(changed({"WORKDIR /a/b", "WORKDIR ../c/"}).working_dir, "/a/c");
  EXPECT_EQ(changed({"WORKDIR a"}).working_dir, "/a");
  EXPECT_EQ(changed({"WORKDIR /"}).working_dir, "/");
}

TEST(Changes, AHealthcheckHasFlags) {
  ContainerConfig config = changed(
      {"HEALTHCHECK --interval=1m --timeout=3s --start-period=1s --retries=4 CMD curl -f x"});
  EXPECT_EQ(config.healthcheck->test, (Words{"CMD-SHELL", "curl -f x"}));
  EXPECT_EQ(config.healthcheck->interval, 60'000'000'000);
  EXPECT_EQ(config.healthcheck->timeout, 3'000'000'000);
  EXPECT_EQ(config.healthcheck->start_period, 1'000'000'000);
  EXPECT_EQ(config.healthcheck->retries, 4);
  EXPECT_EQ(changed({"HEALTHCHECK none"}).healthcheck->test, Words{"NONE"});
  for (const char* bad : {"HEALTHCHECK", "HEALTHCHECK CMD", "HEALTHCHECK x", "HEALTHCHECK NONE x",
                          "HEALTHCHECK --interval CMD x", "HEALTHCHECK --interval=1us CMD x",
                          "HEALTHCHECK --retries=-1 CMD x", "HEALTHCHECK --nonsense=1 CMD x"})
    EXPECT_NE(refused(bad), "") << bad;
}

TEST(Changes, OneChangeMayBeSeveralLines) {
  ContainerConfig config = changed({"# nothing\nENV A=1 \\\n  B=2\n\nLABEL c=d"});
  EXPECT_EQ(config.env, (Words{"A=1", "B=2"}));
  EXPECT_EQ(config.labels.at("c"), "d");
}

TEST(Changes, TriggersThatBuildsRefuseAreRefused) {
  EXPECT_EQ(changed({"ONBUILD RUN true"}).on_build, Words{"RUN true"});
  EXPECT_NE(refused("ONBUILD ONBUILD RUN true"), "");
  EXPECT_NE(refused("ONBUILD FROM x"), "");
  EXPECT_NE(refused("RUN true"), "");
  EXPECT_NE(refused("SHELL [\"x\"]"), "");
}

}  // namespace
}  // namespace gantry::image

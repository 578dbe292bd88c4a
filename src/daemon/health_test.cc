#include "daemon/health.h"

#include <gtest/gtest.h>

namespace gantry::daemon {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

api::ContainerConfig config_with(api::HealthConfig health) {
  api::ContainerConfig config;
  config.Healthcheck = std::move(health);
  return config;
}

TEST(Health, ACheckIsACommandOrAShellLineOrNothing) {
  EXPECT_FALSE(health_probe({}));
  EXPECT_FALSE(health_probe(config_with({})));
  EXPECT_FALSE(health_probe(config_with({.Test = {"NONE"}})));
  EXPECT_FALSE(health_probe(config_with({.Test = {"CMD"}})));
  EXPECT_EQ(health_probe(config_with({.Test = {"CMD", "a", "b"}}))->command,
            (api::Strings{"a", "b"}));
  api::ContainerConfig shell = config_with({.Test = {"CMD-SHELL", "a b"}});
  EXPECT_EQ(health_probe(shell)->command, (api::Strings{"/bin/sh", "-c", "a b"}));
  shell.Shell = {"/bin/other", "-x"};
  EXPECT_EQ(health_probe(shell)->command, (api::Strings{"/bin/other", "-x", "a b"}));
}

TEST(Health, TimesHaveDockersDefaults) {
  const auto probe = health_probe(config_with({.Test = {"CMD", "a"}}));
  ASSERT_TRUE(probe);
  EXPECT_EQ(probe->interval, 30 * kSecond);
  EXPECT_EQ(probe->timeout, 30 * kSecond);
  EXPECT_EQ(probe->start_period, 0);
  EXPECT_EQ(probe->start_interval, 5 * kSecond);
  EXPECT_EQ(probe->retries, 3);
}

TEST(Health, TimesBelowAMillisecondAreRefused) {
  EXPECT_TRUE(check_healthcheck({.Interval = 1'000'000}));
  EXPECT_FALSE(check_healthcheck({.Interval = 999'999}));
  EXPECT_FALSE(check_healthcheck({.Timeout = -1}));
  EXPECT_FALSE(check_healthcheck({.StartInterval = 1}));
  EXPECT_FALSE(check_healthcheck({.Retries = -1}));
}

TEST(Health, AStreakOfFailuresMakesUnhealthyAndOneSuccessHealthy) {
  ContainerState state;
  HealthProbe probe{.command = {"x"}, .retries = 2};
  EXPECT_FALSE(add_check_result(state, probe, {.start = kSecond, .exit_code = 1}));
  EXPECT_EQ(health_text(state), "health: starting");
  EXPECT_TRUE(add_check_result(state, probe, {.start = kSecond, .exit_code = 1}));
  EXPECT_EQ(health_text(state), "unhealthy");
  EXPECT_EQ(state.health->failing_streak, 2);
  EXPECT_FALSE(add_check_result(state, probe, {.start = kSecond, .exit_code = 2}));
  EXPECT_TRUE(add_check_result(state, probe, {.start = kSecond, .exit_code = 0}));
  EXPECT_EQ(health_text(state), "healthy");
  EXPECT_EQ(state.health->failing_streak, 0);
}

TEST(Health, FailuresInTheStartPeriodDoNotCount) {
  ContainerState state;
  state.started_at = 100 * kSecond;
  HealthProbe probe{.interval = 30 * kSecond,
                    .start_period = 10 * kSecond,
                    .start_interval = kSecond,
                    .retries = 1};
  EXPECT_EQ(time_to_next_check(probe, state, 105 * kSecond), kSecond);
  EXPECT_FALSE(add_check_result(state, probe, {.start = 105 * kSecond, .exit_code = 1}));
  EXPECT_EQ(state.health->failing_streak, 0);
  EXPECT_EQ(time_to_next_check(probe, state, 110 * kSecond), 30 * kSecond);
  EXPECT_TRUE(add_check_result(state, probe, {.start = 110 * kSecond, .exit_code = 1}));
  EXPECT_EQ(time_to_next_check(probe, state, 105 * kSecond), 30 * kSecond);
}

TEST(Health, TheLogHasTheLastFive) {
  ContainerState state;
  for (int i = 0; i < 8; ++i) add_check_result(state, {.retries = 1}, {.exit_code = i});
  ASSERT_EQ(state.health->log.size(), 5u);
  EXPECT_EQ(state.health->log.front().exit_code, 3);
  EXPECT_EQ(state.health->log.back().exit_code, 7);
}

TEST(Health, OutputIsTakenOutOfItsFramesAndCut) {
  const std::string stream = std::string("\1\0\0\0\0\0\0\3abc", 11) +
                             std::string("\2\0\0\0\0\0\0\0", 8) +
                             std::string("\2\0\0\0\0\0\0\2de", 10);
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    HealthOutput out;
    Demultiplexer demultiplexer;
    for (size_t at = 0; at < stream.size(); at += piece)
      demultiplexer.add(std::string_view(stream).substr(at, piece), out);
    EXPECT_EQ(out.text(), "abcde") << piece;
  }
  HealthOutput out;
  out.add(std::string(4096, 'x'));
  EXPECT_EQ(out.text().size(), 4096u);
  out.add("y");
  EXPECT_EQ(out.text(), std::string(4096, 'x') + "...");
}

}  // namespace
}  // namespace gantry::daemon

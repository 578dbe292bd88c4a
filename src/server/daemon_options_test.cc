#include "server/daemon_options.h"

#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/id.h"

namespace gantry::server {
namespace {

class DaemonOptionsTest : public testing::Test {
 protected:
  void SetUp() override { path_ = "/tmp/gantry-options-test-" + random_hex(8); }
  void TearDown() override { ::unlink(path_.c_str()); }

  Result<DaemonOptions> parse(std::vector<std::string> arguments) {
    if (!file_.empty()) {
      EXPECT_TRUE(fs::write_file(path_, file_));
      arguments.insert(arguments.begin(), "--config-file=" + path_);
    }
    return DaemonOptions::parse(arguments);
  }
  std::string error(std::vector<std::string> arguments) {
    auto options = parse(std::move(arguments));
    return options ? "" : options.error().message();
  }
  std::string path_, file_;
};

TEST_F(DaemonOptionsTest, flags_have_the_forms_of_dockerd) {
  auto options =
      parse({"-H", "unix:///a", "-Htcp://b:1", "--host=fd://", "-D", "-p=/x.pid", "--data-root",
             "/d", "--bip=10.0.0.1/24", "-bbr7", "--log-opt", "max-size=1m", "--debug=true"});
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->hosts, (std::vector<std::string>{"unix:///a", "tcp://b:1", "fd://"}));
  EXPECT_TRUE(options->daemon.debug);
  EXPECT_EQ(options->log_level, log::Level::debug);
  EXPECT_EQ(options->pidfile, "/x.pid");
  EXPECT_EQ(options->daemon.data_root, "/d");
  EXPECT_EQ(options->daemon.bip, "10.0.0.1/24");
  EXPECT_EQ(options->daemon.bridge, "br7");
  EXPECT_EQ(options->daemon.log_options.at("max-size"), "1m");
}

TEST_F(DaemonOptionsTest, the_defaults_follow_the_exec_root) {
  auto options = parse({"--exec-root=/run/other"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->hosts, (std::vector<std::string>{"unix:///run/other/gantry.sock"}));
  EXPECT_EQ(options->pidfile, "/run/other/gantryd.pid");
}

TEST_F(DaemonOptionsTest, what_the_journal_keeps_is_a_count_and_a_time) {
  auto options = parse({"--journal-limit=1", "--journal-age=2s"});
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->daemon.journal_limit, 1);
  EXPECT_EQ(options->daemon.journal_age, 2);
  EXPECT_EQ(error({"--journal-limit=0"}),
            "invalid argument \"0\" for \"--journal-limit\" flag: expected a whole number of at "
            "least 1");
  EXPECT_EQ(error({"--journal-age=1ms"}),
            "invalid argument \"1ms\" for \"--journal-age\" flag: expected a duration of at least "
            "1s, or 0");
  EXPECT_NE(error({"--journal-age=old"}), "");
}

TEST_F(DaemonOptionsTest, what_collection_keeps_is_said_by_limits) {
  auto options = parse({"--gc-interval=30m", "--gc-grace=0s", "--gc-keep-images", "age=24h",
                        "--gc-keep-images=size=1g", "--gc-keep-build-cache=count=5"});
  ASSERT_TRUE(options);
  const daemon::GcOptions& gc = options->daemon.gc;
  EXPECT_EQ(gc.interval_ns, int64_t{1800} * 1'000'000'000);
  EXPECT_EQ(gc.grace_ns, 0);
  EXPECT_EQ(gc.images.age_ns, graph::kDay);
  EXPECT_EQ(gc.images.bytes, int64_t{1} << 30);
  EXPECT_FALSE(gc.images.count);
  EXPECT_EQ(gc.build_cache.count, 5);
  EXPECT_EQ(gc.build_cache.bytes, int64_t{20} << 30);
  EXPECT_EQ(error({"--gc-keep-images=weeks=2"}),
            "invalid argument \"weeks=2\" for \"--gc-keep-images\" flag: expected age=DURATION, "
            "count=NUMBER or size=BYTES");
}

TEST_F(DaemonOptionsTest, bad_flags_are_named) {
  EXPECT_EQ(error({"--nope"}), "unknown flag: --nope");
  EXPECT_EQ(error({"-Dq"}), "unknown shorthand flag: 'q' in -Dq");
  EXPECT_EQ(error({"--bip"}), "flag needs an argument: --bip");
  EXPECT_EQ(error({"-H"}), "flag needs an argument: 'H' in -H");
  EXPECT_EQ(error({"--debug=maybe"}),
            "invalid argument \"maybe\" for \"--debug\" flag: expected true or false");
  EXPECT_EQ(error({"word"}), "\"gantryd\" accepts no arguments, but was given \"word\"");
  EXPECT_NE(error({"--log-level=loud"}).find("unknown log level"), std::string::npos);
  EXPECT_NE(error({"--data-root=rel"}).find("absolute"), std::string::npos);
}

TEST_F(DaemonOptionsTest, the_file_has_the_same_keys) {
  file_ =
      R"({"hosts": ["unix:///f"], "debug": true, "log-opts": {"max-file": "2"}, "labels": ["a=b"],
              "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}}, "shutdown-timeout": 7, "journal-limit": 5, "journal-age": "1h30m"})";
  auto options = parse({});
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->hosts, (std::vector<std::string>{"unix:///f"}));
  EXPECT_TRUE(options->daemon.debug);
  EXPECT_EQ(options->daemon.log_options.at("max-file"), "2");
  EXPECT_EQ(options->daemon.container_defaults.ulimits.at("nofile"),
            (std::pair<int64_t, int64_t>{1, 2}));
  EXPECT_EQ(options->daemon.shutdown_timeout, 7);
  EXPECT_EQ(options->daemon.journal_limit, 5);
  EXPECT_EQ(options->daemon.journal_age, 5400);
}

TEST_F(DaemonOptionsTest, what_stands_in_both_places_is_refused) {
  file_ = R"({"debug": false, "hosts": ["unix:///f"]})";
  EXPECT_EQ(error({"-D", "-H", "unix:///a", "-H", "unix:///b"}),
            "unable to configure the daemon with file " + path_ +
                ": the following directives are specified both as a flag and in the configuration "
                "file: debug: "
                "(from flag: true, from file: false), hosts: (from flag: [unix:///a unix:///b], "
                "from file: "
                "[unix:///f])");
}

TEST_F(DaemonOptionsTest, mistakes_in_the_file_are_named) {
  file_ = R"({"nope": 1, "debug": true, "validate": true})";
  EXPECT_NE(error({}).find("don't match any configuration option: nope, validate"),
            std::string::npos);
  file_ = R"({"debug": "yes"})";
  EXPECT_NE(error({}).find("debug: expected a boolean, got a string"), std::string::npos)
      << error({});
  file_ = "{";
  EXPECT_NE(error({}).find("unable to configure the daemon with file"), std::string::npos);
  file_.clear();
  EXPECT_NE(error({"--config-file=/nonexistent/x.json"}).find("/nonexistent/x.json"),
            std::string::npos);
}

}  // namespace
}  // namespace gantry::server

#include "drivers/log/forwarder.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/sys.h"

namespace gantry::drivers {
namespace {

// What servers got, and how they behave; shared with the sinks of one test.
struct World {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> got;
  bool reachable = true;
  int takes = -1;  // so many entries before the connection breaks; -1: all
  std::atomic<int> tries = 0;

  bool has(size_t count) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(10), [&] { return got.size() >= count; });
  }
  void set_reachable(bool on) {
    std::lock_guard lock(mutex);
    reachable = on;
  }
};

class FakeSink final : public LogSink {
 public:
  explicit FakeSink(World& world) : world_(world) {}
  Status connect(int) override {
    ++world_.tries;
    std::lock_guard lock(world_.mutex);
    if (!world_.reachable) return make_error(ErrorKind::unavailable, "connection refused");
    held_.clear();
    return {};
  }
  Status put(const shim::LogEntry& entry, int) override {
    if (entry.line == "impossible\n") return invalid("it cannot be said");
    held_.push_back(entry.line);
    return {};
  }
  Status flush(int) override {
    std::lock_guard lock(world_.mutex);
    if (!world_.reachable) return make_error(ErrorKind::unavailable, "broken pipe");
    if (world_.takes == 0) {
      world_.takes = -1;
      return make_error(ErrorKind::unavailable, "broken pipe");
    }
    if (world_.takes > 0) --world_.takes;
    for (std::string& line : held_) world_.got.push_back(std::move(line));
    held_.clear();
    world_.changed.notify_all();
    return {};
  }

 private:
  World& world_;
  std::vector<std::string> held_;
};

class LogForwarderTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-forward-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    options_.name = "test";
    options_.log.driver = "local";
    options_.log.numbered = true;
    options_.log.path = directory_ + "/log";
    options_.log.max_files = 3;
    options_.delivery.retry_wait_ms = 5;
    options_.delivery.constant_wait = true;
    options_.on_dropped = [this](uint64_t count) { dropped_ += count; };
  }
  void TearDown() override { (void)fs::remove_tree(directory_); }

  void print(const std::string& text) {
    std::string out;
    shim::append_local(out, shim::Stream::out, 1, text, std::nullopt, ++number_);
    UniqueFd file = *sys::open(options_.log.path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    ASSERT_TRUE(sys::write_all(file.get(), out));
  }
  void rotate() {
    const std::string& path = options_.log.path;
    (void)sys::renameat(AT_FDCWD, path + ".1", AT_FDCWD, path + ".2");
    (void)sys::renameat(AT_FDCWD, path, AT_FDCWD, path + ".1");
  }
  std::unique_ptr<LogForwarder> make(bool running) {
    return std::make_unique<LogForwarder>(options_, std::make_unique<FakeSink>(world_), running);
  }
  static auto soon() { return std::chrono::steady_clock::now() + std::chrono::seconds(10); }
  // Everything an ended run wrote, by one forwarder.
  void send_all() {
    auto forwarder = make(false);
    ASSERT_TRUE(forwarder->wait_until_sent(soon()));
  }

  std::string directory_;
  LogForwarder::Options options_;
  World world_;
  uint64_t number_ = 0;
  std::atomic<uint64_t> dropped_ = 0;
};

using Lines = std::vector<std::string>;

TEST_F(LogForwarderTest, SendsWhatIsThereAndWhatComes) {
  print("a");
  auto forwarder = make(true);
  ASSERT_TRUE(world_.has(1));
  print("b");
  ASSERT_TRUE(world_.has(2));
  rotate();
  print("c");
  ASSERT_TRUE(world_.has(3));
  EXPECT_FALSE(forwarder->wait_until_sent(std::chrono::steady_clock::now()));
  print("d");
  forwarder->end_run();
  ASSERT_TRUE(forwarder->wait_until_sent(soon()));
  EXPECT_EQ(world_.got, (Lines{"a\n", "b\n", "c\n", "d\n"}));
  forwarder->begin_run();
  print("e");
  ASSERT_TRUE(world_.has(5));
  forwarder->stop();
  EXPECT_EQ(forwarder->progress().sent, 5u);
  EXPECT_EQ(dropped_, 0u);
}

TEST_F(LogForwarderTest, TheNextOneGoesOnWhereTheLastStopped) {
  for (const char* text : {"a", "b", "c"}) print(text);
  send_all();
  EXPECT_FALSE(*has_unsent(options_.log));
  print("d");
  rotate();
  print("e");
  EXPECT_TRUE(*has_unsent(options_.log));
  send_all();
  EXPECT_EQ(world_.got, (Lines{"a\n", "b\n", "c\n", "d\n", "e\n"}));
}

TEST_F(LogForwarderTest, WaitsForAServerThatIsAway) {
  world_.reachable = false;
  print("a");
  auto forwarder = make(true);
  while (world_.tries < 3) std::this_thread::yield();
  print("b");
  forwarder->end_run();
  EXPECT_FALSE(forwarder->wait_until_sent(std::chrono::steady_clock::now()));
  world_.set_reachable(true);
  ASSERT_TRUE(forwarder->wait_until_sent(soon()));
  EXPECT_EQ(world_.got, (Lines{"a\n", "b\n"}));
}

TEST_F(LogForwarderTest, WhatABrokenConnectionDidNotTakeIsSentAgain) {
  world_.takes = 1;
  print("a");
  auto forwarder = make(true);
  ASSERT_TRUE(world_.has(1));
  print("b");
  ASSERT_TRUE(world_.has(2));
  EXPECT_EQ(world_.got, (Lines{"a\n", "b\n"}));
  EXPECT_GE(world_.tries, 2);
}

TEST_F(LogForwarderTest, WhatWasRotatedAwayIsCounted) {
  for (int i = 0; i < 5; ++i) {
    rotate();
    print(std::to_string(i));
    print("impossible");
  }
  send_all();
  // Three files of two entries are left, of which one cannot be said.
  EXPECT_EQ(world_.got, (Lines{"2\n", "3\n", "4\n"}));
  EXPECT_EQ(dropped_, 4u + 3u);
  EXPECT_EQ(read_progress(options_.log.path)->dropped, 7u);
  EXPECT_EQ(read_progress(options_.log.path)->sent, 10u);
}

TEST_F(LogForwarderTest, ABoundOnWhatIsUnsentDropsTheOldest) {
  world_.reachable = false;
  options_.delivery.max_entries = 3;
  print("first");
  auto forwarder = make(true);
  while (world_.tries < 2) std::this_thread::yield();
  for (int i = 0; i < 10; ++i) print(std::to_string(i));
  world_.set_reachable(true);
  ASSERT_TRUE(world_.has(4));
  forwarder->end_run();
  ASSERT_TRUE(forwarder->wait_until_sent(soon()));
  EXPECT_EQ(world_.got.front(), "first\n");
  EXPECT_EQ(world_.got.back(), "9\n");
  EXPECT_EQ(world_.got.size() + dropped_, 11u);
  EXPECT_EQ(dropped_, 7u);
}

TEST_F(LogForwarderTest, AsManyTriesAsItMayHave) {
  world_.reachable = false;
  options_.delivery.max_tries = 2;
  print("a");
  auto forwarder = make(false);
  ASSERT_TRUE(forwarder->wait_until_sent(soon()));
  EXPECT_EQ(dropped_, 1u);
  EXPECT_EQ(world_.tries, 3);
}

TEST_F(LogForwarderTest, WhatIsLeftWhenItIsGivenUpCountsAsDropped) {
  world_.reachable = false;
  print("a");
  print("b");
  auto forwarder = make(false);
  while (world_.tries < 1) std::this_thread::yield();
  forwarder->give_up();
  EXPECT_EQ(dropped_, 2u);
}

TEST(LogTag, NamesTheContainer) {
  LogSubject subject{
      std::string(64, 'a'), "web", "sha256:" + std::string(64, 'b'), "img:1", "sh -c x", 0, {}};
  EXPECT_EQ(*log_tag("", subject), std::string(12, 'a'));
  EXPECT_EQ(*log_tag("{{.Name}}.{{ .ImageName }}-{{.ImageID}}", subject),
            "web.img:1-" + std::string(12, 'b'));
  EXPECT_EQ(*log_tag("plain", subject), "plain");
  for (const char* bad : {"{{.Nothing}}", "{{.Name", "{{json .}}", "{{}}"})
    EXPECT_FALSE(log_tag(bad, subject)) << bad;
}

TEST(LogOptions, AreChecked) {
  struct Case {
    const char* driver;
    LogOptions options;
    const char* words;  // "": fine
  };
  const Case cases[] = {
      {"syslog", {}, ""},
      {"syslog", {{"syslog-address", "tcp://[::1]:99"}, {"mode", "blocking"}}, ""},
      {"syslog", {{"syslog-address", "tcp://h"}}, ""},
      {"syslog", {{"syslog-address", "tcp://h:99999"}}, "invalid port"},
      {"syslog", {{"syslog-address", "h:1"}}, "proto://address"},
      {"syslog", {{"syslog-address", "unix:///no/such/socket"}}, "no such file"},
      {"syslog", {{"syslog-tls-ca-cert", "/x"}}, "only for a syslog-address of the form tcp+tls"},
      {"syslog", {{"tag", "{{.X}}"}}, "no field of a container"},
      {"fluentd", {{"fluentd-address", "h"}}, ""},
      {"fluentd", {{"fluentd-address", "tls://h:1"}, {"fluentd-retry-wait", "2s"}}, ""},
      {"fluentd", {{"fluentd-address", "udp://h:1"}}, "unsupported scheme"},
      {"fluentd", {{"fluentd-async", "maybe"}}, "neither true nor false"},
      {"fluentd", {{"fluentd-retry-wait", "2"}}, "no duration"},
      {"fluentd", {{"fluentd-max-retries", "-1"}}, "no number"},
      {"fluentd", {{"fluentd-async-reconnect-interval", "1ms"}}, "between"},
      {"gelf", {{"gelf-address", "udp://h:1"}, {"gelf-compression-level", "9"}}, ""},
      {"gelf", {{"gelf-address", "udp://h"}}, "missing port"},
      {"gelf",
       {{"gelf-address", "tcp://h:1"}, {"gelf-compression-type", "none"}},
       "only supported"},
      {"gelf", {{"gelf-address", "udp://h:1"}, {"gelf-compression-level", "10"}}, "no number"},
      {"journald", {{"labels", "a"}}, ""},
      {"journald", {{"journald-x", "a"}}, "unknown log opt"},
  };
  for (const Case& one : cases) {
    Status checked = check_remote_log_options(one.driver, one.options);
    const std::string said = checked ? "" : checked.error().message();
    if (*one.words == '\0')
      EXPECT_EQ(said, "") << one.driver;
    else
      EXPECT_NE(said.find(one.words), std::string::npos) << one.driver << ": " << said;
  }
}

}  // namespace
}  // namespace gantry::drivers

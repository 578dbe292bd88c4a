#include "drivers/exec/log_reader.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <thread>

#include "base/fs.h"
#include "base/sys.h"
#include "runtime/shim/log_format.h"

namespace gantry::drivers {
namespace {

// A log of either kind, made here as a shim would.
class LogReaderTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-logs-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    config_.driver = GetParam();
    config_.path = directory_ + "/log";
    config_.max_files = 4;
  }
  void TearDown() override { (void)fs::remove_tree(directory_); }

  std::string entry(const std::string& line, int64_t time) {
    std::string out;
    if (config_.driver == "local") {
      shim::append_local(out, shim::Stream::out, time, line, std::nullopt);
      return out;
    }
    char printed[32];
    std::string_view text(printed, static_cast<size_t>(shim::print_time(printed, time) - printed));
    return fmt::format("{{\"log\":\"{}\\n\",\"stream\":\"stdout\",\"time\":\"{}\"}}\n", line, text);
  }
  void append(const std::string& line, int64_t time, const std::string& suffix = "") {
    UniqueFd file = *sys::open(config_.path + suffix, O_WRONLY | O_CREAT | O_APPEND, 0600);
    ASSERT_TRUE(sys::write_all(file.get(), entry(line, time)));
  }
  void rotate() {
    (void)sys::renameat(AT_FDCWD, config_.path + ".2", AT_FDCWD, config_.path + ".3");
    (void)sys::renameat(AT_FDCWD, config_.path + ".1", AT_FDCWD, config_.path + ".2");
    ASSERT_TRUE(sys::renameat(AT_FDCWD, config_.path, AT_FDCWD, config_.path + ".1"));
  }
  std::string read(const LogQuery& query) {
    auto reader = std::move(LogReader::open(config_, query)).value();
    return drain(*reader);
  }
  std::string drain(LogReader& reader) {
    std::string all;
    for (;;) {
      auto next = reader.next();
      EXPECT_TRUE(next) << (next ? "" : next.error().message());
      if (!next || !*next) return all;
      all += (*next)->line;
    }
  }

  std::string directory_;
  shim::LogConfig config_;
};

TEST_P(LogReaderTest, ReadsAllFilesOldestFirst) {
  EXPECT_EQ(read({}), "");
  append("1", 1, ".2");
  append("2", 2, ".1");
  append("3", 3, ".1");
  append("4", 4);
  EXPECT_EQ(read({}), "1\n2\n3\n4\n");
}

TEST_P(LogReaderTest, TailCountsOverRotatedFiles) {
  append("1", 1, ".2");
  append("2", 2, ".1");
  append("3", 3, ".1");
  append("4", 4);
  EXPECT_EQ(read({.tail = 0}), "");
  EXPECT_EQ(read({.tail = 1}), "4\n");
  EXPECT_EQ(read({.tail = 2}), "3\n4\n");
  EXPECT_EQ(read({.tail = 3}), "2\n3\n4\n");
  EXPECT_EQ(read({.tail = 4}), "1\n2\n3\n4\n");
  EXPECT_EQ(read({.tail = 9}), "1\n2\n3\n4\n");
}

TEST_P(LogReaderTest, TailFindsItsPlaceInALongFile) {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += entry(std::to_string(i), i + 1);
  ASSERT_TRUE(fs::write_file(config_.path, text));
  EXPECT_EQ(read({.tail = 3}), "19997\n19998\n19999\n");
  std::string most = read({.tail = 19999});
  EXPECT_EQ(most.substr(0, 4), "1\n2\n");
}

TEST_P(LogReaderTest, SinceAndUntilCutTheTime) {
  for (int i = 1; i <= 5; ++i) append(std::to_string(i), i * 1'000'000'000LL);
  EXPECT_EQ(read({.since = 3'000'000'000}), "3\n4\n5\n");
  EXPECT_EQ(read({.until = 2'000'000'000}), "1\n2\n");
  EXPECT_EQ(read({.tail = 4, .since = 1, .until = 3'000'000'000}), "2\n3\n");
  // An `until` in the past ends a follower, too.
  EXPECT_EQ(read({.until = 2'000'000'000, .follow = true}), "1\n2\n");
}

TEST_P(LogReaderTest, FollowsAcrossRotationUntilTheEnd) {
  append("1", 1);
  auto reader = std::move(LogReader::open(config_, {.follow = true})).value();
  EXPECT_EQ((*reader->next())->line, "1\n");
  std::thread writer([&] {
    for (int i = 2; i <= 300; ++i) {
      if (i % 100 == 0) rotate();
      append(std::to_string(i), i);
    }
    reader->finish();
  });
  std::string all = drain(*reader);
  writer.join();
  std::string expected;
  for (int i = 2; i <= 300; ++i) expected += std::to_string(i) + "\n";
  EXPECT_EQ(all, expected);
}

TEST_P(LogReaderTest, AFileThatIsRenamedMeanwhileIsNotReadTwice) {
  append("1", 1);
  std::atomic<bool> over = false;
  std::thread writer([&] {
    while (!over) {
      (void)sys::renameat(AT_FDCWD, config_.path, AT_FDCWD, config_.path + ".1");
      (void)sys::renameat(AT_FDCWD, config_.path + ".1", AT_FDCWD, config_.path);
    }
  });
  int twice = 0;
  for (int i = 0; i < 2000; ++i)
    if (read({}) == "1\n1\n") ++twice;
  over = true;
  writer.join();
  EXPECT_EQ(twice, 0);
}

TEST_P(LogReaderTest, AFollowerSeesALogThatIsTruncated) {
  config_.max_files = 1;
  append("a long line that was there before", 1);
  auto reader = std::move(LogReader::open(config_, {.follow = true})).value();
  EXPECT_TRUE(*reader->next());
  ASSERT_EQ(::truncate(config_.path.c_str(), 0), 0);
  append("x", 2);
  reader->finish();
  EXPECT_EQ(drain(*reader), "x\n");
}

TEST_P(LogReaderTest, AWaitingFollowerIsCancelled) {
  UniqueFd cancel = *sys::eventfd(1);
  auto reader = std::move(LogReader::open(config_, {.follow = true})).value();
  auto next = reader->next(cancel.get());
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().kind(), ErrorKind::cancelled);
}

TEST_P(LogReaderTest, AnUnfinishedEntryIsNotShown) {
  append("1", 1);
  std::string half = entry("2", 2);
  UniqueFd file = *sys::open(config_.path, O_WRONLY | O_APPEND);
  ASSERT_TRUE(sys::write_all(file.get(), half.substr(0, half.size() / 2)));
  EXPECT_EQ(read({}), "1\n");
  ASSERT_TRUE(sys::write_all(file.get(), half.substr(half.size() / 2)));
  EXPECT_EQ(read({}), "1\n2\n");
}

INSTANTIATE_TEST_SUITE_P(Formats, LogReaderTest, testing::Values("json-file", "local"),
                         [](const auto& test) {
                           return std::string(test.param) == "local" ? "Local" : "JsonFile";
                         });

TEST(LogReader, GarbageBetweenLinesIsSkipped) {
  char name[] = "/tmp/gantry-logs-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  shim::LogConfig config;
  config.path = std::string(name) + "/log";
  ASSERT_TRUE(fs::write_file(
      config.path,
      "{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"2024-01-01T00:00:00Z\"}\n"
      "{\"log\":\"half\n\n"
      "{\"log\":\"b\\n\",\"stream\":\"stderr\",\"time\":\"2024-01-01T00:00:01Z\"}\n"));
  auto reader = std::move(LogReader::open(config, {})).value();
  EXPECT_EQ((*reader->next())->line, "a\n");
  EXPECT_EQ((*reader->next())->stream, shim::Stream::err);
  EXPECT_FALSE(*reader->next());
  (void)fs::remove_tree(name);
}

}  // namespace
}  // namespace gantry::drivers

#include "runtime/shim/log_writer.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fs.h"

namespace gantry::shim {
namespace {

constexpr int64_t kTime = 1'700'000'000'120'000'000;

std::string escaped(std::string_view text) {
  std::string out(6 * text.size(), '\0');
  out.resize(static_cast<size_t>(escape_json(out.data(), text) - out.data()));
  return out;
}

std::string printed(int64_t ns) {
  char text[32];
  return std::string(text, static_cast<size_t>(print_time(text, ns) - text));
}

class LogWriterTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-log-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    config_.path = directory_ + "/log";
  }
  void TearDown() override { (void)fs::remove_tree(directory_); }
  std::unique_ptr<LogWriter> open() { return std::move(LogWriter::open(config_)).value(); }
  std::string contents(const std::string& suffix = "") {
    return fs::read_file(config_.path + suffix).value_or("(absent)");
  }
  std::string directory_;
  LogConfig config_;
};

TEST(LogFormat, EscapesAsGoDoes) {
  EXPECT_EQ(escaped("plain text that is longer than sixteen bytes"),
            "plain text that is longer than sixteen bytes");
  EXPECT_EQ(escaped("a\"b\\c\n\r\t\x01<>&\x7f"),
            "a\\\"b\\\\c\\n\\r\\u0009\\u0001\\u003c\\u003e\\u0026\x7f");
  EXPECT_EQ(escaped("ä€😀"), "ä€😀");
  EXPECT_EQ(escaped("\xff\xc0\x80\xed\xa0\x80x\xe2\x82"),
            "\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffdx\\ufffd\\ufffd");
  EXPECT_EQ(escaped("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa"), "\\u2028\\u2029\xe2\x80\xaa");
  EXPECT_EQ(escaped(std::string(20, 'x') + "\n"), std::string(20, 'x') + "\\n");
}

TEST(LogFormat, TimesAreThoseOfTheClock) {
  for (int64_t ns : {kTime, int64_t{1}, int64_t{951'782'400'000'000'000},  // 29 February 2000
                     int64_t{4'102'444'799'999'999'999}, int64_t{1'709'164'800'500'000'000}})
    EXPECT_EQ(printed(ns), format_time(ns));
}

TEST_F(LogWriterTest, WritesDockersLines) {
  config_.attributes = {{"tag", "a<b"}, {"z", "1"}};
  auto writer = open();
  writer->write(Stream::out, "hel", kTime);
  writer->write(Stream::err, "oops\n", kTime + 1);
  writer->write(Stream::out, "lo\n\nend", kTime);
  writer->finish(Stream::out, kTime);
  ASSERT_TRUE(writer->flush());
  std::string attrs = R"("attrs":{"tag":"a\u003cb","z":"1"},)";
  std::string time = R"("time":"2023-11-14T22:13:20.12Z"})"
                     "\n";
  EXPECT_EQ(contents(), R"({"log":"oops\n","stream":"stderr",)" + attrs +
                            R"("time":"2023-11-14T22:13:20.120000001Z"})"
                            "\n" +
                            R"({"log":"hello\n","stream":"stdout",)" + attrs + time +
                            R"({"log":"\n","stream":"stdout",)" + attrs + time +
                            R"({"log":"end","stream":"stdout",)" + attrs + time);
}

TEST_F(LogWriterTest, CutsLongLinesWhereDockerDoes) {
  auto writer = open();
  std::string exact(kLogPiece, 'a');
  writer->write(Stream::out, exact + "\n", kTime);            // piece and an empty end
  writer->write(Stream::out, exact.substr(1) + "\n", kTime);  // whole
  writer->write(Stream::out, exact.substr(0, 1000), kTime);
  writer->write(Stream::out, exact + "b\n", kTime + 5);  // pieces of one time
  ASSERT_TRUE(writer->flush());
  std::vector<std::pair<size_t, bool>> lines;
  std::vector<int64_t> times;
  std::string text = contents();
  for (std::string_view rest = text; !rest.empty();) {
    size_t end = rest.find('\n');
    LogEntry entry = std::move(parse_json_entry(rest.substr(0, end))).value();
    lines.emplace_back(entry.line.size(), entry.line.ends_with('\n'));
    times.push_back(entry.time);
    rest.remove_prefix(end + 1);
  }
  using Line = std::pair<size_t, bool>;
  EXPECT_EQ(
      lines,
      (std::vector<Line>{
          {kLogPiece, false}, {1, true}, {kLogPiece, true}, {kLogPiece, false}, {1002, true}}));
  EXPECT_EQ(times[3], times[4]);
}

TEST_F(LogWriterTest, LocalEntriesAreReadBackFromBothEnds) {
  config_.driver = "local";
  auto writer = open();
  writer->write(Stream::err, "x\n" + std::string(kLogPiece + 1, 'y') + "\n", kTime);
  ASSERT_TRUE(writer->flush());
  std::string text = contents();
  std::vector<LogEntry> entries;
  for (std::string_view rest = text; !rest.empty();) {
    auto byte = [&](size_t i) {
      return static_cast<uint32_t>(static_cast<unsigned char>(rest[i]));
    };
    uint32_t size = byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
    ASSERT_GE(rest.size(), size + 8);
    EXPECT_EQ(rest.substr(0, 4), rest.substr(size + 4, 4));
    entries.push_back(std::move(parse_local_entry(rest.substr(4, size))).value());
    rest.remove_prefix(size + 8);
  }
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].line, "x\n");
  EXPECT_EQ(entries[0].stream, Stream::err);
  EXPECT_EQ(entries[0].time, kTime);
  EXPECT_EQ(entries[1].line.size(), kLogPiece);
  EXPECT_EQ(entries[2].line, "y\n");
  EXPECT_EQ(entries[1].partial->id, entries[2].partial->id);
  EXPECT_EQ(entries[2].partial->ordinal, 2);
  EXPECT_TRUE(entries[2].partial->last);
}

TEST_F(LogWriterTest, RotatesAndKeepsTheNewestFiles) {
  config_.max_size = 100;
  config_.max_files = 3;
  auto writer = open();
  for (int i = 0; i < 9; ++i) writer->write(Stream::out, fmt::format("line {}\n", i), kTime);
  ASSERT_TRUE(writer->flush());
  // 76 bytes each: the second one passes the limit, the third goes to a new file.
  EXPECT_NE(contents().find("line 8"), std::string::npos);
  EXPECT_EQ(contents().find("line 7"), std::string::npos);
  EXPECT_NE(contents(".1").find("line 6"), std::string::npos);
  EXPECT_NE(contents(".1").find("line 7"), std::string::npos);
  EXPECT_NE(contents(".2").find("line 4"), std::string::npos);
  EXPECT_EQ(contents(".3"), "(absent)");
}

TEST_F(LogWriterTest, ASingleFileIsTruncated) {
  config_.max_size = 100;
  auto writer = open();
  for (int i = 0; i < 5; ++i) writer->write(Stream::out, fmt::format("line {}\n", i), kTime);
  ASSERT_TRUE(writer->flush());
  EXPECT_EQ(contents().find("line 3"), std::string::npos);
  EXPECT_NE(contents().find("line 4"), std::string::npos);
  EXPECT_FALSE(fs::exists(config_.path + ".1"));
}

TEST_F(LogWriterTest, AnExistingFileIsGoneOnWith) {
  open()->write(Stream::out, "first\n", kTime);
  open()->write(Stream::out, "second\n", kTime);
  EXPECT_NE(contents().find("first"), std::string::npos);
  EXPECT_NE(contents().find("second"), std::string::npos);
}

TEST_F(LogWriterTest, AFullDiskLosesWholeEntriesAndIsReported) {
  config_.path = "/dev/full";
  auto writer = open();
  writer->write(Stream::out, "x\n", kTime);
  Status flushed = writer->flush();
  ASSERT_FALSE(flushed);
  EXPECT_EQ(flushed.error().kind(), ErrorKind::unavailable);
  EXPECT_TRUE(writer->flush());
}

}  // namespace
}  // namespace gantry::shim

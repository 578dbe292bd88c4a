#include "client/io/stream.h"

#include <gtest/gtest.h>

namespace gantry::client {
namespace {

std::string frame(unsigned stream, std::string_view data) {
  std::string out(8, '\0');
  out[0] = static_cast<char>(stream);
  for (int i = 0; i < 4; ++i)
    out[static_cast<size_t>(4 + i)] = static_cast<char>(data.size() >> (24 - 8 * i));
  return out + std::string(data);
}

TEST(Demultiplexer, FramesMayBeCutAnywhere) {
  const std::string bytes =
      frame(1, "hello ") + frame(2, "oops") + frame(1, "") + frame(1, "world");
  for (size_t step = 1; step <= bytes.size(); ++step) {
    Demultiplexer demultiplexer;
    std::string out, err;
    for (size_t at = 0; at < bytes.size(); at += step)
      ASSERT_TRUE(
          demultiplexer.feed(bytes.substr(at, step), [&](Channel channel, std::string_view data) {
            (channel == Channel::out ? out : err) += data;
          }));
    EXPECT_EQ(out, "hello world");
    EXPECT_EQ(err, "oops");
    EXPECT_TRUE(demultiplexer.at_frame_boundary());
  }
}

TEST(Demultiplexer, ErrorsOfTheDaemonAndWhatIsNoFrame) {
  auto nothing = [](Channel, std::string_view) {};
  Demultiplexer first, second;
  EXPECT_EQ(first.feed(frame(3, "broken"), nothing).error().message(),
            "error from daemon in stream: broken");
  EXPECT_FALSE(second.feed("HTTP/1.1 500", nothing));
}

TEST(DetachFilter, FindsTheKeysAcrossReadsAndPassesOnWhatIsNone) {
  bool detached = false;
  DetachFilter filter("\x10\x11");
  EXPECT_EQ(filter.feed("ab\x10", detached), "ab");
  EXPECT_FALSE(detached);
  EXPECT_EQ(filter.feed("c\x10\x10", detached),
            "\x10"
            "c\x10");
  EXPECT_FALSE(detached);
  EXPECT_EQ(filter.feed("\x11xyz", detached), "");
  EXPECT_TRUE(detached);
}

TEST(DetachFilter, AnEmptySequenceNeverMatches) {
  bool detached = false;
  EXPECT_EQ(DetachFilter("").feed("\x10\x11", detached), "\x10\x11");
  EXPECT_FALSE(detached);
}

}  // namespace
}  // namespace gantry::client

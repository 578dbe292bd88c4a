#include "runtime/shim/detach_keys.h"

#include <gtest/gtest.h>

namespace gantry::shim {
namespace {

TEST(DetachKeys, WordsBecomeBytes) {
  EXPECT_EQ(*parse_detach_keys("ctrl-p,ctrl-q"), "\x10\x11");
  EXPECT_EQ(*parse_detach_keys("a,ctrl-[,ctrl-_"), "a\x1b\x1f");
  EXPECT_EQ(*parse_detach_keys("ctrl-@"), std::string(1, '\0'));
  EXPECT_EQ(*parse_detach_keys(""), "");
  for (const char* bad : {"ctrl-P", "ctrl-", "ab", "ctrl-p,,ctrl-q", "ctrl-1"})
    EXPECT_FALSE(parse_detach_keys(bad)) << bad;
}

TEST(DetachKeys, ASequenceDetachesHoweverItIsCut) {
  DetachMatcher matcher("\x10\x11");
  auto first = matcher.feed("ls\x10");
  EXPECT_EQ(first.input, "ls");
  EXPECT_FALSE(first.detached);
  auto second = matcher.feed("\x11rest");
  EXPECT_TRUE(second.detached);
  EXPECT_EQ(second.input, "");
}

TEST(DetachKeys, AStartedSequenceIsGivenBack) {
  DetachMatcher matcher("\x10\x11");
  EXPECT_EQ(matcher.feed("\x10x").input, "\x10x");
  EXPECT_EQ(matcher.feed("\x10").input, "");
  auto again = matcher.feed("\x10\x11");
  EXPECT_EQ(again.input, "\x10");
  EXPECT_TRUE(again.detached);
}

TEST(DetachKeys, WithoutKeysNothingDetaches) {
  DetachMatcher matcher;
  auto result = matcher.feed("\x10\x11");
  EXPECT_EQ(result.input, "\x10\x11");
  EXPECT_FALSE(result.detached);
}

}  // namespace
}  // namespace gantry::shim

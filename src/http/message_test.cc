#include "http/message.h"

#include <gtest/gtest.h>

namespace gantry::http {
namespace {

TEST(Headers, names_compare_without_case_and_keep_their_order) {
  Headers headers{{"Content-Type", "a"}, {"X-One", "1"}, {"content-type", "b"}};
  EXPECT_EQ(headers.get("CONTENT-TYPE"), "a");
  EXPECT_FALSE(headers.has("X-Two"));
  headers.set("Content-type", "c");
  ASSERT_EQ(headers.fields().size(), 2u);
  EXPECT_EQ(headers.fields().back().second, "c");
}

TEST(Headers, tokens_of_a_list_are_found) {
  Headers headers{{"Connection", "keep-alive , Upgrade"}, {"Connection", "x"}};
  EXPECT_TRUE(headers.has_token("connection", "upgrade"));
  EXPECT_TRUE(headers.has_token("connection", "X"));
  EXPECT_FALSE(headers.has_token("connection", "keep"));
}

TEST(Query, values_are_decoded_and_repeated_names_kept) {
  Query query = Query::parse("a=1&b=x%20y+z&a=2&&c&%66=%3d");
  EXPECT_EQ(query.get("a"), "1");
  EXPECT_EQ(query.all("a"), (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(query.get("b"), "x y z");
  EXPECT_TRUE(query.has("c"));
  EXPECT_EQ(query.get("c"), "");
  EXPECT_EQ(query.get("f"), "=");
}

TEST(Query, a_pair_with_a_bad_escape_is_left_out) {
  Query query = Query::parse("a=%zz&b=%2&c=ok&d=x;y");
  EXPECT_FALSE(query.has("a"));
  EXPECT_FALSE(query.has("b"));
  EXPECT_FALSE(query.has("d"));
  EXPECT_EQ(query.get("c"), "ok");
}

TEST(Query, flags_follow_docker) {
  Query query = Query::parse("a=1&b=0&c=False&d=&e=none&f=True&g=anything&h=No");
  EXPECT_TRUE(query.flag("a"));
  EXPECT_FALSE(query.flag("b"));
  EXPECT_FALSE(query.flag("c"));
  EXPECT_FALSE(query.flag("d"));
  EXPECT_FALSE(query.flag("e"));
  EXPECT_TRUE(query.flag("f"));
  EXPECT_TRUE(query.flag("g"));
  EXPECT_FALSE(query.flag("h"));
  EXPECT_FALSE(query.flag("absent"));
}

TEST(Target, is_split_and_decoded) {
  auto target = parse_target("/v1.51/images/a%2Fb/json?x=%20");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/v1.51/images/a/b/json");
  EXPECT_EQ(target->query, "x=%20");
  auto absolute = parse_target("http://docker/_ping");
  ASSERT_TRUE(absolute);
  EXPECT_EQ(absolute->path, "/_ping");
  auto bare = parse_target("http://docker");
  ASSERT_TRUE(bare);
  EXPECT_EQ(bare->path, "/");
}

TEST(Target, malformed_ones_are_refused) {
  for (std::string_view bad : {"", "*", "a", "?x", "/%", "/%4", "/%4x", "/a%00b", "host:80"})
    EXPECT_FALSE(parse_target(bad)) << bad;
}

TEST(Percent, encode_and_decode_are_inverse_for_every_byte) {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  auto back = percent_decode(percent_encode(all));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, all);
  EXPECT_EQ(percent_encode("a b/c"), "a%20b%2Fc");
}

TEST(Percent, an_escape_at_the_very_end_is_decoded) {
  auto decoded = percent_decode("a%41");
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, "aA");
}

}  // namespace
}  // namespace gantry::http

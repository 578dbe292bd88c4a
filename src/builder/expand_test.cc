#include "builder/expand.h"

#include <gtest/gtest.h>

#include "builder/patterns.h"

namespace gantry::builder {
namespace {

std::optional<std::string> variable(std::string_view name) {
  if (name == "a") return "one";
  if (name == "empty") return "";
  if (name == "path") return "/usr/local/lib/x.tar.gz";
  if (name == "list") return "x  y z";
  return {};
}
std::string word(const std::string& text) {
  auto out = expand_word(text, variable);
  return out ? *out : "error: " + out.error().message();
}

TEST(Expand, EveryModifier) {
  const std::pair<const char*, const char*> cases[] = {
      {"$a-${a}", "one-one"},
      {"${b:-x}", "x"},
      {"${empty:-x}", "x"},
      {"${empty-x}", ""},
      {"${a:+y}", "y"},
      {"${empty:+y}", ""},
      {"${empty+y}", "y"},
      {"${b+y}", ""},
      {"${b:-${a}${c:-d}}", "oned"},
      {"${path#*/}", "usr/local/lib/x.tar.gz"},
      {"${path##*/}", "x.tar.gz"},
      {"${path%.*}", "/usr/local/lib/x.tar"},
      {"${path%%.*}", "/usr/local/lib/x"},
      {"${path/l/L}", "/usr/Local/lib/x.tar.gz"},
      {"${path//l/L}", "/usr/LocaL/Lib/x.tar.gz"},
      {"${path/l?b/}", "/usr/local//x.tar.gz"},
      {"${a#z}", "one"},
      {"${b:?no b}", "error: b: no b"},
      {"${b?}", "error: b: is not allowed to be unset"},
      {"${a:?no}", "one"}};
  for (auto [text, expected] : cases) EXPECT_EQ(word(text), expected) << text;
}

TEST(Expand, QuotesAndEscapes) {
  const std::pair<const char*, const char*> cases[] = {
      {"'$a'", "$a"},
      {"\"$a b\"", "one b"},
      {"\\$a", "$a"},
      {"\"\\$a\"", "$a"},
      {"\"\\n\"", "\\n"},
      {"a\\ b", "a b"},
      {"$", "$"},
      {"$ x", "$ x"},
      {"$1x", "x"},
      {"\"a", "error: unexpected end of statement while looking for matching double-quote"},
      {"'a", "error: unexpected end of statement while looking for matching single-quote"},
      {"${a", "error: syntax error: missing '}'"},
      {"${a:-x", "error: syntax error: missing '}'"},
      {"${a:=x}", "error: unsupported modifier (:=) in substitution"},
      {"${}", "error: syntax error: bad substitution"}};
  for (auto [text, expected] : cases) EXPECT_EQ(word(text), expected) << text;
  EXPECT_EQ(*expand_word("`$a\\b", variable, '`'), "$a\\b");
  EXPECT_EQ(*expand_text("\"$a\" '$a' \\$a", variable), "\"one\" 'one' $a");
}

TEST(Expand, Words) {
  EXPECT_EQ(*expand_words("$list \"$list\" '' b", variable),
            (std::vector<std::string>{"x", "y", "z", "x  y z", "", "b"}));
}

TEST(Expand, IsBounded) {
  EXPECT_FALSE(expand_word(std::string(100, '{').insert(0, "$"), variable));
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "${b:-";
  EXPECT_FALSE(expand_word(deep + std::string(100, '}'), variable));
}

bool matches(std::string_view pattern, std::string_view path, Deep deep = Deep::yes) {
  auto parsed = Pattern::parse(pattern, deep);
  return parsed && parsed->matches(path);
}

TEST(Patterns, AsGoAndDockerHaveThem) {
  EXPECT_TRUE(matches("*.go", "a.go"));
  EXPECT_FALSE(matches("*.go", "d/a.go"));
  EXPECT_TRUE(matches("**/*.go", "d/e/a.go"));
  EXPECT_TRUE(matches("**/*.go", "a.go"));
  EXPECT_TRUE(matches("**", "d/e"));
  EXPECT_TRUE(matches("a/**/b", "a/b"));
  EXPECT_TRUE(matches("a/**/b", "a/x/y/b"));
  EXPECT_FALSE(matches("a/**/b", "a/xb"));
  EXPECT_TRUE(matches("[a-c]?", "bx"));
  EXPECT_FALSE(matches("[^a-c]", "b"));
  EXPECT_TRUE(matches("\\*", "*"));
  EXPECT_FALSE(matches("**/b", "a/b", Deep::no) && matches("**", "a/b", Deep::no));
  for (const char* bad : {"[", "[a", "[]a]", "a\\", "[-]", "[x-]"})
    EXPECT_FALSE(Pattern::parse(bad, Deep::yes)) << bad;
}

TEST(Patterns, TheLastRuleDecides) {
  auto list = IgnoreList::parse(
      "# comment\n/build\n*.md\n!README.md\n  tmp/ \nnode_modules/**\n!a/../keep\n");
  ASSERT_TRUE(list) << list.error().message();
  EXPECT_TRUE(list->ignores("build/x/y"));
  EXPECT_TRUE(list->ignores("x.md"));
  EXPECT_FALSE(list->ignores("README.md"));
  EXPECT_TRUE(list->ignores("tmp/x"));
  EXPECT_TRUE(list->ignores("node_modules/a/b"));
  EXPECT_FALSE(list->ignores("src/main.c"));
  EXPECT_TRUE(list->has_exceptions());
  EXPECT_FALSE(IgnoreList::parse("a\n!\n"));
  EXPECT_EQ(IgnoreList::parse("a\n[\n").error().message(), "line 2 ([): syntax error in pattern");
}

}  // namespace
}  // namespace gantry::builder

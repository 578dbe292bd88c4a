#include "client/cli/flags.h"

#include <gtest/gtest.h>

namespace gantry::client {
namespace {

struct FlagsTestOptions {
  bool interactive = false, tty = false, rm = false;
  std::optional<bool> init;
  std::string name, user;
  int64_t last = -1;
  uint16_t weight = 0;
  std::vector<std::string> env;
};
constexpr Flag kTestFlags[] = {
    flag<&FlagsTestOptions::interactive>("interactive", 'i', "Keep STDIN open"),
    flag<&FlagsTestOptions::tty>("tty", 't', "Allocate a pseudo-TTY"),
    flag<&FlagsTestOptions::rm>("rm", 0, "Remove"),
    flag<&FlagsTestOptions::init>("init", 0, "Run an init"),
    flag<&FlagsTestOptions::name>("name", 0, "Assign a name"),
    flag<&FlagsTestOptions::user>("user", 'u', "Username"),
    flag<&FlagsTestOptions::last>("last", 'n', "Show n last", {.default_text = "-1"}),
    flag<&FlagsTestOptions::weight>("weight", 0, "Weight"),
    flag<&FlagsTestOptions::env>("env", 'e', "Set environment variables"),
};
const FlagGroup kTestGroups[] = {own_flags(kTestFlags)};

struct Parsed {
  FlagsTestOptions options;
  std::vector<std::string> arguments;
  bool help = false;
  std::string error;
};
Parsed parse(std::vector<std::string> words, Interspersed interspersed = Interspersed::yes) {
  Parsed out;
  auto parsed = parse_flags(kTestGroups, &out.options, interspersed, words);
  if (!parsed) {
    out.error = parsed.error().message();
    return out;
  }
  out.arguments = parsed->arguments;
  out.help = parsed->help;
  return out;
}
using Words = std::vector<std::string>;

TEST(Flags, ClustersOfBooleansMayEndInAFlagWithAValue) {
  Parsed p = parse({"-itu", "root", "image"});
  EXPECT_TRUE(p.options.interactive);
  EXPECT_TRUE(p.options.tty);
  EXPECT_EQ(p.options.user, "root");
  EXPECT_EQ(p.arguments, Words{"image"});
  EXPECT_EQ(parse({"-ituroot"}).options.user, "root");
  EXPECT_EQ(parse({"-u=root"}).options.user, "root");
}

TEST(Flags, LongFlagsTakeAValueWithEqualsOrAsTheNextWord) {
  EXPECT_EQ(parse({"--name=x=y"}).options.name, "x=y");
  EXPECT_EQ(parse({"--name", "--rm"}).options.name, "--rm");
  EXPECT_EQ(parse({"--name="}).options.name, "");
}

TEST(Flags, BooleansTakeAValueOnlyWithEquals) {
  EXPECT_FALSE(parse({"--rm=false"}).options.rm);
  Parsed p = parse({"--rm", "false"});
  EXPECT_TRUE(p.options.rm);
  EXPECT_EQ(p.arguments, Words{"false"});
  EXPECT_EQ(parse({"--init=0"}).options.init, false);
  EXPECT_EQ(parse({}).options.init, std::nullopt);
}

TEST(Flags, RepeatableFlagsKeepTheirOrder) {
  EXPECT_EQ(parse({"-e", "A=1", "-eB=2", "--env=C=3"}).options.env, (Words{"A=1", "B=2", "C=3"}));
}

TEST(Flags, TheFirstArgumentEndsTheFlagsWhereTheCommandSaysSo) {
  Parsed p = parse({"--rm", "image", "ls", "-u", "x", "--"}, Interspersed::no);
  EXPECT_TRUE(p.options.rm);
  EXPECT_EQ(p.options.user, "");
  EXPECT_EQ(p.arguments, (Words{"image", "ls", "-u", "x", "--"}));
  EXPECT_EQ(parse({"a", "-u", "x", "b"}).arguments, (Words{"a", "b"}));
}

TEST(Flags, TwoDashesEndTheFlagsAndOneDashIsAnArgument) {
  EXPECT_EQ(parse({"-i", "--", "-t", "--rm"}).arguments, (Words{"-t", "--rm"}));
  EXPECT_EQ(parse({"-", "-i"}).arguments, Words{"-"});
}

TEST(Flags, ErrorsAreWordedAsPflagWordsThem) {
  EXPECT_EQ(parse({"--foo"}).error, "unknown flag: --foo");
  EXPECT_EQ(parse({"--foo=1"}).error, "unknown flag: --foo");
  EXPECT_EQ(parse({"-izq"}).error, "unknown shorthand flag: 'z' in -zq");
  EXPECT_EQ(parse({"--name"}).error, "flag needs an argument: --name");
  EXPECT_EQ(parse({"-iu"}).error, "flag needs an argument: 'u' in -iu");
  EXPECT_EQ(parse({"--=x"}).error, "bad flag syntax: --=x");
  EXPECT_EQ(
      parse({"--rm=x"}).error,
      "invalid argument \"x\" for \"--rm\" flag: strconv.ParseBool: parsing \"x\": invalid syntax");
  EXPECT_EQ(parse({"-n", "x"}).error,
            "invalid argument \"x\" for \"-n, --last\" flag: strconv.ParseInt: parsing \"x\": "
            "invalid syntax");
  EXPECT_EQ(parse({"--weight", "65536"}).error,
            "invalid argument \"65536\" for \"--weight\" flag: strconv.ParseUint: parsing "
            "\"65536\": value out of range");
}

TEST(Flags, IntegersAreGos) {
  EXPECT_EQ(parse({"-n", "0x10"}).options.last, 16);
  EXPECT_EQ(parse({"-n", "-5"}).options.last, -5);
  EXPECT_EQ(parse({"-n", "-9223372036854775808"}).options.last, INT64_MIN);
  EXPECT_NE(parse({"-n", "9223372036854775808"}).error, "");
  EXPECT_NE(parse({"-n", ""}).error, "");
  EXPECT_NE(parse({"-n", "1x"}).error, "");
}

TEST(Flags, HelpIsAskedForByTheLongFlagAndByAFreeShortOne) {
  EXPECT_TRUE(parse({"--help", "--foo"}).help);
  EXPECT_TRUE(parse({"-h"}).help);
}

TEST(Flags, TheHelpIsAlignedSortedAndFolded) {
  std::string text = describe_flags(kTestGroups, 60);
  EXPECT_NE(text.find("  -e, --env list      Set environment variables\n"), text.npos) << text;
  EXPECT_NE(text.find("      --init          Run an init\n"), text.npos) << text;
  EXPECT_LT(text.find("--env"), text.find("--weight"));
  for (size_t start = 0, end; (end = text.find('\n', start)) != text.npos; start = end + 1)
    EXPECT_LE(end - start, 60u);
}

}  // namespace
}  // namespace gantry::client

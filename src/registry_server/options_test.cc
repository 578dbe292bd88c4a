#include "registry_server/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/id.h"

namespace gantry::registry_server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class OptionsTest : public testing::Test {
 protected:
  ~OptionsTest() override { (void)::unlink(path_.c_str()); }
  Result<Options> parse(const std::string& file, std::vector<std::string> flags = {}) {
    EXPECT_TRUE(fs::write_file(path_, file));
    flags.insert(flags.begin(), {"--config", path_});
    return Options::parse(flags);
  }
  std::string path_ = "/tmp/gantry-registry-conf-" + random_hex(8);
};

TEST_F(OptionsTest, FlagsWinOverTheFile) {
  auto options = parse(
      "# a comment\n"
      "address = 127.0.0.1:1\naddress = 127.0.0.1:2\n"
      "delete = on\nquota-total = 10g\ngc-interval = 1h30m\n",
      {"--delete=off", "--address", "127.0.0.1:3", "--read-only"});
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_FALSE(options->deletes);
  EXPECT_TRUE(options->read_only);
  EXPECT_EQ(options->quota_total, 10LL << 30);
  EXPECT_EQ(options->gc_interval, 5'400'000'000'000);
  EXPECT_THAT(options->addresses, ElementsAre("127.0.0.1:3"));
}

TEST_F(OptionsTest, EveryWrongLineOfTheFileIsTold) {
  auto options =
      parse("delete = maybe\nfly = on\nno equals\nroot = relative\ndelete = on\ndelete = on\n");
  ASSERT_FALSE(options);
  for (const char* part :
       {"line 1: delete = maybe: expected on or off", "line 2: there is no option 'fly'",
        "line 3: expected key = value", "line 4: root = relative: expected an absolute path",
        "line 6: delete is set twice"})
    EXPECT_THAT(options.error().message(), HasSubstr(part));
}

TEST_F(OptionsTest, WhatDoesNotGoTogetherIsRefused) {
  EXPECT_THAT(parse("tls-key = /x").error().message(), HasSubstr("go together"));
  EXPECT_THAT(parse("auth = htpasswd").error().message(), HasSubstr("needs htpasswd"));
  EXPECT_THAT(parse("auth = token").error().message(), HasSubstr("token-realm"));
  EXPECT_THAT(parse("auth = token\ntoken-realm = https://a/").error().message(),
              HasSubstr("nobody could sign"));
  EXPECT_THAT(parse("upstream = docker.io").error().message(), HasSubstr("wants a URL"));
  EXPECT_THAT(parse("token-endpoint = on").error().message(), HasSubstr("needs auth = token"));
}

TEST_F(OptionsTest, FlagsAreChecked) {
  EXPECT_THAT(parse("", {"--fly"}).error().message(), HasSubstr("there is no option '--fly'"));
  EXPECT_THAT(parse("", {"--root"}).error().message(), HasSubstr("needs a value"));
  EXPECT_THAT(parse("", {"word"}).error().message(), HasSubstr("unexpected argument 'word'"));
  EXPECT_THAT(parse("", {"--quota-total", "much"}).error().message(), HasSubstr("--quota-total"));
}

}  // namespace
}  // namespace gantry::registry_server

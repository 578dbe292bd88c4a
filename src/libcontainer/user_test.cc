#include "libcontainer/user.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/id.h"

namespace gantry::libcontainer {
namespace {

constexpr std::string_view kPasswd =
    "root:x:0:0:root:/root:/bin/sh\n# comment\nweb:x:33:34:w:/srv:/bin/false\n1234:x:0:0::/:\n"
    "short:x:5:6\nbad:x:no:1::/:\n";
constexpr std::string_view kGroup = "root:x:0:\nwww:x:34:\nlog:x:4:web,other\naudio:x:29:web\n";

ResolvedUser resolved(UserSpec spec) {
  Result<ResolvedUser> user = resolve_user_in(kPasswd, kGroup, spec);
  EXPECT_TRUE(user) << user.error().message();
  return user ? user.release() : ResolvedUser{};
}

TEST(User, NamesNumbersAndGroups) {
  EXPECT_EQ(resolved({""}).home, "/root");
  ResolvedUser web = resolved({"web"});
  EXPECT_EQ(web.user.uid, 33u);
  EXPECT_EQ(web.user.gid, 34u);
  EXPECT_EQ(web.home, "/srv");
  EXPECT_THAT(web.user.additional_gids, testing::ElementsAre(4, 29, 34));
  EXPECT_THAT(resolved({"web:root"}).user.additional_gids, testing::ElementsAre(0));
  EXPECT_EQ(resolved({"33:7"}).user.gid, 7u);
  EXPECT_EQ(resolved({"99"}).user.gid, 0u);
  EXPECT_EQ(resolved({"99"}).home, "/");
  EXPECT_THAT(resolved({"99", {"audio", "77"}}).user.additional_gids,
              testing::ElementsAre(0, 29, 77));
  EXPECT_EQ(resolved({"short"}).user.gid, 6u);
}

TEST(User, ANumericNameNeverBecomesRoot) { EXPECT_EQ(resolved({"1234"}).user.uid, 1234u); }

TEST(User, WhatCannotBeFoundOrIsTooLargeIsRefused) {
  for (const char* user : {"nobody", "bad", "2147483648", "4294967296", "18446744073709551616",
                           "web:nogroup", "0:4294967296", "-1"})
    EXPECT_FALSE(resolve_user_in(kPasswd, kGroup, {user})) << user;
}

TEST(User, OnlyPlainFilesInsideTheRootAreRead) {
  std::string path = "/tmp/gantry-user-" + random_hex(4);
  ASSERT_TRUE(fs::make_directories(path + "/etc", 0755));
  Beneath root = *Beneath::open(path);
  ASSERT_EQ(::symlink("/etc/passwd", (path + "/etc/passwd").c_str()), 0);  // itself, in the root
  ASSERT_EQ(::mkfifo((path + "/etc/group").c_str(), 0600), 0);
  EXPECT_FALSE(resolve_user(root, {"daemon"}));
  EXPECT_TRUE(resolve_user(root, {"12"}));
  EXPECT_TRUE(fs::remove_tree(path));
}

}  // namespace
}  // namespace gantry::libcontainer

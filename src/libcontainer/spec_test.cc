#include "libcontainer/spec.h"

#include <gtest/gtest.h>

#include "libcontainer/default_profile.h"
#include "libcontainer/validate.h"

namespace gantry::libcontainer {
namespace {

std::string error_of(std::string_view text) {
  Result<Spec> spec = parse_spec(text);
  if (!spec) return spec.error().message();
  Status checked = check_spec(*spec, RootNeeded::yes);
  return checked ? "" : checked.error().message();
}

std::string with_linux(std::string_view section) {
  return fmt::format(R"({{"ociVersion":"1.2.0","root":{{"path":"rootfs"}},
    "process":{{"cwd":"/","args":["sh"]}},"linux":{}}})",
                     section);
}

TEST(Spec, ReadsEveryPartOfAConfiguration) {
  Result<Spec> spec = parse_spec(R"({"ociVersion":"1.2.0","unknown":1,
    "process":{"cwd":"/","args":["sh","-c"],"user":{"uid":7,"additionalGids":[1,2],"umask":18},
      "rlimits":[{"type":"RLIMIT_CORE","soft":18446744073709551615,"hard":18446744073709551615}]},
    "linux":{"resources":{"memory":{"limit":-1},"devices":[{"allow":true,"type":"c","major":1}],
      "unified":{"memory.high":"max"}},"seccomp":{"defaultAction":"SCMP_ACT_ALLOW",
      "syscalls":[{"names":["chdir"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}]}}})");
  ASSERT_TRUE(spec) << spec.error().message();
  EXPECT_EQ(spec->process->user.uid, 7u);
  EXPECT_EQ(spec->process->user.umask, 18u);
  EXPECT_EQ(spec->process->rlimits[0].hard, UINT64_MAX);
  EXPECT_EQ(spec->linux_section->resources->memory->limit, -1);
  EXPECT_FALSE(spec->linux_section->resources->devices[0].minor);
  EXPECT_EQ(spec->linux_section->seccomp->syscalls[0].args[0].op, "SCMP_CMP_EQ");
}

TEST(Spec, WhatIsWrittenReadsBackTheSame) {
  std::string text = json::dump(default_spec());
  Result<Spec> again = parse_spec(text);
  ASSERT_TRUE(again);
  EXPECT_EQ(json::dump(*again), text);
}

TEST(Spec, AnErrorNamesTheFieldAndTheReason) {
  EXPECT_EQ(error_of(R"({"ociVersion":1})"), "ociVersion: expected a string, got an integer");
  EXPECT_EQ(error_of("{}"), "ociVersion: is required");
  EXPECT_EQ(error_of(R"({"ociVersion":"1.0.0","mounts":[{"source":"x"}]})"),
            "mounts[0].destination: is required");
  EXPECT_EQ(error_of(R"({"ociVersion":"1.0.0","process":{"cwd":"/","user":{"uid":4294967296}}})"),
            "process.user.uid: 4294967296 is out of range");
  EXPECT_EQ(error_of(R"({"ociVersion":"1.0.0","process":{"cwd":"/","user":{"uid":-1}}})"),
            "process.user.uid: -1 is out of range");
  EXPECT_EQ(error_of(with_linux(R"({"namespaces":[{"type":"mount"},{"type":"disk"}]})")),
            "linux.namespaces[1].type: unknown namespace \"disk\"");
  EXPECT_EQ(error_of(with_linux(R"({"namespaces":[{"type":"mount"},{"type":"mount"}]})")),
            "linux.namespaces[1].type: mount is there twice");
  EXPECT_EQ(error_of(with_linux("{}")), "");
  EXPECT_EQ(error_of(with_linux(R"({"devices":[{"path":"/dev/x","type":"c","major":1}]})")),
            "linux.devices[0]: /dev/x needs major and minor");
  EXPECT_EQ(error_of(with_linux(R"({"maskedPaths":["/proc/kcore"]})")),
            "linux.maskedPaths: needs a mount namespace in linux.namespaces");
}

TEST(Spec, TheVersionIsASemanticOneOfTheFirstMajorVersion) {
  auto error = [](std::string_view version) {
    return error_of(fmt::format(R"({{"ociVersion":"{}","root":{{"path":"rootfs"}},
      "process":{{"cwd":"/","args":["sh"]}},"linux":{{}}}})",
                                version));
  };
  for (const char* good : {"1.0.0", "1.0.2-dev", "1.3.0", "1.2.1+dev", "1.0.0-rc.5+20130313"})
    EXPECT_EQ(error(good), "") << good;
  for (const char* bad :
       {"1", "1.0", "1.0.0.0", "1.x.0", "1.00.0", "2.0.0", "11.0.0", "1.0.0-", ""})
    EXPECT_EQ(error(bad), fmt::format("ociVersion: \"{}\" is not supported (1.x.y is)", bad));
}

TEST(Spec, SysctlsOfTheHostAreRefused) {
  EXPECT_NE(
      error_of(with_linux(R"({"namespaces":[{"type":"mount"}],"sysctl":{"vm.swappiness":"1"}})")),
      "");
  EXPECT_NE(error_of(with_linux(
                R"({"namespaces":[{"type":"mount"}],"sysctl":{"net.ipv4.ip_forward":"1"}})")),
            "");
  EXPECT_EQ(
      error_of(with_linux(
          R"({"namespaces":[{"type":"mount"},{"type":"network"}],"sysctl":{"net.ipv4.ip_forward":"1"}})")),
      "");
  EXPECT_NE(
      error_of(with_linux(
          R"({"namespaces":[{"type":"mount"},{"type":"network"}],"sysctl":{"net/../vm/x":"1"}})")),
      "");
}

TEST(Spec, ASysctlIsJudgedByTheFileItLeadsTo) {
  EXPECT_EQ(sysctl_path("net.ipv4.conf.eth0/1.forwarding"), "net/ipv4/conf/eth0.1/forwarding");
  EXPECT_EQ(sysctl_path("net/ipv4/conf/eth0.1/forwarding"), "net/ipv4/conf/eth0.1/forwarding");
  for (const char* key : {"net.//.vm.x", "net.ipv4.//.//.vm.x", "net/./x", "net//x", "net.",
                          "net..x", "/net/x", ".net.x", "", "."})
    EXPECT_EQ(error_of(with_linux(fmt::format(
                  R"({{"namespaces":[{{"type":"network"}}],"sysctl":{{"{}":"1"}}}})", key))),
              fmt::format("linux.sysctl: \"{}\" is not a name", key));
}

TEST(Spec, TheIdThatMeansNoChangeIsRefused) {
  for (const char* field : {"uid", "gid"})
    EXPECT_EQ(error_of(fmt::format(
                  R"({{"ociVersion":"1.2.0","root":{{"path":"rootfs"}},"linux":{{}},
                      "process":{{"cwd":"/","args":["sh"],"user":{{"{}":4294967295}}}}}})",
                  field)),
              fmt::format("process.user.{}: 4294967295 is not an id", field));
  EXPECT_EQ(error_of(R"({"ociVersion":"1.2.0","root":{"path":"rootfs"},"linux":{},
                "process":{"cwd":"/","args":["sh"],"user":{"additionalGids":[1,4294967295]}}})"),
            "process.user.additionalGids[1]: 4294967295 is not an id");
}

TEST(Spec, IdsAreNamesOfDirectories) {
  EXPECT_TRUE(check_id("a-b_c.d+E0"));
  for (const char* id : {"", ".", "..", "a/b", "a b", "é"}) EXPECT_FALSE(check_id(id)) << id;
}

}  // namespace
}  // namespace gantry::libcontainer

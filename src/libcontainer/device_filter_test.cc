#include "libcontainer/device_filter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/id.h"
#include "base/sys.h"
#include "libcontainer/cgroup.h"
#include "libcontainer/default_profile.h"

namespace gantry::libcontainer {
namespace {

enum : uint32_t {
  kRead = BPF_DEVCG_ACC_READ,
  kWrite = BPF_DEVCG_ACC_WRITE,
  kMknod = BPF_DEVCG_ACC_MKNOD
};

struct Request {
  char type;
  uint32_t major, minor, access;
};

// Just the instructions that the compiler emits; anything else fails the test.
bool granted(const std::vector<bpf_insn>& program, const Request& request) {
  uint32_t type = request.type == 'c' ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK;
  uint32_t context[3] = {request.access << 16 | type, request.major, request.minor};
  uint32_t registers[11] = {};
  for (size_t at = 0; at < program.size(); ++at) {
    const bpf_insn& one = program[at];
    uint32_t& to = registers[one.dst_reg];
    auto value = static_cast<uint32_t>(one.imm);
    switch (one.code) {
      case BPF_LDX | BPF_MEM | BPF_W:
        to = context[one.off / 4];
        break;
      case BPF_ALU | BPF_MOV | BPF_X:
        to = registers[one.src_reg];
        break;
      case BPF_ALU | BPF_MOV | BPF_K:
        to = value;
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        to &= value;
        break;
      case BPF_ALU | BPF_RSH | BPF_K:
        to >>= value;
        break;
      case BPF_JMP | BPF_JNE | BPF_K:
        at += to != value ? static_cast<size_t>(one.off) : 0;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += to == value ? static_cast<size_t>(one.off) : 0;
        break;
      case BPF_JMP | BPF_EXIT:
        return registers[0] != 0;
      default:
        ADD_FAILURE() << "instruction " << int{one.code};
        return false;
    }
  }
  ADD_FAILURE() << "the program has no end";
  return false;
}

DeviceCgroup rule(bool allow, std::string type, std::optional<int64_t> major,
                  std::optional<int64_t> minor, std::string access) {
  return {allow, std::move(type), major, minor, std::move(access)};
}

std::vector<bpf_insn> compiled(const std::vector<DeviceCgroup>& rules) {
  auto program = compile_device_filter(rules);
  EXPECT_TRUE(program) << program.error().message();
  return program ? *program : std::vector<bpf_insn>();
}

TEST(DeviceFilter, WithoutRulesNothingIsGranted) {
  EXPECT_FALSE(granted(compiled({}), {'c', 1, 3, kRead}));
}

TEST(DeviceFilter, NumbersTypeAndAccessAllMatter) {
  auto program = compiled(
      {rule(false, "a", {}, {}, "rwm"), rule(true, "c", 1, 3, "rw"), rule(true, "b", 8, {}, "r")});
  EXPECT_TRUE(granted(program, {'c', 1, 3, kRead | kWrite}));
  EXPECT_FALSE(granted(program, {'c', 1, 3, kRead | kMknod}));
  EXPECT_FALSE(granted(program, {'b', 1, 3, kRead}));
  EXPECT_FALSE(granted(program, {'c', 1, 4, kRead}));
  EXPECT_TRUE(granted(program, {'b', 8, 77, kRead}));
  EXPECT_FALSE(granted(program, {'b', 8, 77, kWrite}));
}

TEST(DeviceFilter, TheLastRuleThatSpeaksOfAnAccessDecides) {
  auto program = compiled(
      {rule(false, "", {}, {}, ""), rule(true, "c", {}, {}, "rwm"), rule(false, "c", 1, 3, "w")});
  EXPECT_TRUE(granted(program, {'c', 1, 3, kRead}));
  EXPECT_FALSE(granted(program, {'c', 1, 3, kWrite}));
  EXPECT_FALSE(granted(program, {'c', 1, 3, kRead | kWrite}));
  auto split = compiled({rule(true, "c", 1, 3, "r"), rule(true, "c", 1, 3, "w")});
  EXPECT_TRUE(granted(split, {'c', 1, 3, kRead | kWrite}));
  auto all = compiled({rule(false, "c", 1, 3, "rwm"), rule(true, "a", {}, {}, "rwm")});
  EXPECT_TRUE(granted(all, {'c', 1, 3, kRead | kWrite | kMknod}));
}

TEST(DeviceFilter, WhatCannotBeSaidIsRefusedByName) {
  EXPECT_EQ(compile_device_filter({rule(true, "p", 1, 3, "r")}).error().message(),
            "linux.resources.devices[0].type: unknown type \"p\"");
  EXPECT_EQ(compile_device_filter({rule(true, "c", 1, 3, "rx")}).error().message(),
            "linux.resources.devices[0].access: \"rx\" is not made of r, w and m");
  EXPECT_FALSE(compile_device_filter(std::vector<DeviceCgroup>(5000)));
}

// The real thing, where there is a v2 hierarchy, with or without controllers.
class AttachedDeviceFilter : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    for (const Hierarchy& hierarchy : find_hierarchies().value_or(std::vector<Hierarchy>()))
      if (hierarchy.v2) path_ = hierarchy.mountpoint + "/gantry-device-filter-" + random_hex(4);
    if (path_.empty()) GTEST_SKIP() << "there is no cgroup v2 hierarchy";
    if (::mkdir(path_.c_str(), 0755) == -1) GTEST_SKIP() << "the v2 hierarchy cannot be written";
    group_ = *sys::open(path_, O_RDONLY | O_DIRECTORY);
  }
  void TearDown() override {
    if (!path_.empty()) ::rmdir(path_.c_str());
  }
  // The errno of an open in the group.
  int open_errno(const char* device, int flags) {
    pid_t pid = ::fork();
    if (pid == 0) {
      UniqueFd procs(::openat(group_.get(), "cgroup.procs", O_WRONLY));
      if (::write(procs.get(), "0", 1) != 1) ::_exit(255);
      int fd = ::open(device, flags);
      ::_exit(fd == -1 ? errno : 0);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
  }
  std::string path_;
  UniqueFd group_;
};

TEST_F(AttachedDeviceFilter, HoldsInTheGroupAndIsReplaced) {
  std::vector<DeviceCgroup> rules = {rule(false, "a", {}, {}, "rwm"), rule(true, "c", 1, 3, "r")};
  Status attached = attach_device_filter(group_.get(), rules);
  if (!attached && attached.error().code() == EPERM) GTEST_SKIP() << attached.error().message();
  ASSERT_TRUE(attached) << attached.error().message();
  EXPECT_EQ(open_errno("/dev/null", O_RDONLY), 0);
  EXPECT_EQ(open_errno("/dev/null", O_RDWR), EPERM);
  EXPECT_EQ(open_errno("/dev/zero", O_RDONLY), EPERM);
  rules.push_back(rule(true, "c", 1, 5, "rw"));
  attached = attach_device_filter(group_.get(), rules);
  ASSERT_TRUE(attached) << attached.error().message();
  EXPECT_EQ(open_errno("/dev/zero", O_RDWR), 0);
  attached = attach_device_filter(group_.get(), default_device_rules());
  ASSERT_TRUE(attached) << attached.error().message();
  EXPECT_EQ(open_errno("/dev/null", O_RDWR), 0);
}

}  // namespace
}  // namespace gantry::libcontainer

#include "libcontainer/cgroup.h"

#include <gtest/gtest.h>

namespace gantry::libcontainer {
namespace {

Resources resources(std::string_view text) {
  Result<Resources> out = json::parse<Resources>(text);
  EXPECT_TRUE(out) << text;
  return out.release();
}

std::string joined(Result<std::vector<CgroupWrite>> writes) {
  if (!writes) return "error: " + writes.error().message();
  std::string out;
  for (const CgroupWrite& one : *writes) out += fmt::format("{}={};", one.file, one.value);
  return out;
}

TEST(Cgroup, TranslatesLimitsForV1) {
  Resources all =
      resources(R"({"memory":{"limit":1000,"swap":2000,"reservation":500,"swappiness":0},
    "cpu":{"shares":512,"quota":50000,"period":100000,"cpus":"0-1"},"pids":{"limit":10},
    "hugepageLimits":[{"pageSize":"2MB","limit":0}],
    "blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":99}]}})");
  EXPECT_EQ(
      joined(translate_v1(all)),
      "memory.limit_in_bytes=1000;memory.memsw.limit_in_bytes=2000;memory.soft_limit_in_bytes=500;"
      "memory.swappiness=0;cpu.shares=512;cpu.cfs_period_us=100000;cpu.cfs_quota_us=50000;"
      "cpuset.cpus=0-1;pids.max=10;blkio.throttle.read_bps_device=8:0 99;"
      "hugetlb.2MB.limit_in_bytes=0;hugetlb.2MB.rsvd.limit_in_bytes=0;");
}

TEST(Cgroup, TranslatesLimitsForV2) {
  Resources all = resources(R"({"memory":{"limit":1000,"swap":3000,"reservation":500},
    "cpu":{"shares":1024,"quota":50000,"period":100000,"burst":7},"pids":{"limit":-1},
    "blockIO":{"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":99}]},
    "unified":{"memory.high":"800"}})");
  EXPECT_EQ(
      joined(translate_v2(all)),
      "memory.max=1000;memory.swap.max=2000;memory.low=500;cpu.weight=39;cpu.max=50000 100000;"
      "cpu.max.burst=7;pids.max=max;io.max=8:0 wiops=99;memory.high=800;");
  EXPECT_EQ(joined(translate_v2(resources(R"({"memory":{"limit":-1,"swap":-1}})"))),
            "memory.max=max;memory.swap.max=max;");
  EXPECT_EQ(joined(translate_v2(resources(R"({"cpu":{"quota":-1}})"))), "cpu.max=max 100000;");
}

// They keep their names, so that the write that finds no such file can say so.
TEST(Cgroup, LimitsThatV2HasNotAreNotDropped) {
  EXPECT_EQ(
      joined(translate_v2(resources(
          R"({"memory":{"swappiness":10,"disableOOMKiller":true},"cpu":{"realtimeRuntime":5}})"))),
      "memory.swappiness=10;memory.oom_control=1;cpu.rt_runtime_us=5;");
  EXPECT_EQ(joined(translate_v2(resources(R"({"memory":{"disableOOMKiller":false}})"))), "");
}

TEST(Cgroup, LimitsThatLinuxHasNotAreErrors) {
  auto error_of = [](const char* text) { return joined(translate_v1(resources(text))); };
  EXPECT_EQ(error_of(R"({"memory":{"kernel":1}})"),
            "error: linux.resources.memory.kernel: Linux has no such limit any more");
  EXPECT_EQ(error_of(R"({"memory":{"kernel":-1,"useHierarchy":true}})"), "");
  EXPECT_EQ(error_of(R"({"memory":{"useHierarchy":false}})"),
            "error: linux.resources.memory.useHierarchy: Linux always uses it");
  EXPECT_EQ(error_of(R"({"blockIO":{"leafWeight":10}})"),
            "error: linux.resources.blockIO.leafWeight: Linux has no such weight any more");
  EXPECT_EQ(error_of(R"({"blockIO":{"weightDevice":[{"major":8,"minor":0}]}})"),
            "error: linux.resources.blockIO.weightDevice[0]: has no weight");
  EXPECT_EQ(error_of(R"({"rdma":{"mlx5_1":{}}})"),
            "error: linux.resources.rdma.mlx5_1: has neither hcaHandles nor hcaObjects");
}

TEST(Cgroup, ImpossibleLimitsNameTheField) {
  EXPECT_EQ(joined(translate_v1(resources(R"({"memory":{"limit":100,"swap":50}})"))),
            "error: linux.resources.memory.swap: 50 is less than the memory limit 100");
  EXPECT_EQ(joined(translate_v1(resources(R"({"memory":{"swappiness":101}})"))),
            "error: linux.resources.memory.swappiness: 101 is over 100");
  EXPECT_EQ(joined(translate_v2(resources(R"({"unified":{"../x.y":"1"}})"))),
            "error: linux.resources.unified: \"../x.y\" is not the name of a cgroup file");
}

TEST(Cgroup, SharesBecomeWeights) {
  EXPECT_EQ(weight_of_shares(0), 0u);
  EXPECT_EQ(weight_of_shares(2), 1u);
  EXPECT_EQ(weight_of_shares(1024), 39u);
  EXPECT_EQ(weight_of_shares(262144), 10000u);
  EXPECT_EQ(weight_of_shares(UINT64_MAX), 10000u);
}

TEST(Cgroup, DeviceRulesKeepTheirOrder) {
  Resources some = resources(R"({"devices":[{"allow":false,"access":"rwm"},
    {"allow":true,"type":"c","major":1,"minor":3,"access":"rw"},{"allow":true,"type":"b","major":8}]})");
  EXPECT_EQ(joined(translate_devices_v1(some.devices)),
            "devices.deny=a;devices.allow=c 1:3 rw;devices.allow=b 8:* rwm;");
  some.devices[1].access = "x";
  EXPECT_EQ(joined(translate_devices_v1(some.devices)),
            "error: linux.resources.devices[1].access: \"x\" is not made of r, w and m");
}

TEST(Cgroup, FindsHierarchiesOfAHybridHost) {
  auto everywhere = [](const Hierarchy&) { return true; };
  std::string_view text =
      "22 1 0:20 / /sys rw - sysfs sysfs rw\n"
      "30 22 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n"
      "31 22 0:27 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd\n"
      "32 22 0:28 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw,nsdelegate\n"
      "33 22 0:26 / /mnt/again rw - cgroup cgroup rw,cpu,cpuacct\n";
  std::vector<Hierarchy> found = parse_hierarchies(text, everywhere);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].mountpoint, "/sys/fs/cgroup/cpu,cpuacct");
  EXPECT_EQ(found[0].controllers, (std::vector<std::string>{"cpu", "cpuacct"}));
  EXPECT_EQ(found[1].controllers, (std::vector<std::string>{"name=systemd"}));
  EXPECT_TRUE(found[2].v2);

  // Places hidden below another mount are listed too.
  found = parse_hierarchies(text, [](const Hierarchy& h) {
    return h.mountpoint != "/sys/fs/cgroup/cpu,cpuacct" && !h.v2;
  });
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[1].mountpoint, "/mnt/again");
}

TEST(Cgroup, PathsStayBelowTheRoot) {
  EXPECT_EQ(normalize_cgroup_path("/a//b/./c", "id").value(), "/a/b/c");
  EXPECT_EQ(normalize_cgroup_path("", "id").value(), "/gantry-runtime/id");
  EXPECT_FALSE(normalize_cgroup_path("/a/../../b", "id"));
}

}  // namespace
}  // namespace gantry::libcontainer

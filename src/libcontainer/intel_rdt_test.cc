// On a directory that looks like a resctrl file system: processors that have one are rare.
#include "libcontainer/intel_rdt.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"

namespace gantry::libcontainer {
namespace {

class IntelRdtTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char place[] = "/tmp/gantry-rdt.XXXXXX";
    ASSERT_NE(::mkdtemp(place), nullptr);
    root_ = place;
  }
  void TearDown() override { (void)fs::remove_tree(root_); }

  // What the kernel puts into a new class.
  void fill(const std::string& name, const std::string& schemata) const {
    ASSERT_TRUE(fs::make_directories(root_ + "/" + name + "/mon_groups", 0755));
    ASSERT_TRUE(fs::write_file(root_ + "/" + name + "/schemata", schemata));
    ASSERT_TRUE(fs::write_file(root_ + "/" + name + "/tasks", ""));
  }
  std::string error_of(const IntelRdt& config) const {
    Result<RdtGroup> group = plan_rdt(config, "box", root_);
    if (!group) return group.error().message();
    Status made = make_rdt(*group, config);
    return made ? "" : made.error().message();
  }

  std::string root_;
};

TEST_F(IntelRdtTest, WithoutResctrlItIsUnsupported) {
  Result<RdtGroup> group = plan_rdt({}, "box", "");
  ASSERT_FALSE(group);
  EXPECT_EQ(group.error().kind(), ErrorKind::unsupported);
}

TEST_F(IntelRdtTest, WithoutClosIdTheClassIsTheContainersOwnAndGoesWithIt) {
  Result<RdtGroup> group = plan_rdt({}, "box", root_);
  ASSERT_TRUE(group);
  EXPECT_EQ(group->directory, root_ + "/box");
  EXPECT_TRUE(group->ours);
  ASSERT_TRUE(make_rdt(*group, {}));
  EXPECT_TRUE(fs::exists(root_ + "/box"));
  ASSERT_TRUE(release_rdt(*group));
  EXPECT_FALSE(fs::exists(root_ + "/box"));
  EXPECT_TRUE(release_rdt(*group));
}

TEST_F(IntelRdtTest, AClassThatIsThereIsJoinedAndStays) {
  fill("gold", "    L3:0=ff;1=ff\n    MB:0=50;1=50\n");
  IntelRdt config;
  config.clos_id = "gold";
  Result<RdtGroup> group = plan_rdt(config, "box", root_);
  ASSERT_TRUE(group);
  EXPECT_FALSE(group->ours);
  ASSERT_TRUE(make_rdt(*group, config));
  Result<std::vector<UniqueFd>> entries = rdt_entries(*group);
  ASSERT_TRUE(entries);
  EXPECT_EQ(entries->size(), 1u);
  ASSERT_TRUE(release_rdt(*group));
  EXPECT_TRUE(fs::exists(root_ + "/gold"));
}

TEST_F(IntelRdtTest, AClassThatIsThereMustBeAsWanted) {
  fill("gold", "    L3:0=ff;1=ff\n    MB:0=50;1=50\n");
  IntelRdt config;
  config.clos_id = "gold";
  config.mem_bw_schema = "MB:0=50;1=50";
  config.l3_cache_schema = "L3:0=ff;1=ff\nMB:0=10;1=10";  // whose MB: line yields to the other
  EXPECT_EQ(error_of(config), "");
  config.mem_bw_schema = "MB:0=70;1=50";
  EXPECT_NE(error_of(config).find("is not MB:0=70;1=50"), std::string::npos);
}

TEST_F(IntelRdtTest, AClassThatIsNotThereNeedsSchemata) {
  IntelRdt config;
  config.clos_id = "silver";
  EXPECT_NE(error_of(config).find("closID: there is no "), std::string::npos);
  EXPECT_FALSE(fs::exists(root_ + "/silver"));
}

TEST_F(IntelRdtTest, MonitoringHasAGroupOfItsOwn) {
  fill("gold", "");
  IntelRdt config;
  config.clos_id = "gold";
  config.enable_monitoring = true;
  Result<RdtGroup> group = plan_rdt(config, "box", root_);
  ASSERT_TRUE(group);
  ASSERT_TRUE(make_rdt(*group, config));
  EXPECT_TRUE(fs::exists(root_ + "/gold/mon_groups/box"));
  ASSERT_TRUE(release_rdt(*group));
  EXPECT_FALSE(fs::exists(root_ + "/gold/mon_groups/box"));
  EXPECT_TRUE(fs::exists(root_ + "/gold"));
}

TEST_F(IntelRdtTest, NamesAndSchemataThatAreNoneAreNamed) {
  IntelRdt config;
  config.clos_id = "../cpu";
  EXPECT_EQ(error_of(config), "closID: ../cpu is not a name");
  config.clos_id.clear();
  config.mem_bw_schema = "L3:0=f";
  EXPECT_EQ(error_of(config).find("memBwSchema: "), 0u);
}

}  // namespace
}  // namespace gantry::libcontainer

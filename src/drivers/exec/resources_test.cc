#include "drivers/exec/resources.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/sys.h"
#include "graph/database.h"
#include "runtime/shim/layout.h"

namespace gantry::drivers {
namespace {

using engine::Presence;

class ExecResources : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-rows-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    database_ = std::move(graph::Database::open(directory_ + "/db")).value();
    resources_ = std::make_unique<engine::Resources>(*database_);
    ASSERT_TRUE(register_exec_resources(*resources_));
    launch_.id = "abc";
    launch_.directory = directory_ + "/run";
    launch_.spec.linux_section.emplace().cgroups_path = "/gantry-no-such-group/abc";
    rows_ = launch_resources(launch_, "container:abc");
    ASSERT_EQ(rows_.size(), 3u);
  }
  void TearDown() override {
    resources_.reset();
    database_.reset();
    (void)fs::remove_tree(directory_);
  }
  Presence probe(const engine::Resource& row) {
    return *resources_->find_kind(row.kind)->probe(row);
  }
  Status release(const engine::Resource& row) {
    return resources_->find_kind(row.kind)->release(row);
  }

  std::string directory_;
  std::unique_ptr<graph::Database> database_;
  std::unique_ptr<engine::Resources> resources_;
  Launch launch_;
  std::vector<engine::Resource> rows_;  // rundir, cgroup, shim
};

TEST_F(ExecResources, WhatWasNeverTakenIsAbsentAndReleasedAtOnce) {
  for (const engine::Resource& row : rows_) {
    EXPECT_EQ(row.owner, "container:abc");
    EXPECT_EQ(probe(row), Presence::absent) << row.kind;
    Status released = release(row);
    EXPECT_TRUE(released) << row.kind << ": " << released.error().message();
  }
}

TEST_F(ExecResources, ALockedRuntimeDirectoryIsLeftAlone) {
  ASSERT_TRUE(fs::make_directories(launch_.directory));
  {
    UniqueFd lock = std::move(shim::take_lock(launch_.directory)).value();
    EXPECT_EQ(probe(rows_[0]), Presence::present);
    EXPECT_EQ(probe(rows_[2]), Presence::present);
    Status released = release(rows_[0]);
    ASSERT_FALSE(released);
    EXPECT_EQ(released.error().kind(), ErrorKind::conflict);
    EXPECT_TRUE(fs::exists(launch_.directory));
  }
  EXPECT_EQ(probe(rows_[2]), Presence::absent);
  EXPECT_TRUE(release(rows_[0]));
  EXPECT_FALSE(fs::exists(launch_.directory));
}

// A process stands for the shim: it is killed only if it is the one that state.json names.
TEST_F(ExecResources, AShimIsKilledByItsIdentityAndNotByItsNumber) {
  ASSERT_TRUE(fs::make_directories(launch_.directory));
  UniqueFd lock = std::move(shim::take_lock(launch_.directory)).value();
  ChildProcess process =
      std::move(ChildProcess::spawn({.arguments = {"sleep", "1000"}, .program = "sleep"})).value();
  shim::State state;
  state.id = "abc";
  state.boot_id = *boot_id();
  state.shim_pid = process.pid();
  state.shim_start_time = *process_start_time(process.pid()) + 1;
  ASSERT_TRUE(shim::write_state(launch_.directory, state));
  EXPECT_TRUE(release(rows_[2]));
  EXPECT_FALSE(*sys::poll_one(process.pidfd(), POLLIN, 0));

  state.shim_start_time -= 1;
  ASSERT_TRUE(shim::write_state(launch_.directory, state));
  EXPECT_TRUE(release(rows_[2]));
  EXPECT_TRUE(*sys::poll_one(process.pidfd(), POLLIN, 0));
  EXPECT_EQ(WTERMSIG(*process.wait()), SIGKILL);
}

}  // namespace
}  // namespace gantry::drivers

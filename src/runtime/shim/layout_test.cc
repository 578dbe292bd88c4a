#include "runtime/shim/layout.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include "base/fs.h"

namespace gantry::shim {
namespace {

class Layout : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-layout-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
  }
  void TearDown() override { (void)fs::remove_tree(directory_); }
  std::string directory_;
};

TEST_F(Layout, ALockIsSeenUntilItsHolderIsGone) {
  EXPECT_FALSE(*is_locked(directory_));
  EXPECT_FALSE(*is_locked(directory_ + "/absent"));
  {
    Result<UniqueFd> lock = take_lock(directory_);
    ASSERT_TRUE(lock);
    EXPECT_TRUE(*is_locked(directory_));
    Result<UniqueFd> second = take_lock(directory_);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind(), ErrorKind::conflict);
  }
  EXPECT_FALSE(*is_locked(directory_));
}

TEST_F(Layout, StateAndExitAreReadBack) {
  State state;
  state.id = "abc";
  state.pid = 42;
  state.log.attributes["tag"] = "x";
  ASSERT_TRUE(write_state(directory_, state));
  Result<State> back = read_state(directory_);
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->pid, 42);
  EXPECT_EQ(back->log.attributes.at("tag"), "x");

  EXPECT_FALSE(*read_exit(directory_));
  ExitStatus status = exit_status_of(SIGKILL);
  EXPECT_EQ(status.code, 137);
  status.oom = true;
  ASSERT_TRUE(write_exit(directory_, status));
  Result<std::optional<ExitStatus>> exit = read_exit(directory_);
  ASSERT_TRUE(exit && *exit);
  EXPECT_EQ((*exit)->signal, SIGKILL);
  EXPECT_TRUE((*exit)->oom);
  EXPECT_EQ(exit_status_of(3 << 8).code, 3);
}

}  // namespace
}  // namespace gantry::shim

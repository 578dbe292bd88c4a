// What needs no program of an image; containers that run are tested in drivers/exec and
// tests/conformance.
#include "libcontainer/container.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "libcontainer/default_profile.h"

namespace gantry::libcontainer {
namespace {

TEST(ContainerTest, AnInitThatEndedBeforeItsNetworkNamespaceWasOpenedSaysWhy) {
  if (::geteuid() != 0) GTEST_SKIP() << "containers need root";
  char name[] = "/tmp/gantry-container-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const std::string directory = name;
  for (const char* path : {"/root/dev", "/root/proc", "/root/sys"})
    ASSERT_TRUE(fs::make_directories(directory + path, 0755));
  ASSERT_TRUE(fs::write_file(directory + "/root/plain", "no program", 0644));

  CreateOptions options;
  options.id = "early";
  options.bundle = directory;
  options.state_directory = directory + "/state";
  options.spec = default_spec();
  options.spec.root = Root{directory + "/root", false};
  options.spec.process->terminal = false;
  options.spec.process->args = {"/plain"};
  options.spec.mounts.clear();
  const std::string group = "/gantry-container-" + random_hex(4);
  options.spec.linux_section->cgroups_path = group;
  auto begun = Container::begin(std::move(options));
  ASSERT_TRUE(begun) << begun.error().message();
  Container container = begun.release();
  auto ended = sys::poll_one(container.pidfd(), POLLIN, 10'000);
  ASSERT_TRUE(ended && *ended);
  auto netns = container.netns_fd();
  ASSERT_FALSE(netns);
  EXPECT_EQ(netns.error().message(), "exec: \"/plain\": permission denied");
  EXPECT_FALSE(cgroup_exists(group));
  EXPECT_FALSE(fs::exists(directory + "/state"));
  ASSERT_TRUE(fs::remove_tree(directory));
}

}  // namespace
}  // namespace gantry::libcontainer

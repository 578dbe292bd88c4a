#include "server/listen.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/un.h>

#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "http/listen.h"

namespace gantry::server {
namespace {

class ListenTest : public testing::Test {
 protected:
  void SetUp() override { root_ = "/tmp/gantry-listen-test-" + random_hex(8); }
  void TearDown() override { EXPECT_TRUE(fs::remove_tree(root_)); }
  std::string root_;
};

TEST_F(ListenTest, a_unix_socket_is_made_with_its_directory_and_removed_with_its_listener) {
  std::string path = root_ + "/sub/gantry.sock";
  {
    auto listeners = listen_on("unix://" + path, "");
    ASSERT_TRUE(listeners) << listeners.error().message();
    ASSERT_EQ(listeners->size(), 1u);
    EXPECT_TRUE(sys::connect_unix(path));
    EXPECT_EQ(sys::fstatat(AT_FDCWD, path)->st_mode & 0777, 0660u);
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(ListenTest, a_socket_that_somebody_answers_on_is_left_alone) {
  std::string path = root_ + "/gantry.sock";
  auto first = listen_on("unix://" + path, "");
  ASSERT_TRUE(first);
  auto second = listen_on("unix://" + path, "");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::conflict);
  EXPECT_NE(second.error().message().find(path), std::string::npos);
  EXPECT_TRUE(sys::connect_unix(path));
}

TEST_F(ListenTest, a_stale_socket_is_replaced) {
  std::string path = root_ + "/gantry.sock";
  ASSERT_TRUE(fs::make_directories(root_));
  ASSERT_TRUE(sys::listen_unix(path, 0600));  // closed at once, the file stays
  ASSERT_TRUE(fs::exists(path));
  EXPECT_TRUE(listen_on("unix://" + path, ""));
}

TEST_F(ListenTest, a_group_that_was_asked_for_must_exist) {
  auto listeners = listen_on("unix://" + root_ + "/s", "no-such-group");
  ASSERT_FALSE(listeners);
  EXPECT_NE(listeners.error().message().find("no-such-group"), std::string::npos);
  EXPECT_TRUE(listen_on("unix://" + root_ + "/s", "root"));
}

TEST_F(ListenTest, passed_sockets_are_taken_only_from_a_service_manager) {
  EXPECT_FALSE(listen_on("fd://", ""));
  EXPECT_FALSE(listen_on("ssh://x", ""));
}

TEST_F(ListenTest, the_service_manager_is_told) {
  ASSERT_TRUE(fs::make_directories(root_));
  std::string path = root_ + "/notify";
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  http::notify_service_manager("READY=1");
  ::unsetenv("NOTIFY_SOCKET");
  char buffer[32];
  ASSERT_TRUE(sys::poll_one(socket.get(), POLLIN, 1000).value_or(false));
  auto size = sys::read(socket.get(), buffer, sizeof buffer);
  ASSERT_TRUE(size);
  EXPECT_EQ(std::string_view(buffer, *size), "READY=1");
}

}  // namespace
}  // namespace gantry::server

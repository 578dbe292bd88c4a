// Real containers from a busybox root file system; needs root and busybox-static, and skips
// without.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <condition_variable>

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/process.h"
#include "base/sys.h"
#include "drivers/exec/exec_driver.h"
#include "drivers/exec/log_reader.h"
#include "libcontainer/cgroup.h"
#include "libcontainer/container.h"
#include "libcontainer/default_profile.h"
#include "runtime/shim/layout.h"

namespace gantry::drivers {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
constexpr auto kLimit = std::chrono::seconds(20);

std::string runtime_path() {
  const char* told = ::getenv("GANTRY_RUNTIME");
  if (told) return told;
  std::string self = sys::readlinkat(AT_FDCWD, "/proc/self/exe").value_or("");
  return self.substr(0, self.rfind('/')) + "/../bin/gantry-runtime";
}

// Collects an instance's notices and waits for them.
class Ears {
 public:
  void listen(Instance& instance) {
    instance.set_listener([this](const Notice& notice) {
      std::lock_guard lock(mutex_);
      notices_.push_back(notice);
      changed_.notify_all();
    });
  }
  std::optional<Notice> wait_for(Notice::Type type) {
    std::unique_lock lock(mutex_);
    std::optional<Notice> found;
    changed_.wait_for(lock, kLimit, [&] {
      for (const Notice& notice : notices_)
        if (notice.type == type) found = notice;
      return found.has_value();
    });
    return found;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Notice> notices_;
};

class NativeDriverTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "containers need root";
    if (!fs::exists("/bin/busybox")) GTEST_SKIP() << "busybox-static is not installed";
    if (!fs::exists(runtime_path())) GTEST_SKIP() << runtime_path() << " is not built";
    char name[] = "/tmp/gantry-exec-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    group_ = "/gantry-exec-" + random_hex(4);
    make_root();
    new_driver();
  }
  void TearDown() override {
    if (directory_.empty()) return;
    driver_.reset();
    Status gone = libcontainer::remove_cgroup(group_);
    EXPECT_TRUE(gone) << gone.error().message();
    Status removed = fs::remove_tree(directory_);
    EXPECT_TRUE(removed) << removed.error().message();
  }

  void new_driver() {
    driver_.reset();
    auto driver =
        make_native_driver({.runtime = runtime_path(), .shims_cgroup = group_ + "/shims"});
    ASSERT_TRUE(driver) << driver.error().message();
    driver_ = std::move(*driver);
  }

  void make_root() {
    for (const char* path :
         {"/root/bin", "/root/dev", "/root/proc", "/root/sys", "/root/tmp", "/root/etc"})
      ASSERT_TRUE(fs::make_directories(directory_ + path, 0755));
    std::string busybox = *fs::read_file("/bin/busybox");
    ASSERT_TRUE(fs::write_file(directory_ + "/root/bin/busybox", busybox, 0755));
    for (const char* applet : {"sh", "true", "cat", "sleep", "echo", "stty", "yes", "head", "tty",
                               "tr", "ls", "readlink", "grep", "kill"})
      ASSERT_TRUE(sys::symlinkat("busybox", AT_FDCWD, directory_ + "/root/bin/" + applet));
  }

  Launch launch(std::vector<std::string> args) {
    Launch out;
    out.id = new_id();
    out.directory = directory_ + "/" + short_id(out.id);
    out.rootfs.type = "bind";
    out.rootfs.source = directory_ + "/root";
    out.log.path = out.directory + ".log";
    out.spec.oci_version = libcontainer::kOciVersion;
    libcontainer::Process& process = out.spec.process.emplace();
    process.args = std::move(args);
    process.env = {"PATH=/bin", "TERM=xterm"};
    process.cwd = "/";
    std::vector<std::string> names = libcontainer::default_capabilities();
    process.capabilities = {.bounding = names, .effective = names, .permitted = names};
    out.spec.mounts = libcontainer::default_mounts();
    libcontainer::Linux& section = out.spec.linux_section.emplace();
    section.namespaces = libcontainer::default_namespaces();
    section.masked_paths = libcontainer::default_masked_paths();
    section.readonly_paths = libcontainer::default_readonly_paths();
    section.resources.emplace().devices = libcontainer::default_device_rules();
    section.cgroups_path = group_ + "/" + short_id(out.id);
    return out;
  }
  std::shared_ptr<Instance> create(const Launch& what) {
    auto instance = driver_->create(what);
    EXPECT_TRUE(instance) << (instance ? "" : instance.error().message());
    return instance ? *instance : nullptr;
  }
  std::string log_of(const Launch& what) {
    std::string all;
    auto reader = std::move(LogReader::open(what.log, {})).value();
    for (;;) {
      auto entry = reader->next();
      if (!entry || !*entry) return all;
      all += fmt::format("{}:{}", to_string((*entry)->stream), (*entry)->line);
    }
  }
  // Reads from a client until `text` has come or the end.
  std::string read_until(int fd, const std::string& text) {
    std::string all;
    while (text.empty() || all.find(text) == std::string::npos) {
      auto ready = sys::poll_one(fd, POLLIN, 20'000);
      if (!ready || !*ready) return all + "(timeout)";
      char buffer[65536];
      ssize_t size = ::read(fd, buffer, sizeof buffer);
      if (size <= 0) break;
      all.append(buffer, static_cast<size_t>(size));
    }
    return all;
  }
  static bool ends(const UniqueFd& pidfd) {
    auto ended = sys::poll_one(pidfd.get(), POLLIN, 20'000);
    return ended && *ended;
  }
  // create() and start(): which of them a program that cannot be started fails is a matter of
  // speed.
  Status launched(const Launch& what) {
    auto instance = driver_->create(what);
    if (!instance) return std::move(instance).error();
    Status started = (*instance)->start();
    if (!started) {
      EXPECT_EQ((*instance)->state(), InstanceState::exited);
      EXPECT_EQ((*instance)->exit_status()->code,
                started.error().kind() == ErrorKind::not_found ? 127 : 126);
    }
    return started;
  }
  bool cgroup_empty(const Launch& what) {
    auto cgroup = libcontainer::Cgroup::open(what.spec.linux_section->cgroups_path);
    if (!cgroup) return true;
    auto processes = cgroup->processes();
    return !processes || processes->empty();
  }

  std::string directory_;
  std::string group_;
  std::unique_ptr<ExecDriver> driver_;
};

TEST_F(NativeDriverTest, OutputIsLoggedAndTheExitCodeKept) {
  Launch what = launch({"sh", "-c", "echo out; echo err >&2; exit 7"});
  auto instance = create(what);
  ASSERT_TRUE(instance);
  Ears ears;
  ears.listen(*instance);
  EXPECT_EQ(instance->state(), InstanceState::created);
  EXPECT_GT(instance->pid(), 0);
  EXPECT_GE(instance->netns_fd(), 0);
  Status started = instance->start();
  ASSERT_TRUE(started) << started.error().message();
  auto exited = ears.wait_for(Notice::Type::exited);
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->status.code, 7);
  EXPECT_FALSE(exited->status.oom);
  EXPECT_EQ(instance->state(), InstanceState::exited);
  std::string log = log_of(what);
  EXPECT_NE(log.find("stdout:out\n"), std::string::npos) << log;
  EXPECT_NE(log.find("stderr:err\n"), std::string::npos) << log;
  EXPECT_EQ((*shim::read_exit(what.directory))->code, 7);
}

TEST_F(NativeDriverTest, AProgramThatIsNotThereIsAnErrorAndLeavesNothing) {
  Launch what = launch({"nosuch"});
  Status started = launched(what);
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().kind(), ErrorKind::not_found) << started.error().message();
  EXPECT_NE(started.error().message().find("nosuch"), std::string::npos);
  EXPECT_FALSE(fs::exists(what.directory));
  EXPECT_TRUE(cgroup_empty(what));
}

// What `sh` finds of pid 1: its words, that its image is the one nobody can write, and an orphan's
// new parent.
TEST_F(NativeDriverTest, AnInitRunsTheProgramReapsOrphansAndCannotBeWritten) {
  if (kSanitized)
    GTEST_SKIP() << "a sanitized runtime is not static: a container has no loader for it";
  Launch what =
      launch({"sh", "-c",
              "tr '\\0' ' ' </proc/1/cmdline; echo; readlink /proc/1/exe;"
              "(: >>/proc/1/exe) 2>/dev/null && echo writ\"\"ten; ls /proc/1/fd;"
              "sh -c 'sleep 0.05 & echo $! >/tmp/orphan';"
              "while [ -e /proc/$(cat /tmp/orphan) ]; do :; done; echo reaped; kill -9 $$"});
  what.init = true;
  auto instance = create(what);
  ASSERT_TRUE(instance);
  Ears ears;
  ears.listen(*instance);
  Status started = instance->start();
  ASSERT_TRUE(started) << started.error().message();
  auto exited = ears.wait_for(Notice::Type::exited);
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->status.code, 137);
  std::string log = log_of(what);
  EXPECT_NE(log.find("stdout:/sbin/docker-init -- sh -c "), std::string::npos) << log;
  EXPECT_NE(log.find("memfd:gantry-runtime"), std::string::npos) << log;
  EXPECT_EQ(log.find("written"), std::string::npos) << log;
  EXPECT_NE(log.find("stdout:0\nstdout:1\nstdout:2\nstdout:reaped\n"), std::string::npos) << log;
}

TEST_F(NativeDriverTest, AnInitPassesSignalsOn) {
  if (kSanitized)
    GTEST_SKIP() << "a sanitized runtime is not static: a container has no loader for it";
  Launch what = launch({"sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done"});
  what.init = true;
  what.user.user = "1000:1000";
  auto instance = create(what);
  ASSERT_TRUE(instance);
  Ears ears;
  ears.listen(*instance);
  auto [client, theirs] = *sys::socketpair(SOCK_STREAM);
  ASSERT_TRUE(instance->attach(std::move(theirs), {}, {}));
  Status started = instance->start();
  ASSERT_TRUE(started) << started.error().message();
  EXPECT_NE(read_until(client.get(), "up").find("up"), std::string::npos);
  ASSERT_TRUE(instance->signal(SIGTERM));
  auto exited = ears.wait_for(Notice::Type::exited);
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->status.code, 9);
}

TEST_F(NativeDriverTest, AProgramThatInitCannotRunIsAnErrorOfTheStart) {
  if (kSanitized)
    GTEST_SKIP() << "a sanitized runtime is not static: a container has no loader for it";
  for (auto [program, text] : {std::pair{"nosuch", "executable file not found in $PATH"},
                               std::pair{"/text", "exec format error"}}) {
    ASSERT_TRUE(fs::write_file(directory_ + "/root/text", "no program", 0755));
    Launch what = launch({program});
    what.init = true;
    Status started = launched(what);
    ASSERT_FALSE(started);
    EXPECT_NE(started.error().message().find(text), std::string::npos) << started.error().message();
    EXPECT_TRUE(cgroup_empty(what));
  }
}

// The streams of a user's process can be opened by their names, and nothing of ours is in them.
TEST_F(NativeDriverTest, AUserOpensItsStreamsByName) {
  Launch what =
      launch({"sh", "-c", "echo out >/dev/stdout; echo err >/dev/stderr; echo $HOME; pwd"});
  what.user.user = "web";
  what.spec.process->cwd = "/made/here";
  what.spec.process->capabilities->bounding.emplace_back("CAP_NO_SUCH");
  ASSERT_TRUE(
      fs::write_file(directory_ + "/root/etc/passwd", "web:x:1000:1000::/srv/web:/bin/sh\n", 0644));
  auto instance = create(what);
  ASSERT_TRUE(instance);
  Ears ears;
  ears.listen(*instance);
  Status started = instance->start();
  ASSERT_TRUE(started) << started.error().message();
  ASSERT_TRUE(ears.wait_for(Notice::Type::exited));
  EXPECT_EQ(log_of(what).size(),
            std::string("stdout:out\nstdout:/srv/web\nstdout:/made/here\nstderr:err\n").size())
      << log_of(what);

  Launch terminal =
      launch({"sh", "-c", "echo typed >/dev/stdout; echo more >/dev/tty; echo last >/dev/console"});
  terminal.user.user = "web";
  terminal.terminal = terminal.spec.process->terminal = true;
  instance = create(terminal);
  ASSERT_TRUE(instance);
  auto [client, theirs] = *sys::socketpair(SOCK_STREAM);
  ASSERT_TRUE(instance->attach(std::move(theirs), {}, {}));
  started = instance->start();
  ASSERT_TRUE(started) << started.error().message();
  EXPECT_EQ(read_until(client.get(), ""), "typed\r\nmore\r\nlast\r\n");
}

TEST_F(NativeDriverTest, AClientGetsFramesAndItsInputReachesTheProgram) {
  Launch what = launch({"sh", "-c", "cat; echo done >&2"});
  what.open_stdin = what.stdin_once = true;
  auto instance = create(what);
  ASSERT_TRUE(instance);
  auto [client, theirs] = *sys::socketpair(SOCK_STREAM);
  ASSERT_TRUE(
      instance->attach(std::move(theirs), {.standard_in = true, .multiplexed = true}, "left "));
  ASSERT_TRUE(instance->start());
  ASSERT_TRUE(sys::write_all(client.get(), "over"));
  ASSERT_EQ(::shutdown(client.get(), SHUT_WR), 0);
  std::string all = read_until(client.get(), "");
  std::string text;
  bool err = false;
  for (size_t at = 0; at + 8 <= all.size();) {
    auto size = static_cast<unsigned char>(all[at + 7]);
    if (all[at] == 2)
      err = all.substr(at + 8, size) == "done\n";
    else
      text += all.substr(at + 8, size);
    at += 8u + size;
  }
  EXPECT_EQ(text, "left over");
  EXPECT_TRUE(err);
}

TEST_F(NativeDriverTest, ATerminalIsAttachedResizedAndLeftByItsKeys) {
  Launch what = launch({"sh", "-c", "stty size; read x; stty size; echo got $x; sleep 1000"});
  what.terminal = what.open_stdin = true;
  what.spec.process->terminal = true;
  what.console = {24, 80};
  auto instance = create(what);
  ASSERT_TRUE(instance);
  Ears ears;
  ears.listen(*instance);
  auto [client, theirs] = *sys::socketpair(SOCK_STREAM);
  ASSERT_TRUE(instance->attach(std::move(theirs), {.standard_in = true}, {}));
  ASSERT_TRUE(instance->start());
  EXPECT_NE(read_until(client.get(), "\n").find("24 80"), std::string::npos);
  ASSERT_TRUE(instance->resize({50, 132}));
  ASSERT_TRUE(sys::write_all(client.get(), "word\n"));
  std::string answer = read_until(client.get(), "got word");
  EXPECT_NE(answer.find("50 132"), std::string::npos) << answer;
  ASSERT_TRUE(sys::write_all(client.get(), "\x10\x11"));
  EXPECT_TRUE(ears.wait_for(Notice::Type::detached));
  read_until(client.get(), "");
  EXPECT_EQ(instance->state(), InstanceState::running);
  ASSERT_TRUE(instance->signal(SIGKILL));
  auto exited = ears.wait_for(Notice::Type::exited);
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->status.code, 137);
}

TEST_F(NativeDriverTest, AFullClientHoldsTheContainerBackAndLosesNothing) {
  constexpr size_t kBytes = 1u << 20;
  Launch what = launch({"sh", "-c", fmt::format("yes | head -c {}", kBytes)});
  auto instance = create(what);
  ASSERT_TRUE(instance);
  Ears ears;
  ears.listen(*instance);
  auto [client, theirs] = *sys::socketpair(SOCK_STREAM);
  ASSERT_TRUE(instance->attach(std::move(theirs), {}, {}));
  ASSERT_TRUE(instance->start());
  std::string all = read_until(client.get(), "");
  EXPECT_EQ(all.size(), kBytes);
  ASSERT_TRUE(ears.wait_for(Notice::Type::exited));
  int64_t lines = 0;
  auto reader = std::move(LogReader::open(what.log, {})).value();
  for (auto entry = reader->next(); entry && *entry; entry = reader->next()) ++lines;
  EXPECT_EQ(lines, static_cast<int64_t>(kBytes / 2));
}

TEST_F(NativeDriverTest, ADeadClientDoesNotStopTheContainer) {
  Launch what = launch({"sh", "-c", "yes | head -c 4194304; exit 3"});
  auto instance = create(what);
  ASSERT_TRUE(instance);
  Ears ears;
  ears.listen(*instance);
  auto [client, theirs] = *sys::socketpair(SOCK_STREAM);
  ASSERT_TRUE(instance->attach(std::move(theirs), {}, {}));
  ASSERT_TRUE(instance->start());
  read_until(client.get(), "y");
  client.reset();
  auto exited = ears.wait_for(Notice::Type::exited);
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->status.code, 3);
}

TEST_F(NativeDriverTest, ExecHasItsOwnTerminalAndExitCode) {
  Launch what = launch({"sleep", "1000"});
  auto instance = create(what);
  ASSERT_TRUE(instance);
  Ears ears;
  ears.listen(*instance);
  ASSERT_TRUE(instance->start());
  ExecRequest request;
  request.id = "e1";
  request.process = *what.spec.process;
  request.process.args = {"sh", "-c", "tty; stty size; exit 5"};
  request.process.terminal = true;
  request.console = {30, 90};
  auto [client, theirs] = *sys::socketpair(SOCK_STREAM);
  auto pid = instance->exec(request, std::move(theirs), {.standard_in = true});
  ASSERT_TRUE(pid) << pid.error().message();
  EXPECT_GT(*pid, 0);
  std::string output = read_until(client.get(), "");
  EXPECT_NE(output.find("/dev/pts/"), std::string::npos) << output;
  EXPECT_NE(output.find("30 90"), std::string::npos) << output;
  auto exec_exited = ears.wait_for(Notice::Type::exec_exited);
  ASSERT_TRUE(exec_exited);
  EXPECT_EQ(exec_exited->exec_id, "e1");
  EXPECT_EQ(exec_exited->status.code, 5);

  request.id = "e2";
  request.process.terminal = false;
  request.process.args = {"nosuch"};
  auto missing = instance->exec(request);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind(), ErrorKind::not_found) << missing.error().message();

  request.id = "e3";
  request.process.args = {"sleep", "1000"};
  ASSERT_TRUE(instance->exec(request));
  EXPECT_EQ(instance->processes()->size(), 2u);
  ASSERT_TRUE(instance->exec_signal("e3", SIGTERM));
  ASSERT_TRUE(instance->signal(SIGKILL));
  EXPECT_TRUE(ears.wait_for(Notice::Type::exited));
}

TEST_F(NativeDriverTest, ADaemonThatVanishesBeforeGoLeavesNothing) {
  Launch what = launch({"sleep", "1000"});
  auto instance = create(what);
  ASSERT_TRUE(instance);
  UniqueFd init = *sys::pidfd_open(instance->pid());
  instance.reset();
  EXPECT_TRUE(ends(init));
  int64_t deadline = monotonic_ns() + 20'000'000'000;
  while (fs::exists(what.directory) && monotonic_ns() < deadline) (void)sys::poll_one(-1, 0, 1);
  EXPECT_FALSE(fs::exists(what.directory));
  EXPECT_FALSE(libcontainer::cgroup_exists(what.spec.linux_section->cgroups_path));
}

TEST_F(NativeDriverTest, ANewDaemonAdoptsWhatRunsAndWhatHasEnded) {
  Launch what = launch({"sh", "-c", "echo begin; read line; echo $line; exit 4"});
  what.open_stdin = true;
  auto instance = create(what);
  ASSERT_TRUE(instance);
  ASSERT_TRUE(instance->start());
  pid_t pid = instance->pid();
  int64_t started_at = instance->started_at();
  instance.reset();
  new_driver();

  auto adopted = driver_->adopt(what.directory);
  ASSERT_TRUE(adopted) << adopted.error().message();
  EXPECT_EQ((*adopted)->state(), InstanceState::running);
  EXPECT_EQ((*adopted)->pid(), pid);
  EXPECT_EQ((*adopted)->id(), what.id);
  EXPECT_GT((*adopted)->started_at(), 0);
  EXPECT_NEAR(static_cast<double>((*adopted)->started_at()), static_cast<double>(started_at), 1e9);
  EXPECT_GE((*adopted)->netns_fd(), 0);
  Ears ears;
  ears.listen(**adopted);
  auto [client, theirs] = *sys::socketpair(SOCK_STREAM);
  ASSERT_TRUE((*adopted)->attach(std::move(theirs), {.standard_in = true}, "later\n"));
  auto exited = ears.wait_for(Notice::Type::exited);
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->status.code, 4);
  std::string output = read_until(client.get(), "");
  if (output.starts_with("begin\n")) output.erase(0, 6);  // a slow one had not begun
  EXPECT_EQ(output, "later\n");
  adopted->reset();
  new_driver();
  auto ended = driver_->adopt(what.directory);
  ASSERT_TRUE(ended) << ended.error().message();
  EXPECT_EQ((*ended)->state(), InstanceState::exited);
  EXPECT_EQ((*ended)->exit_status()->code, 4);
  EXPECT_EQ(log_of(what), "stdout:begin\nstdout:later\n");
}

TEST_F(NativeDriverTest, AKilledShimTakesItsContainerWithIt) {
  Launch what = launch({"sh", "-c", "sleep 1000 & sleep 1000"});
  auto instance = create(what);
  ASSERT_TRUE(instance);
  Ears ears;
  ears.listen(*instance);
  ASSERT_TRUE(instance->start());
  UniqueFd init = *sys::pidfd_open(instance->pid());
  // state.json is written behind the answer to start(); the socket comes after it.
  int64_t deadline = monotonic_ns() + 20'000'000'000;
  while (!fs::exists(what.directory + "/shim.sock") && monotonic_ns() < deadline)
    (void)sys::poll_one(-1, 0, 1);
  ASSERT_TRUE(sys::kill(shim::read_state(what.directory)->shim_pid, SIGKILL));
  auto exited = ears.wait_for(Notice::Type::exited);
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->status.code, 137);
  EXPECT_EQ(exited->status.reason, "the container's shim was killed");
  EXPECT_TRUE(ends(init));
  deadline = monotonic_ns() + 20'000'000'000;
  while (!cgroup_empty(what) && monotonic_ns() < deadline) (void)sys::poll_one(-1, 0, 1);
  EXPECT_TRUE(cgroup_empty(what));
}

TEST_F(NativeDriverTest, WhatAShimKeepsComesBackWithAdoptAndGoesWithTheContainer) {
  Launch what = launch({"cat"});
  what.open_stdin = true;
  auto instance = create(what);
  ASSERT_TRUE(instance);
  auto [ours, theirs] = *sys::socketpair(SOCK_SEQPACKET);
  auto [later, kept_later] = *sys::socketpair(SOCK_SEQPACKET);
  ASSERT_TRUE(instance->start({theirs.get()}));
  theirs.reset();
  ASSERT_TRUE(sys::write_all(ours.get(), "while nobody reads"));
  for (int daemon = 0; daemon < 2; ++daemon) {  // each may be killed in its turn
    instance.reset();
    new_driver();
    auto adopted = driver_->adopt(what.directory);
    ASSERT_TRUE(adopted) << adopted.error().message();
    instance = std::move(*adopted);
  }
  std::vector<UniqueFd> kept = instance->take_kept();
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_TRUE(instance->take_kept().empty());
  char buffer[64];
  EXPECT_EQ(*sys::read(kept[0].get(), buffer, sizeof buffer), 18u);
  kept.clear();
  ASSERT_TRUE(sys::poll_one(ours.get(), POLLIN, 0).value_or(false) == false);
  ASSERT_TRUE(instance->keep({kept_later.get(), kept_later.get()}));
  kept_later.reset();
  EXPECT_EQ(read_until(ours.get(), ""), "") << "the shim has closed what it kept before";
  ASSERT_TRUE(instance->signal(SIGKILL));
  EXPECT_EQ(read_until(later.get(), ""), "") << "and the rest at the container's end";
}

TEST_F(NativeDriverTest, AShimThatWasKilledWhileNoDaemonWasThereIsSettledByAdopt) {
  Launch what = launch({"sleep", "1000"});
  auto instance = create(what);
  ASSERT_TRUE(instance);
  ASSERT_TRUE(instance->start());
  UniqueFd init = *sys::pidfd_open(instance->pid());
  int64_t deadline = monotonic_ns() + 20'000'000'000;
  while (!fs::exists(what.directory + "/shim.sock") && monotonic_ns() < deadline)
    (void)sys::poll_one(-1, 0, 1);
  instance.reset();
  driver_.reset();
  pid_t shim_pid = shim::read_state(what.directory)->shim_pid;
  ASSERT_TRUE(sys::kill(shim_pid, SIGKILL));
  (void)::waitpid(shim_pid, nullptr, 0);
  new_driver();
  auto adopted = driver_->adopt(what.directory);
  ASSERT_TRUE(adopted) << adopted.error().message();
  EXPECT_EQ((*adopted)->state(), InstanceState::exited);
  EXPECT_EQ((*adopted)->exit_status()->code, 137);
  EXPECT_TRUE(ends(init));
}

TEST_F(NativeDriverTest, AProcessKilledForMemoryIsNoticed) {
  Launch what = launch({"sh", "-c", "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"});
  libcontainer::MemoryResources& memory = what.spec.linux_section->resources->memory.emplace();
  memory.limit = 16 << 20;
  auto instance = create(what);
  ASSERT_TRUE(instance);
  Ears ears;
  ears.listen(*instance);
  ASSERT_TRUE(instance->start());
  auto exited = ears.wait_for(Notice::Type::exited);
  ASSERT_TRUE(exited);
  EXPECT_TRUE(exited->status.oom);
  EXPECT_EQ(exited->status.code, 137);
  EXPECT_TRUE(ears.wait_for(Notice::Type::oom));
}

TEST_F(NativeDriverTest, PauseAndResumeReachTheContainer) {
  Launch what = launch({"sleep", "1000"});
  auto instance = create(what);
  ASSERT_TRUE(instance);
  Ears ears;
  ears.listen(*instance);
  ASSERT_TRUE(instance->start());
  Status paused = instance->pause();
  ASSERT_TRUE(paused) << paused.error().message();
  ASSERT_TRUE(instance->resume());
  auto stats = instance->stats();
  ASSERT_TRUE(stats) << stats.error().message();
  EXPECT_TRUE(stats->memory.has_value());
  ASSERT_TRUE(instance->signal(SIGKILL));
  EXPECT_TRUE(ears.wait_for(Notice::Type::exited));
}

// Figures, not a test: run with --gtest_also_run_disabled_tests --gtest_filter='*Figures*'.
TEST_F(NativeDriverTest, DISABLED_FiguresOfTrueFromCreateToExited) {
  constexpr int kRuns = 60;
  std::vector<int64_t> created, started, exited;
  for (int i = 0; i < kRuns; ++i) {
    Launch what = launch({"true"});
    int64_t begin = monotonic_ns();
    auto instance = create(what);
    ASSERT_TRUE(instance);
    Ears ears;
    ears.listen(*instance);
    created.push_back(monotonic_ns() - begin);
    ASSERT_TRUE(instance->start());
    started.push_back(monotonic_ns() - begin);
    ASSERT_TRUE(ears.wait_for(Notice::Type::exited));
    exited.push_back(monotonic_ns() - begin);
    instance->set_listener(nullptr);
    (void)libcontainer::remove_cgroup(what.spec.linux_section->cgroups_path);
    if (::getenv("APART")) (void)sys::poll_one(-1, 0, 300);
  }
  for (auto* times : {&created, &started, &exited}) std::sort(times->begin(), times->end());
  std::printf("median of %d: created %.2f ms, started %.2f ms, exited %.2f ms\n", kRuns,
              static_cast<double>(created[kRuns / 2]) / 1e6,
              static_cast<double>(started[kRuns / 2]) / 1e6,
              static_cast<double>(exited[kRuns / 2]) / 1e6);
}

TEST_F(NativeDriverTest, DISABLED_FiguresOfLogging) {
  for (const char* driver : {"json-file", "local", "none"}) {
    Launch what = launch({"sh", "-c",
                          "yes 'a line of about eighty bytes, as programs like to print them when "
                          "asked to' | head -c 1000000000"});
    what.log.driver = driver;
    what.log.max_size = 50 << 20;
    what.log.max_files = 2;
    auto instance = create(what);
    ASSERT_TRUE(instance);
    Ears ears;
    ears.listen(*instance);
    int64_t begin = monotonic_ns();
    ASSERT_TRUE(instance->start());
    ASSERT_TRUE(ears.wait_for(Notice::Type::exited));
    std::printf("%s: %.0f MB/s\n", driver,
                1000.0 / (static_cast<double>(monotonic_ns() - begin) / 1e9));
    instance->set_listener(nullptr);
  }
}

// Bytes of `field` in a process's smaps_rollup.
int64_t rollup(pid_t pid, std::string_view field) {
  std::string text = fs::read_file(fmt::format("/proc/{}/smaps_rollup", pid)).value_or("");
  size_t at = text.find(fmt::format("\n{}:", field));
  return at == std::string::npos ? 0 : std::atoll(text.c_str() + at + field.size() + 2) * 1024;
}

TEST_F(NativeDriverTest, FiftyIdleShimsTakeHalfAMegabyteEach) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers take memory of their own";
#endif
  constexpr int kCount = 50;
  std::vector<std::shared_ptr<Instance>> instances;
  std::vector<Launch> launches;
  for (int i = 0; i < kCount; ++i) {
    launches.push_back(launch({"sleep", "1000"}));
    instances.push_back(create(launches.back()));
    ASSERT_TRUE(instances.back());
    ASSERT_TRUE(instances.back()->start());
  }
  // They give memory back once they have been quiet for a while.
  int64_t mean = 0, deadline = monotonic_ns() + 20'000'000'000;
  do {
    (void)sys::poll_one(-1, 0, 50);
    mean = 0;
    for (const Launch& what : launches) {
      auto state = shim::read_state(what.directory);
      mean += state ? rollup(state->shim_pid, "Pss") / kCount : 1 << 20;
    }
  } while (mean >= 512 * 1024 && monotonic_ns() < deadline);
  RecordProperty("mean_pss", std::to_string(mean));
  std::printf("mean PSS of %d idle shims: %lld KiB\n", kCount, static_cast<long long>(mean / 1024));
  EXPECT_LT(mean, 512 * 1024);
  for (auto& instance : instances) {
    Ears ears;
    ears.listen(*instance);
    ASSERT_TRUE(instance->signal(SIGKILL));
    ASSERT_TRUE(ears.wait_for(Notice::Type::exited));
    instance->set_listener(nullptr);
  }
}

}  // namespace
}  // namespace gantry::drivers

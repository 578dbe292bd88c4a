#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <thread>

#include "base/channel.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "base/process.h"
#include "base/sys.h"
#include "base/tree_walk.h"

namespace gantry {
namespace {

struct Inner {
  std::string name;
  int32_t count = 0;
};
struct Outer {
  std::vector<Inner> list;
  std::map<std::string, std::string> labels;
  std::optional<bool> flag;
  int64_t memory = 0;
};

}  // namespace

template <>
struct json::Schema<Inner> {
  static constexpr Field fields[] = {field<&Inner::name>("Name"),
                                     field<&Inner::count>("Count", kOmitEmpty)};
};
template <>
struct json::Schema<Outer> {
  static constexpr Field fields[] = {
      field<&Outer::list>("List"), field<&Outer::labels>("Labels", kNullEmpty),
      field<&Outer::flag>("Flag", kOmitEmpty), field<&Outer::memory>("Memory")};
};

namespace {

TEST(Result, ContextIsPutInFrontAndKindStays) {
  auto inner = []() -> Status { return errno_error(ENOENT, "open {}", "/x"); };
  auto outer = [&]() -> Status {
    TRY(inner().context("reading {}", "config"));
    return {};
  };
  Status status = outer();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message(), "reading config: open /x: no such file or directory");
  EXPECT_EQ(status.error().kind(), ErrorKind::not_found);
  EXPECT_EQ(status.error().code(), ENOENT);
}

TEST(Result, KindsSurviveTheirNames) {
  for (int i = 0; i < 8; ++i) {
    auto kind = static_cast<ErrorKind>(i);
    EXPECT_EQ(error_kind_from(to_string(kind)), kind);
  }
}

TEST(Json, KeysMatchWithoutRegardToCaseAndUnknownOnesAreIgnored) {
  Result<Outer> outer =
      json::parse<Outer>(R"({"list":[{"NAME":"a","count":3}],"other":1,"memory":5})");
  ASSERT_TRUE(outer) << outer.error().message();
  EXPECT_EQ(outer->list.at(0).name, "a");
  EXPECT_EQ(outer->list.at(0).count, 3);
  EXPECT_EQ(outer->memory, 5);
}

TEST(Json, AWrongTypeNamesTheField) {
  Result<Outer> outer = json::parse<Outer>(R"({"List":[{"Name":"a"},{"Name":7}]})");
  ASSERT_FALSE(outer);
  EXPECT_EQ(outer.error().message(), "List[1].Name: expected a string, got an integer");
  outer = json::parse<Outer>(R"({"Labels":{"k":[]}})");
  ASSERT_FALSE(outer);
  EXPECT_EQ(outer.error().message(), "Labels.k: expected a string, got an array");
}

TEST(Json, IntegersOutOfRangeAreRefused) {
  EXPECT_FALSE(json::parse<Inner>(R"({"Count":4294967296})"));
  EXPECT_FALSE(json::parse<Outer>(R"({"Memory":18446744073709551615})"));
  EXPECT_FALSE(json::parse<Outer>(R"({"Memory":1.5})"));
  EXPECT_EQ(json::parse<Outer>(R"({"Memory":1e3})")->memory, 1000);
}

TEST(Json, EmptyFieldsFollowTheirFlags) {
  EXPECT_EQ(json::dump(Outer{}), R"({"List":[],"Labels":null,"Memory":0})");
}

TEST(Json, DepthIsBounded) {
  EXPECT_FALSE(json::parse(std::string(100, '[') + std::string(100, ']')));
  EXPECT_FALSE(json::parse("{} x"));
}

TEST(Json, PrettyPrintsLikeDocker) {
  json::value v = *json::parse(R"({"a":[1,{"b":[]}]})");
  EXPECT_EQ(json::pretty(v, "    "),
            "{\n    \"a\": [\n        1,\n        {\n            \"b\": []\n        }\n    ]\n}");
}

TEST(Clock, PrintsAsGoDoesAndReadsItBack) {
  EXPECT_EQ(format_time(0), "0001-01-01T00:00:00Z");
  EXPECT_EQ(format_time(1'700'000'000'120'000'000), "2023-11-14T22:13:20.12Z");
  EXPECT_EQ(*parse_time("2023-11-14T22:13:20.12Z"), 1'700'000'000'120'000'000);
  EXPECT_EQ(*parse_time("2023-11-15T00:13:20+02:00"), 1'700'000'000'000'000'000);
  EXPECT_FALSE(parse_time("2023-11-14 22:13:20"));
  EXPECT_FALSE(parse_time("2023-11-14T22:13:20"));
}

TEST(Clock, AProcessHasAStartTime) {
  EXPECT_GT(*process_start_time(::getpid()), 0u);
  EXPECT_FALSE(process_start_time(0));
}

TEST(Digest, KnownAnswersAndBadText) {
  EXPECT_EQ(Digest::of("").text(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_TRUE(Digest::parse(Digest::of("x").text()));
  EXPECT_FALSE(Digest::parse("sha256:../../../etc/passwd"));
  EXPECT_EQ(Digest::parse("md5:aa").error().kind(), ErrorKind::unsupported);
}

TEST(Id, ShortIdsAreNeverNumbers) {
  for (int i = 0; i < 2000; ++i) {
    std::string id = new_id();
    ASSERT_EQ(id.size(), 64u);
    ASSERT_NE(short_id(id).find_first_of("abcdef"), std::string::npos);
  }
}

class TempDir : public testing::Test {
 protected:
  TempDir() {
    char name[] = "/tmp/gantry-test-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~TempDir() override { EXPECT_TRUE(fs::remove_tree(path_)); }
  std::string path_;
};
using FsTest = TempDir;

TEST_F(FsTest, ReplacedFilesLeaveNoTemporaryBehind) {
  ASSERT_TRUE(fs::replace_file(path_ + "/a", "one", 0640, fs::Durability::synced));
  ASSERT_TRUE(fs::replace_file(path_ + "/a", "two"));
  EXPECT_EQ(*fs::read_file(path_ + "/a"), "two");
  EXPECT_THAT(*fs::list_directory(path_), testing::ElementsAre("a"));
}

TEST_F(FsTest, RemovingATreeDoesNotFollowLinks) {
  ASSERT_TRUE(fs::make_directories(path_ + "/keep", 0755));
  ASSERT_TRUE(fs::write_file(path_ + "/keep/canary", "x"));
  ASSERT_TRUE(fs::make_directories(path_ + "/tree/a/b", 0755));
  ASSERT_TRUE(sys::symlinkat(path_ + "/keep", AT_FDCWD, path_ + "/tree/a/link"));
  ASSERT_TRUE(fs::remove_tree(path_ + "/tree"));
  EXPECT_FALSE(fs::exists(path_ + "/tree"));
  EXPECT_TRUE(fs::exists(path_ + "/keep/canary"));
  EXPECT_TRUE(fs::remove_tree(path_ + "/absent"));
}

// As a container can make it, a step at a time: no path is as long.
int nest(int directory, int depth) {
  UniqueFd at = sys::dup(directory).release();
  for (int i = 0; i < depth; ++i) {
    if (!sys::mkdirat(at.get(), "d", 0755)) return i;
    at = sys::openat(at.get(), "d", O_RDONLY | O_DIRECTORY).release();
  }
  return depth;
}

TEST_F(TempDir, ATreeDeeperThanThereAreDescriptorsIsRemoved) {
  ASSERT_TRUE(fs::make_directories(path_ + "/deep"));
  UniqueFd deep = sys::open(path_ + "/deep", O_RDONLY | O_DIRECTORY).release();
  ASSERT_EQ(nest(deep.get(), 3000), 3000);
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{256, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  Status removed = fs::remove_tree(path_ + "/deep");
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(removed) << removed.error().message();
  EXPECT_FALSE(fs::exists(path_ + "/deep"));
}

TEST_F(TempDir, AWalkRefusesATreeThatNoPathReachesTheEndOf) {
  rlimit descriptors;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &descriptors), 0);
  if (descriptors.rlim_max < 4096) GTEST_SKIP() << "too few descriptors";
  descriptors.rlim_cur = descriptors.rlim_max;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &descriptors), 0);
  for (auto [name, depth] : {std::pair("least", 2040), std::pair("most", 2100)}) {
    const std::string path = path_ + "/" + name;
    ASSERT_TRUE(fs::make_directories(path));
    UniqueFd top = sys::open(path, O_RDONLY | O_DIRECTORY).release();
    ASSERT_EQ(nest(top.get(), depth), depth);
    Status walked =
        walk_tree(top.get(), [](const TreeEntry&) -> Result<Descend> { return Descend::yes; });
    EXPECT_EQ(walked.has_value(), depth < 2048);
    if (!walked) {
      EXPECT_EQ(walked.error().kind(), ErrorKind::invalid);
    }
  }
}

TEST_F(FsTest, LinksBelowARootStayInsideIt) {
  ASSERT_TRUE(fs::make_directories(path_ + "/root", 0755));
  ASSERT_TRUE(sys::symlinkat("/etc", AT_FDCWD, path_ + "/root/abs"));
  ASSERT_TRUE(sys::symlinkat("../../../../etc", AT_FDCWD, path_ + "/root/rel"));
  Beneath root = *Beneath::open(path_ + "/root");
  EXPECT_FALSE(root.open("abs/passwd", O_RDONLY));
  EXPECT_FALSE(root.open("rel/passwd", O_RDONLY));
  EXPECT_FALSE(root.open("/proc/self/fd/0", O_RDONLY));
  ASSERT_TRUE(root.make_directories("etc/deep", 0755));
  EXPECT_TRUE(root.open("abs/deep", O_PATH | O_DIRECTORY));
  EXPECT_TRUE(fs::exists(path_ + "/root/etc/deep"));
  EXPECT_FALSE(root.parent_of("a/.."));
  EXPECT_FALSE(root.parent_of("/"));
  EXPECT_EQ(root.parent_of("abs/passwd")->name, "passwd");
}

TEST(Process, OutputInputAndStatusComeBack) {
  Result<ProcessOutput> output = run_process(
      {.arguments = {"sh", "-c", "cat; echo err >&2; exit 3"}, .program = "sh"}, "hello");
  ASSERT_TRUE(output) << output.error().message();
  EXPECT_EQ(output->out, "hello");
  EXPECT_EQ(output->err, "err\n");
  EXPECT_EQ(WEXITSTATUS(output->status), 3);
}

TEST(Process, AMissingProgramIsAnErrorWithItsErrno) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "ThreadSanitizer makes vfork a fork: the child's errno stays with the child";
#endif
  Result<ChildProcess> child = ChildProcess::spawn({.arguments = {"x"}, .program = "/no/such"});
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().code(), ENOENT);
}

TEST(Process, ATimeoutKills) {
  Result<ProcessOutput> output =
      run_process({.arguments = {"sleep", "60"}, .program = "sleep"}, "", 50);
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().kind(), ErrorKind::unavailable);
}

TEST(Process, OnlyMappedDescriptorsReachTheChild) {
  UniqueFd stray = *sys::open("/dev/null", O_RDONLY);
  sys::Pipe extra = *sys::pipe();
  Result<ProcessOutput> output = run_process(
      {.arguments = {"sh", "-c", "ls /proc/self/fd | wc -l; [ -e /proc/self/fd/9 ] && echo nine"},
       .program = "sh",
       .descriptors = {{extra.read.get(), 9}}});
  ASSERT_TRUE(output);
  EXPECT_EQ(output->out, "5\nnine\n");  // 0 1 2 9 and the directory itself
}

TEST(Channel, DrainsAfterCloseAndWakes) {
  Channel<int> channel(2);
  int woken = 0;
  channel.set_waker([&] { ++woken; });
  std::thread producer([&] {
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(channel.push(i));
    channel.close();
    EXPECT_FALSE(channel.push(9));
  });
  for (int i = 0; i < 5; ++i) EXPECT_EQ(channel.pop(), i);
  EXPECT_EQ(channel.pop(), std::nullopt);
  producer.join();
  EXPECT_EQ(woken, 6);
  EXPECT_TRUE(channel.finished());
}

TEST(Sys, DescriptorsTravelOverASocket) {
  auto pair = *sys::socketpair(SOCK_STREAM);
  sys::Pipe pipe = *sys::pipe();
  int fd = pipe.write.get();
  ASSERT_TRUE(sys::send_with_fds(pair.first.get(), "x", std::span(&fd, 1)));
  char byte;
  sys::Received got = *sys::receive_with_fds(pair.second.get(), &byte, 1);
  ASSERT_EQ(got.fds.size(), 1u);
  ASSERT_TRUE(sys::write_all(got.fds[0].get(), "hi"));
  got.fds.clear();
  pipe.write.reset();
  EXPECT_EQ(*sys::read_all(pipe.read.get()), "hi");
}

TEST(Sys, ALongSocketPathWorks) {
  std::string directory = "/tmp/gantry-test-" + random_hex(4) + "/" + std::string(120, 'd');
  ASSERT_TRUE(fs::make_directories(directory, 0700));
  UniqueFd listener = *sys::listen_unix(directory + "/sock", 0600);
  EXPECT_TRUE(sys::connect_unix(directory + "/sock"));
  EXPECT_TRUE(fs::remove_tree(directory.substr(0, directory.rfind('/'))));
}

}  // namespace
}  // namespace gantry

#include "base/tar.h"

#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/id.h"
#include "base/process.h"

namespace gantry::tar {
namespace {

struct Member {
  Entry entry;
  std::string contents;
};

Result<std::vector<Member>> read(std::string_view archive) {
  MemorySource source(archive);
  Reader reader(source);
  std::vector<Member> members;
  for (;;) {
    std::optional<Entry> entry = TRY(reader.next());
    if (!entry) break;
    Member member{std::move(*entry), ""};
    for (;;) {
      std::string_view piece = TRY(reader.payload());
      if (piece.empty()) break;
      member.contents += piece;
    }
    members.push_back(std::move(member));
  }
  TRY(reader.finish());
  return members;
}

std::string sample() {
  StringSink sink;
  Writer writer(sink);
  Entry entry;
  entry.path = "plain";
  entry.mode = 0640;
  entry.size = 5;
  entry.mtime = {1'500'000'000, 0};
  EXPECT_TRUE(writer.add(entry, "hello"));
  entry.path = std::string(90, 'd') + "/" + std::string(90, 'f');  // fits by its prefix
  EXPECT_TRUE(writer.add(entry, "hello"));
  entry.path = std::string(300, 'l') + "/näme";
  entry.uid = 3'000'000;
  entry.mtime = {-5, 250'000'000};
  entry.xattrs = {{"user.z", std::string("a\0b\n", 4)}, {"user.a", "1"}};
  EXPECT_TRUE(writer.add(entry, "hello"));
  Entry link;
  link.path = "link";
  link.type = Type::symlink;
  link.link = std::string(200, 't');
  EXPECT_TRUE(writer.begin(link));
  EXPECT_TRUE(writer.finish());
  return sink.bytes();
}

TEST(Tar, ReadsBackWhatItWrote) {
  Result<std::vector<Member>> members = read(sample());
  ASSERT_TRUE(members) << members.error().message();
  ASSERT_EQ(members->size(), 4u);
  EXPECT_EQ((*members)[0].contents, "hello");
  EXPECT_EQ((*members)[0].entry.mode, 0640u);
  EXPECT_EQ((*members)[1].entry.path, std::string(90, 'd') + "/" + std::string(90, 'f'));
  const Entry& third = (*members)[2].entry;
  EXPECT_EQ(third.path, std::string(300, 'l') + "/näme");
  EXPECT_EQ(third.uid, 3'000'000u);
  EXPECT_EQ(third.mtime.tv_sec, -5);
  EXPECT_EQ(third.mtime.tv_nsec, 250'000'000);
  ASSERT_EQ(third.xattrs.size(), 2u);
  EXPECT_EQ(third.xattrs[1].second, std::string("a\0b\n", 4));
  EXPECT_EQ((*members)[3].entry.link, std::string(200, 't'));
}

TEST(Tar, EveryTruncationInsideAMemberIsAnError) {
  std::string archive = sample();
  EXPECT_EQ(read("").value().size(), 0u);
  int errors = 0;
  for (size_t size = 1; size < archive.size() - 1024; ++size) {
    Result<std::vector<Member>> members = read(std::string_view(archive).substr(0, size));
    if (members) {
      EXPECT_EQ(size % 512, 0u) << "cut at " << size;  // between members
    } else {
      ++errors;
      EXPECT_EQ(members.error().message().find("unexpected end of archive") == std::string::npos,
                false)
          << members.error().message();
    }
  }
  EXPECT_GT(errors, 1000);
}

TEST(Tar, RefusesDamagedHeaders) {
  std::string archive = sample();
  archive[10] ^= 1;
  EXPECT_EQ(read(archive).error().message(), "invalid tar header");
}

// GNU tar as the other side, in its three formats.
class TarOracle : public testing::TestWithParam<const char*> {};

TEST_P(TarOracle, ReadsWhatGnuTarWrites) {
  std::string root = "/tmp/gantry-tar-" + random_hex(6);
  ASSERT_TRUE(fs::make_directories(root + "/t", 0755));
  std::string name(150, 'n');
  SpawnOptions options;
  options.program = "sh";
  options.arguments = {
      "sh", "-c",
      fmt::format(
          "cd {0}/t && echo -n small > s && mkdir {1} && echo -n deep > {1}/{1} && "
          "truncate -s 10M sparse && printf mid | dd of=sparse bs=1 seek=5000000 "
          "conv=notrunc status=none && ln s h && ln -s {1}/{1} l && mkfifo p && "
          "cd .. && tar --sort=name --sparse --numeric-owner --owner=70000:70000 {2} -cf a.tar t",
          root, name, GetParam())};
  Result<ProcessOutput> made = run_process(options);
  ASSERT_TRUE(made) << made.error().message();
  if (made->status != 0) GTEST_SKIP() << "no GNU tar: " << made->err;
  std::string archive = fs::read_file(root + "/a.tar").release();
  Result<std::vector<Member>> members = read(archive);
  ASSERT_TRUE(members) << members.error().message();
  std::map<std::string, const Member*> by_name;
  for (const Member& member : *members) by_name[*clean_path(member.entry.path)] = &member;
  EXPECT_EQ(by_name.size(), 8u);
  const Member* sparse = by_name.at("t/sparse");
  EXPECT_EQ(sparse->entry.size, 10u << 20);
  ASSERT_TRUE(sparse->entry.extents);
  EXPECT_NE(sparse->contents.find("mid"), std::string::npos);
  EXPECT_LT(sparse->contents.size(), 100'000u);
  EXPECT_EQ(by_name.at("t/" + name + "/" + name)->contents, "deep");
  EXPECT_EQ(by_name.at("t/" + name + "/" + name)->entry.uid, 70000u);
  EXPECT_EQ(by_name.at("t/l")->entry.link, name + "/" + name);
  EXPECT_EQ(by_name.at("t/p")->entry.type, Type::fifo);
  // One of the two names is the file, the other a link to it.
  bool linked = by_name.at("t/h")->entry.type == Type::hardlink ||
                by_name.at("t/s")->entry.type == Type::hardlink;
  EXPECT_TRUE(linked);
  ASSERT_TRUE(fs::remove_tree(root));
}

INSTANTIATE_TEST_SUITE_P(Formats, TarOracle,
                         testing::Values("--format=gnu", "--format=posix --sparse-version=0.0",
                                         "--format=posix --sparse-version=0.1",
                                         "--format=posix --sparse-version=1.0"));

TEST(Tar, GnuTarReadsWhatItWrites) {
  std::string path = "/tmp/gantry-tar-" + random_hex(6);
  ASSERT_TRUE(fs::write_file(path, sample()));
  SpawnOptions options;
  options.program = "tar";
  options.arguments = {"tar", "-tf", path};
  Result<ProcessOutput> listed = run_process(options);
  ASSERT_TRUE(listed);
  EXPECT_EQ(listed->status, 0) << listed->err;
  EXPECT_EQ(std::count(listed->out.begin(), listed->out.end(), '\n'), 4);
  ASSERT_TRUE(fs::remove_tree(path));
}

TEST(CleanPath, StaysInside) {
  EXPECT_EQ(clean_path("./a//b/../c/"), "a/c");
  EXPECT_EQ(clean_path("/etc/passwd"), "etc/passwd");
  EXPECT_EQ(clean_path("."), "");
  EXPECT_EQ(clean_path(".."), std::nullopt);
  EXPECT_EQ(clean_path("a/../../b"), std::nullopt);
  EXPECT_EQ(clean_path(std::string(5000, 'x')), std::nullopt);
}

}  // namespace
}  // namespace gantry::tar

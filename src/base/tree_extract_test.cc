#include "base/tree_extract.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "base/tar.h"
#include "base/tree_archive.h"

namespace gantry {
namespace {

class TreeExtractTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = "/tmp/gantry-extract-" + random_hex(6);
    for (const char* name : {"/root/d", "/outside"})
      ASSERT_TRUE(fs::make_directories(path_ + name, 0755));
    ASSERT_TRUE(fs::write_file(path_ + "/outside/file", "theirs"));
    options_.set_owner = ::geteuid() == 0;
  }
  void TearDown() override { EXPECT_TRUE(fs::remove_tree(path_)); }

  struct Member {
    std::string path;
    tar::Type type = tar::Type::regular;
    std::string text;  // contents, or a link's target
  };
  Status extract(const std::vector<Member>& members, const std::string& where = "/d") {
    StringSink archive;
    tar::Writer writer(archive);
    for (const Member& member : members) {
      tar::Entry entry;
      entry.path = member.path;
      entry.type = member.type;
      entry.mode = member.type == tar::Type::directory ? 0755 : 0644;
      entry.uid = ::geteuid();
      entry.gid = ::getegid();
      bool file = member.type == tar::Type::regular;
      entry.size = file ? member.text.size() : 0;
      if (!file) entry.link = member.text;
      TRY(writer.begin(entry));
      if (file) TRY(writer.write(member.text));
    }
    TRY(writer.finish());
    UniqueFd root = TRY(sys::open(path_ + "/root", O_PATH | O_DIRECTORY));
    UniqueFd scratch = TRY(sys::open(path_, O_RDONLY | O_DIRECTORY));
    MemorySource source(archive.bytes());
    return extract_tree(root.get(), where, scratch.get(), source, options_);
  }
  std::string contents(const std::string& path) {
    return fs::read_file(path_ + path).value_or("(none)");
  }

  std::string path_;
  ExtractOptions options_;
};

TEST_F(TreeExtractTest, NothingOutsideOfTheRootIsTouched) {
  std::string outside = path_ + "/outside";
  EXPECT_FALSE(extract({{"../../outside/file", tar::Type::regular, "x"}}));
  EXPECT_FALSE(extract({{"h", tar::Type::hardlink, "../../../outside/file"}}));
  // An absolute link means the root's own tree.
  EXPECT_TRUE(extract({{"l", tar::Type::symlink, outside}, {"l2", tar::Type::symlink, "/"}}));
  EXPECT_TRUE(extract({{"l2/new", tar::Type::regular, "x"}}));
  EXPECT_EQ(contents("/root/new"), "x");
  (void)extract({{"l/file", tar::Type::regular, "x"}});
  EXPECT_EQ(contents("/outside/file"), "theirs");
  // A file in place of a link replaces the link.
  EXPECT_TRUE(
      extract({{"m", tar::Type::symlink, outside + "/file"}, {"m", tar::Type::regular, "ours"}}));
  EXPECT_EQ(contents("/root/d/m"), "ours");
  EXPECT_EQ(contents("/outside/file"), "theirs");
}

TEST_F(TreeExtractTest, KindsAreKeptWhenAsked) {
  ASSERT_TRUE(extract({{"dir", tar::Type::directory, ""}, {"file", tar::Type::regular, "1"}}));
  options_.keep_kinds = true;
  Status dir = extract({{"dir", tar::Type::regular, "x"}});
  ASSERT_FALSE(dir);
  EXPECT_EQ(dir.error().message(),
            "dir: cannot overwrite directory \"/d/dir\" with non-directory \"/d\"");
  EXPECT_FALSE(extract({{"file", tar::Type::directory, ""}}));
  EXPECT_TRUE(extract({{"file", tar::Type::regular, "2"}}));
  EXPECT_EQ(contents("/root/d/file"), "2");
  options_.keep_kinds = false;
  EXPECT_TRUE(extract({{"dir", tar::Type::regular, "x"}}));
  EXPECT_EQ(contents("/root/d/dir"), "x");
}

TEST_F(TreeExtractTest, TheTopEntryGetsItsNewName) {
  options_.rename = {"a", "b"};
  ASSERT_TRUE(extract({{"a", tar::Type::directory, ""},
                       {"a/a", tar::Type::regular, "1"},
                       {"a/h", tar::Type::hardlink, "a/a"}}));
  EXPECT_EQ(contents("/root/d/b/a"), "1");
  EXPECT_EQ(contents("/root/d/b/h"), "1");
  options_.rename = {".", "c"};
  ASSERT_TRUE(extract({{"./", tar::Type::directory, ""}, {"./x", tar::Type::regular, "2"}}));
  EXPECT_EQ(contents("/root/d/c/x"), "2");
}

TEST_F(TreeExtractTest, OverlaysAttributesAndBrokenArchivesAreRefused) {
  UniqueFd root = sys::open(path_ + "/root", O_PATH | O_DIRECTORY).release();
  UniqueFd scratch = sys::open(path_, O_RDONLY | O_DIRECTORY).release();
  std::string junk(2048, 'x');
  MemorySource source(junk);
  EXPECT_FALSE(extract_tree(root.get(), "/d", scratch.get(), source, options_));
  EXPECT_FALSE(extract({}, "/nowhere"));
  StringSink archive;
  tar::Writer writer(archive);
  tar::Entry entry;
  entry.path = "x";
  entry.xattrs = {{"trusted.overlay.opaque", "y"}};
  ASSERT_TRUE(writer.begin(entry));
  ASSERT_TRUE(writer.finish());
  MemorySource overlay(archive.bytes());
  EXPECT_FALSE(extract_tree(root.get(), "/d", scratch.get(), overlay, options_));
}

TEST_F(TreeExtractTest, ATreeComesBackAsItWas) {
  ASSERT_TRUE(extract({{"a", tar::Type::directory, ""},
                       {"a/f", tar::Type::regular, "1"},
                       {"a/l", tar::Type::symlink, "f"},
                       {"a/h", tar::Type::hardlink, "a/f"},
                       {"a/p", tar::Type::fifo, ""}}));
  UniqueFd directory = sys::open(path_ + "/root/d", O_RDONLY | O_DIRECTORY).release();
  StringSink archive;
  ASSERT_TRUE(write_subtree(directory.get(), "a", "again", archive));
  UniqueFd root = sys::open(path_ + "/root", O_PATH | O_DIRECTORY).release();
  MemorySource source(archive.bytes());
  ASSERT_TRUE(extract_tree(root.get(), "/", directory.get(), source, options_));
  EXPECT_EQ(contents("/root/again/l"), "1");
  struct stat st = {};
  ASSERT_EQ(::lstat((path_ + "/root/again/h").c_str(), &st), 0);
  EXPECT_EQ(st.st_nlink, 2u);
  ASSERT_EQ(::lstat((path_ + "/root/again/p").c_str(), &st), 0);
  EXPECT_TRUE(S_ISFIFO(st.st_mode));
}

// As many as a file may have: a list of 64 KiB.
TEST_F(TreeExtractTest, AllAttributesOfAFileAreInItsArchive) {
  const std::string directory = "/dev/shm/gantry-xattrs-" + random_hex(6);
  ASSERT_TRUE(fs::make_directories(directory, 0755));
  ASSERT_TRUE(fs::write_file(directory + "/file", "text"));
  constexpr int kCount = 80;  // with names of 200 bytes: a list of 16 KB
  int set = 0;
  for (int i = 0; i < kCount; ++i) {
    const std::string name = fmt::format("trusted.{:0>192}", i);
    if (::setxattr((directory + "/file").c_str(), name.c_str(), "v", 1, 0) == 0) ++set;
  }
  UniqueFd root = sys::open(directory, O_RDONLY | O_DIRECTORY).release();
  StringSink archive;
  Status written = write_tree(root.get(), archive);
  EXPECT_TRUE(fs::remove_tree(directory));
  if (set < kCount) GTEST_SKIP() << "tmpfs does not take so many attributes here";
  ASSERT_TRUE(written);
  MemorySource source(archive.bytes());
  tar::Reader reader(source);
  size_t found = 0;
  for (;;) {
    Result<std::optional<tar::Entry>> entry = reader.next();
    ASSERT_TRUE(entry);
    if (!*entry) break;
    if ((*entry)->path == "file") found = (*entry)->xattrs.size();
  }
  EXPECT_EQ(found, static_cast<size_t>(kCount));
}

}  // namespace
}  // namespace gantry

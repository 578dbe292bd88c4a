// The conformance suite: what every graph driver must do. Runs as root.
#include "drivers/graph/graph_driver.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/xattr.h>

#include <thread>

#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "drivers/graph/layer_directories.h"
#include "drivers/graph/rootfs_mount.h"
#include "drivers/graph/tar.h"
#include "drivers/graph/tree_diff.h"

namespace gantry::drivers {
namespace {

class Archive {
 public:
  Archive& file(const std::string& path, const std::string& contents, mode_t mode = 0644) {
    tar::Entry entry;
    entry.path = path;
    entry.mode = mode;
    entry.size = contents.size();
    entry.mtime.tv_sec = 1'000'000'000;
    EXPECT_TRUE(writer_.add(entry, contents));
    return *this;
  }
  Archive& add(tar::Type type, const std::string& path, const std::string& link = "",
               mode_t mode = 0755) {
    tar::Entry entry;
    entry.type = type;
    entry.path = path;
    entry.link = link;
    entry.mode = mode;
    entry.mtime.tv_sec = 1'000'000'000;
    return add(entry);
  }
  Archive& add(const tar::Entry& entry) {
    EXPECT_TRUE(writer_.begin(entry));
    return *this;
  }
  Archive& directory(const std::string& path, mode_t mode = 0755) {
    return add(tar::Type::directory, path, "", mode);
  }
  std::string done() {
    EXPECT_TRUE(writer_.finish());
    return sink_.bytes();
  }

 private:
  StringSink sink_;
  tar::Writer writer_{sink_};
};

class GraphDriverTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    root_ = "/tmp/gantry-graph-" + random_hex(6);
    ASSERT_TRUE(fs::make_directories(root_, 0700));
    Result<std::shared_ptr<GraphDriver>> driver = open_graph_driver(GetParam(), root_ + "/data");
    if (!driver && driver.error().kind() == ErrorKind::unsupported)
      GTEST_SKIP() << driver.error().message();
    ASSERT_TRUE(driver) << driver.error().message();
    driver_ = driver.release();
  }
  void TearDown() override { ASSERT_TRUE(fs::remove_tree(root_)); }

  Result<LayerInfo> apply(const std::string& tar, const Digest& parent = {}) {
    MemorySource source(tar);
    LayerSpec spec;
    spec.chain_id = Digest::of(parent.text() + tar);
    spec.parent = parent;
    spec.directory = new_layer_directory();
    return driver_->apply(spec, source);
  }
  Digest layer(const std::string& tar, const Digest& parent = {}) {
    Result<LayerInfo> info = apply(tar, parent);
    EXPECT_TRUE(info) << info.error().message();
    return info ? info->chain_id : Digest();
  }
  // A container on `image`, its tree opened for reading.
  UniqueFd open(const Digest& image, const std::string& id) {
    Result<RootfsSource> source = driver_->create_container({id, image});
    EXPECT_TRUE(source) << source.error().message();
    Result<UniqueFd> fd = open_rootfs(*source);
    EXPECT_TRUE(fd) << fd.error().message();
    return fd.release();
  }
  std::string contents(int root, const std::string& path) {
    Result<std::string> text = fs::read_file_at(root, path);
    return text ? *text : "(" + text.error().message() + ")";
  }
  bool there(int root, const std::string& path) {
    return ::faccessat(root, path.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
  }
  std::vector<std::string> changes(const std::string& id) {
    std::vector<std::string> out;
    Status walked = driver_->diff(id, [&](const Change& change) -> Status {
      out.push_back(std::string(1, "CAD"[static_cast<int>(change.kind)]) + " " + change.path);
      return {};
    });
    EXPECT_TRUE(walked) << walked.error().message();
    return out;
  }

  std::string root_;
  std::shared_ptr<GraphDriver> driver_;
};

TEST_P(GraphDriverTest, ALayerShowsWhatItsArchiveHeld) {
  tar::Entry owned;
  owned.path = "bin/su";
  owned.type = tar::Type::regular;
  owned.mode = 04755;
  owned.uid = 12;
  owned.gid = 34;
  owned.mtime = {1234567890, 500};
  owned.xattrs = {{"user.color", "blue"}};
  tar::Entry device;
  device.path = "dev/null";
  device.type = tar::Type::char_device;
  device.major = 1;
  device.minor = 3;
  device.mode = 0666;
  std::string tar = Archive()
                        .directory("bin", 0711)
                        .add(owned)
                        .file("a", "hello")
                        .add(tar::Type::hardlink, "b", "a")
                        .add(tar::Type::symlink, "c", "bin/su")
                        .add(tar::Type::fifo, "p")
                        .add(device)
                        .done();
  UniqueFd root = open(layer(tar), "c1");
  struct stat st = sys::fstatat(root.get(), "bin/su").release();
  EXPECT_EQ(st.st_mode, S_IFREG | 04755u);
  EXPECT_EQ(st.st_uid, 12u);
  EXPECT_EQ(st.st_gid, 34u);
  EXPECT_EQ(st.st_mtim.tv_sec, 1234567890);
  EXPECT_EQ(st.st_mtim.tv_nsec, 500);
  UniqueFd su = sys::openat(root.get(), "bin/su", O_RDONLY).release();
  char value[8];
  EXPECT_EQ(::fgetxattr(su.get(), "user.color", value, sizeof value), 4);
  EXPECT_EQ(contents(root.get(), "b"), "hello");
  EXPECT_EQ(sys::fstatat(root.get(), "a")->st_ino, sys::fstatat(root.get(), "b")->st_ino);
  EXPECT_EQ(sys::readlinkat(root.get(), "c").value(), "bin/su");
  EXPECT_TRUE(S_ISFIFO(sys::fstatat(root.get(), "p")->st_mode));
  EXPECT_TRUE(S_ISCHR(sys::fstatat(root.get(), "dev/null")->st_mode));
  struct stat bin = sys::fstatat(root.get(), "bin").release();
  EXPECT_EQ(bin.st_mode & 07777, 0711u);
  EXPECT_EQ(bin.st_mtim.tv_sec, 1'000'000'000);
  EXPECT_TRUE(there(root.get(), "proc")) << "what the runtime mounts over is made by the driver";
}

TEST_P(GraphDriverTest, WhiteoutsAndOpaqueDirectoriesHideWhatIsBelow) {
  Digest base = layer(
      Archive().file("keep", "1").file("gone", "2").file("d/old", "3").file("e/x", "4").done());
  Digest top = layer(Archive()
                         .file(".wh.gone", "")
                         .directory("d")
                         .file("d/new", "5")
                         .file("d/.wh..wh..opq", "")
                         .file(".wh.e", "")
                         .file("e/y", "6")
                         .done(),
                     base);
  UniqueFd root = open(top, "c1");
  EXPECT_EQ(contents(root.get(), "keep"), "1");
  EXPECT_FALSE(there(root.get(), "gone"));
  EXPECT_FALSE(there(root.get(), "d/old"));
  EXPECT_EQ(contents(root.get(), "d/new"), "5");
  EXPECT_FALSE(there(root.get(), "e/x"));
  EXPECT_EQ(contents(root.get(), "e/y"), "6");
  UniqueFd below = open(base, "c2");
  EXPECT_TRUE(there(below.get(), "gone")) << "layers below are not touched";
}

TEST_P(GraphDriverTest, ParentsLeftOutTakeTheirAttributesFromBelowAndLinksAreFollowedInside) {
  Digest base = layer(Archive()
                          .directory("usr", 0710)
                          .directory("usr/lib", 0750)
                          .add(tar::Type::symlink, "lib", "/usr/lib")
                          .done());
  Digest top = layer(Archive().file("lib/new", "x").done(), base);
  UniqueFd root = open(top, "c1");
  EXPECT_EQ(contents(root.get(), "usr/lib/new"), "x");
  EXPECT_TRUE(S_ISLNK(sys::fstatat(root.get(), "lib")->st_mode));
  EXPECT_EQ(sys::fstatat(root.get(), "usr/lib")->st_mode & 07777, 0750u);
  EXPECT_EQ(sys::fstatat(root.get(), "usr")->st_mode & 07777, 0710u);
}

TEST_P(GraphDriverTest, LayersAreIngestedInAnyOrderAndPublishedOverTheirParents) {
  std::string base = Archive()
                         .directory("usr", 0710)
                         .directory("usr/lib", 0750)
                         .file("usr/lib/old", "1")
                         .directory("etc", 0700)
                         .directory("opt", 0700)
                         .add(tar::Type::symlink, "lib", "usr/lib")
                         .done();
  std::string middle = Archive()
                           .file("etc/x", "2")
                           .directory("opt", 0711)
                           .file("opt/y", "3")
                           .file("new/z", "4")
                           .done();
  std::string top = Archive().file("lib/through", "5").file("lib/.wh.old", "").done();
  struct Part {
    const std::string* tar;
    LayerSpec spec;
  };
  Digest one = Digest::of("one");
  Digest two = Digest::of("two");
  Digest three = Digest::of("three");
  Part parts[] = {{&top, {three, {}, two, new_layer_directory()}},
                  {&middle, {two, {}, one, new_layer_directory()}},
                  {&base, {one, {}, {}, new_layer_directory()}}};
  std::vector<std::thread> threads;
  for (Part& part : parts)
    threads.emplace_back([&] {
      MemorySource source(*part.tar);
      Result<IngestedLayer> ingested = driver_->ingest(part.spec.directory, source);
      EXPECT_TRUE(ingested) << ingested.error().message();
    });
  for (std::thread& thread : threads) thread.join();
  for (const Part& part : parts) EXPECT_FALSE(driver_->layer(part.spec.chain_id));
  auto publish = [&](const LayerSpec& spec) {
    return driver_->publish({spec.chain_id, spec.diff_id, spec.parent, spec.directory});
  };
  EXPECT_EQ(publish({two, {}, Digest::of("nothing"), parts[1].spec.directory}).error().kind(),
            ErrorKind::not_found);
  for (size_t i = 3; i-- > 0;) {
    Result<LayerInfo> info = publish(parts[i].spec);
    ASSERT_TRUE(info) << info.error().message();
    EXPECT_EQ(info->parent, parts[i].spec.parent);
    EXPECT_EQ(info->size, i == 0 ? 1u : i == 1 ? 3u : 1u);
  }
  UniqueFd root = open(three, "c1");
  EXPECT_EQ(contents(root.get(), "usr/lib/through"), "5");
  EXPECT_FALSE(there(root.get(), "usr/lib/old"));
  EXPECT_TRUE(S_ISLNK(sys::fstatat(root.get(), "lib")->st_mode));
  EXPECT_EQ(contents(root.get(), "etc/x"), "2");
  EXPECT_EQ(sys::fstatat(root.get(), "usr/lib")->st_mode & 07777, 0750u);
  EXPECT_EQ(sys::fstatat(root.get(), "etc")->st_mode & 07777, 0700u) << "left out: as below";
  EXPECT_EQ(sys::fstatat(root.get(), "etc")->st_mtim.tv_sec, 1'000'000'000);
  EXPECT_EQ(sys::fstatat(root.get(), "opt")->st_mode & 07777, 0711u) << "a member says how";
  EXPECT_EQ(sys::fstatat(root.get(), "new")->st_mode & 07777, 0755u);
  for (const Part& part : parts) {
    std::unique_ptr<ByteSource> again = driver_->read_layer(part.spec.chain_id).release();
    EXPECT_EQ(read_all(*again, 1 << 20).value(), *part.tar);
  }
}

TEST_P(GraphDriverTest, NothingOutsideIsTouchedByAHostileArchive) {
  struct Case {
    const char* what;
    std::string tar;
    const char* message;
  };
  tar::Entry steering;
  steering.path = "x";
  steering.type = tar::Type::directory;
  steering.xattrs = {{"trusted.overlay.redirect", "/etc"}};
  tar::Entry whiteout;
  whiteout.path = "x";
  whiteout.type = tar::Type::char_device;
  const Case cases[] = {
      {"dot-dot", Archive().file("../../escape", "x").done(), "leads outside"},
      {"dot-dot inside", Archive().file("a/../../escape", "x").done(), "leads outside"},
      {"hard link out", Archive().add(tar::Type::hardlink, "x", "../../../etc/passwd").done(),
       "outside of the layer"},
      {"hard link through a link",
       Archive()
           .add(tar::Type::symlink, "l", "/etc")
           .add(tar::Type::hardlink, "x", "l/passwd")
           .done(),
       "hard link to"},
      {"redirect", Archive().add(steering).done(), "trusted.overlay.redirect is not allowed"},
      {"0/0 device", Archive().add(whiteout).done(), "device 0/0"},
      {"whiteout of ..", Archive().file(".wh...", "").done(), "whiteout of nothing"},
      {"whiteout of .", Archive().file("a/.wh..", "").done(), "whiteout of nothing"},
      {"whiteout as directory", Archive().file(".wh.a/b", "").done(), "not a directory"},
      {"file as directory", Archive().file("f", "").file("f/g", "").done(), "not a directory"},
      {"loop", Archive().add(tar::Type::symlink, "l", "l").file("l/x", "").done(), "levels"},
  };
  for (const Case& test : cases) {
    Result<LayerInfo> info = apply(test.tar);
    ASSERT_FALSE(info) << test.what;
    EXPECT_NE(info.error().message().find(test.message), std::string::npos)
        << test.what << ": " << info.error().message();
    EXPECT_NE(info.error().message().find("layer member \""), std::string::npos) << test.what;
    EXPECT_FALSE(driver_->layer(Digest::of(test.tar))) << test.what;
  }
  // Links that lead out as the host would read them lead nowhere but inside.
  std::string tar = Archive()
                        .add(tar::Type::symlink, "out", "../../../../../../../../tmp")
                        .add(tar::Type::symlink, "abs", root_)
                        .file("out/gantry-canary", "x")
                        .file("abs/gantry-canary", "x")
                        .done();
  UniqueFd root = open(layer(tar), "c1");
  EXPECT_FALSE(fs::exists("/tmp/gantry-canary"));
  EXPECT_FALSE(fs::exists(root_ + "/gantry-canary"));
  EXPECT_EQ(contents(root.get(), "tmp/gantry-canary"), "x");
}

TEST_P(GraphDriverTest, AnArchiveIsGivenBackByteForByte) {
  std::string big(300'000, 'z');
  std::string tar = Archive()
                        .file("f", "first, replaced later")
                        .directory("d")
                        .file("d/x", "gone with its directory")
                        .file("big", big)
                        .file("f", "second")
                        .file("d", "a file now")
                        .file("empty", "")
                        .done();
  tar += std::string(10240, '\0');  // padding as GNU tar makes it
  Digest chain = layer(tar);
  std::unique_ptr<ByteSource> source = driver_->read_layer(chain).release();
  Result<std::string> again = read_all(*source, 1 << 20);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(*again, tar);
  UniqueFd root = open(chain, "c1");
  EXPECT_EQ(contents(root.get(), "f"), "second");
  EXPECT_EQ(contents(root.get(), "d"), "a file now");
}

TEST_P(GraphDriverTest, ALayerIsAbsentWhenItsContentsWereRefused) {
  std::string tar = Archive().file("a", "1").done();
  MemorySource source(tar);
  LayerSpec spec{Digest::of("x"), {}, {}, new_layer_directory(), [] {
                   return Status(invalid("wrong diff id"));
                 }};
  Result<LayerInfo> info = driver_->apply(spec, source);
  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().message(), "wrong diff id");
  EXPECT_FALSE(driver_->layer(spec.chain_id));
  ASSERT_TRUE(driver_->remove_layer(spec.directory));
  ASSERT_TRUE(driver_->directories().empty_trash(spec.directory));
  EXPECT_TRUE(driver_->directories().all_layers()->empty());
  std::string cut = tar.substr(0, 700);
  EXPECT_NE(apply(cut).error().message().find("unexpected end of archive"), std::string::npos);
}

TEST_P(GraphDriverTest, AnOldGenerationOfALayerIsRemovedWithoutTheNewOne) {
  std::string tar = Archive().file("a", "1").done();
  LayerInfo old = apply(tar).release();
  LayerInfo fresh = apply(tar).release();
  EXPECT_NE(old.directory, fresh.directory);
  ASSERT_TRUE(driver_->remove_layer(old.directory));
  ASSERT_TRUE(driver_->remove_layer(old.directory)) << "twice is success";
  UniqueFd root = open(fresh.chain_id, "c1");
  EXPECT_EQ(contents(root.get(), "a"), "1");
  ASSERT_TRUE(driver_->remove_layer(fresh.directory));
  EXPECT_EQ(driver_->layer(fresh.chain_id).error().kind(), ErrorKind::not_found);
}

TEST_P(GraphDriverTest, DiffTellsWhatAContainerChanged) {
  Digest image = layer(Archive()
                           .directory("etc")
                           .file("etc/a", "1")
                           .file("etc/b", "2")
                           .directory("d")
                           .file("d/x", "3")
                           .done());
  RootfsSource source = driver_->create_container({"c1", image}).release();
  EXPECT_EQ(changes("c1"), std::vector<std::string>{});
  {
    UniqueFd root = source.type == "bind"
                        ? sys::open(source.source, O_RDONLY | O_DIRECTORY).release()
                        : mount_overlay(source).release();
    ASSERT_TRUE(sys::unlinkat(root.get(), "etc/a"));
    ASSERT_TRUE(fs::replace_file_at(root.get(), "new", "123456"));
    UniqueFd x = sys::openat(root.get(), "d/x", O_WRONLY | O_APPEND).release();
    ASSERT_TRUE(sys::write_all(x.get(), "more"));
  }
  EXPECT_EQ(changes("c1"), (std::vector<std::string>{"C /d/x", "C /etc", "D /etc/a", "A /new"}));
  EXPECT_EQ(diff_size(*driver_, "c1").value(), 5u + 6u);
  StringSink sink;
  ASSERT_TRUE(write_diff(*driver_, "c1", sink));
  Digest committed = layer(sink.bytes(), image);
  UniqueFd root = open(committed, "c2");
  EXPECT_FALSE(there(root.get(), "etc/a"));
  EXPECT_EQ(contents(root.get(), "new"), "123456");
  EXPECT_EQ(contents(root.get(), "d/x"), "3more");
  EXPECT_EQ(contents(root.get(), "etc/b"), "2");
}

TEST_P(GraphDriverTest, AContainerLayerIsMadeMountedAgainAndRemoved) {
  Digest image = layer(Archive().directory(".", 0700).file("a", "1").done());
  ContainerSpec spec{"c1", image, ContainerLifetime::ephemeral};
  RootfsSource source = driver_->create_container(spec).release();
  EXPECT_EQ(driver_->create_container(spec).error().kind(), ErrorKind::conflict);
  for (int i = 0; i < 2; ++i) {
    if (source.type == "overlay") {
      Result<UniqueFd> mounted = mount_overlay(source);
      ASSERT_TRUE(mounted) << mounted.error().message();
      EXPECT_EQ(sys::fstat(mounted->get())->st_mode & 07777, 0700u);
    }
    source = driver_->recipe("c1").release();
  }
  ASSERT_TRUE(driver_->remove_container("c1"));
  ASSERT_TRUE(driver_->remove_container("c1"));
  EXPECT_EQ(driver_->recipe("c1").error().kind(), ErrorKind::not_found);
  EXPECT_TRUE(driver_->directories().container_exists("c1")) << "in the trash until deleted";
  ASSERT_TRUE(driver_->directories().empty_trash("c1"));
  EXPECT_FALSE(driver_->directories().container_exists("c1"));
  EXPECT_FALSE(driver_->create_container({"../x", image}));
}

TEST_P(GraphDriverTest, SurvivesReopening) {
  Digest image = layer(Archive().file("a", "1").done());
  std::string id = "c1";
  ASSERT_TRUE(driver_->create_container({id, image}));
  driver_ = open_graph_driver(GetParam(), root_ + "/data").release();
  EXPECT_EQ(driver_->layer(image)->size, 1u);
  Result<RootfsSource> source = driver_->recipe(id);
  ASSERT_TRUE(source);
  UniqueFd root = open_rootfs(*source).release();
  EXPECT_EQ(contents(root.get(), "a"), "1");
}

INSTANTIATE_TEST_SUITE_P(Drivers, GraphDriverTest, testing::Values("erofs", "overlay2", "vfs"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace gantry::drivers

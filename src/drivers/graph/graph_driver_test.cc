// The conformance suite: what every graph driver must do. Runs as root.
#include "drivers/graph/graph_driver.h"

#include <sys/sysmacros.h>

#include <thread>

#include "base/overlay_mount.h"

#include "drivers/graph/driver_fixture.h"

namespace gantry::drivers {
namespace {

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
  EXPECT_EQ(changes("c1"),
            (std::vector<std::string>{"C /d", "C /d/x", "C /etc", "D /etc/a", "A /new"}));
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

TEST_P(GraphDriverTest, AStackMayHave130Layers) {
  Digest parent;
  for (int i = 0; i < 130; ++i)
    parent = layer(Archive()
                       .file(fmt::format("d/{:03}", i), std::to_string(i))
                       .file("last", std::to_string(i))
                       .done(),
                   parent);
  UniqueFd root = open(parent, "c1");
  EXPECT_EQ(contents(root.get(), "last"), "129");
  for (int i = 0; i < 130; ++i)
    EXPECT_EQ(contents(root.get(), fmt::format("d/{:03}", i)), std::to_string(i));
  EXPECT_EQ(fs::list_directory(sys::openat(root.get(), "d", O_RDONLY).release().get())->size(),
            130u);
  EXPECT_EQ(changes("c1"), std::vector<std::string>{});
}

TEST_P(GraphDriverTest, ADirectoryMayHaveManyNamesInAnyOrder) {
  Archive archive;
  constexpr int kNames = 2003;
  auto name = [](int i) {
    // Lengths up to the longest, prefixes of each other, bytes before and behind "." and "/".
    std::string text = fmt::format("{:x}", i * 2654435761u);
    return text + std::string(static_cast<size_t>(i) % 241, "!.~\xff"[i % 4]);
  };
  for (int i = 0; i < kNames; ++i) archive.file("many/" + name(i), std::to_string(i));
  UniqueFd root = open(layer(archive.done()), "c1");
  UniqueFd many = sys::openat(root.get(), "many", O_RDONLY | O_DIRECTORY).release();
  EXPECT_EQ(fs::list_directory(many.get())->size(), static_cast<size_t>(kNames));
  for (int i = 0; i < kNames; ++i) ASSERT_EQ(contents(many.get(), name(i)), std::to_string(i));
  EXPECT_FALSE(there(many.get(), "x"));
  EXPECT_FALSE(there(many.get(), std::string(255, 'y')));
}

TEST_P(GraphDriverTest, NamesAndLinksAsLongAsTheKernelTakesThem) {
  std::string name(255, 'n');
  std::string deep;
  for (int i = 0; i < 40; ++i) deep += (i ? "/" : "") + std::string(90, 'd');
  std::string target(4095, 't');
  std::string half(450, 'h');
  UniqueFd root = open(layer(Archive()
                                 .file(name, "1")
                                 .file(deep + "/f", "2")
                                 .add(tar::Type::symlink, "long", target)
                                 .add(tar::Type::symlink, "half", half)
                                 .add(tar::Type::symlink, "short", "s")
                                 .done()),
                       "c1");
  EXPECT_EQ(contents(root.get(), name), "1");
  EXPECT_EQ(contents(root.get(), deep + "/f"), "2");
  EXPECT_EQ(sys::readlinkat(root.get(), "long").value(), target);
  EXPECT_EQ(sys::readlinkat(root.get(), "half").value(), half);
  EXPECT_EQ(sys::readlinkat(root.get(), "short").value(), "s");
  for (const std::string& tar : {Archive().file(std::string(256, 'n'), "").done(),
                                 Archive().file(std::string(64 << 10, 'n'), "").done(),
                                 Archive().add(tar::Type::symlink, "l", target + "t").done(),
                                 Archive().file("a/" + deep + "/" + deep + "/f", "").done()}) {
    Result<LayerInfo> info = apply(tar);
    ASSERT_FALSE(info);
    EXPECT_NE(info.error().message().find("layer member \""), std::string::npos)
        << info.error().message();
    EXPECT_LT(info.error().message().size(), 6000u);
  }
}

TEST_P(GraphDriverTest, AttributesOfEveryKindArriveAndTheLastMemberSaysWhichStay) {
  std::string capability("\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  std::string acl(
      "\2\0\0\0\1\0\6\0\xff\xff\xff\xff\2\0\4\0\5\0\0\0\4\0\4\0\xff\xff\xff\xff"
      "\x10\0\4\0\xff\xff\xff\xff\x20\0\4\0\xff\xff\xff\xff",
      44);
  tar::Entry file;
  file.path = "f";
  file.mode = 0644;
  file.xattrs = {{"security.capability", capability},
                 {"trusted.x", "y"},
                 {"system.posix_acl_access", acl},
                 {"user.long", std::string(1500, 'v')}};
  tar::Entry directory;
  directory.path = "d";
  directory.type = tar::Type::directory;
  directory.mode = 0755;
  directory.xattrs = {{"user.first", "1"}};
  tar::Entry again = directory;
  again.xattrs = {{"user.second", "2"}};
  Digest base = layer(Archive().add(file).add(directory).add(again).done());
  tar::Entry above = directory;
  above.xattrs = {{"user.third", "3"}};
  UniqueFd root = open(layer(Archive().add(above).file("d/x", "").done(), base), "c1");
  auto value = [&](const std::string& path, const char* name) -> std::string {
    UniqueFd fd = sys::openat(root.get(), path, O_RDONLY).release();
    char buffer[4096];
    ssize_t size = ::fgetxattr(fd.get(), name, buffer, sizeof buffer);
    return size < 0 ? "(" + std::to_string(errno) + ")" : std::string(buffer, size);
  };
  EXPECT_EQ(value("f", "security.capability"), capability);
  EXPECT_EQ(value("f", "trusted.x"), "y");
  EXPECT_EQ(value("f", "system.posix_acl_access"), acl);
  EXPECT_EQ(value("f", "user.long"), std::string(1500, 'v'));
  EXPECT_EQ(value("d", "user.third"), "3");
  EXPECT_EQ(value("d", "user.second"), "(61)");
  EXPECT_EQ(value("d", "user.first"), "(61)");
  UniqueFd below = open(base, "c2");
  UniqueFd d = sys::openat(below.get(), "d", O_RDONLY).release();
  char buffer[8];
  EXPECT_EQ(::fgetxattr(d.get(), "user.second", buffer, sizeof buffer), 1);
  EXPECT_EQ(::fgetxattr(d.get(), "user.first", buffer, sizeof buffer), -1);
}

TEST_P(GraphDriverTest, AnEmptyLayerAndAnEmptyImageAreFileSystems) {
  Digest empty = layer(Archive().done());
  EXPECT_TRUE(there(open(empty, "c1").get(), "proc"));
  EXPECT_TRUE(there(open({}, "c2").get(), "proc"));
  Digest above = layer(Archive().file("a", "1").done(), empty);
  EXPECT_EQ(contents(open(above, "c3").get(), "a"), "1");
}

TEST_P(GraphDriverTest, AContainerIsHeldToItsSizeOrTheLimitIsRefusedWithTheReason) {
  ContainerSpec spec;
  spec.id = "small";
  spec.image = layer(Archive().file("a", "1").done());
  spec.size_limit = 4 << 20;
  Result<RootfsSource> source = driver_->create_container(spec);
  if (!source) {
    EXPECT_EQ(source.error().kind(), ErrorKind::unsupported);
    EXPECT_TRUE(source.error().message().starts_with("--storage-opt size"))
        << source.error().message();
    ASSERT_TRUE(driver_->remove_container("small"));
    return;
  }
  UniqueFd root = mount_overlay(*source).release();
  UniqueFd file = sys::openat(root.get(), "big", O_WRONLY | O_CREAT, 0600).release();
  std::string megabyte(1 << 20, 'x');
  Status written;
  for (int i = 0; i < 8 && written; ++i) written = sys::write_all(file.get(), megabyte);
  ASSERT_FALSE(written);
  EXPECT_TRUE(written.error().code() == EDQUOT || written.error().code() == ENOSPC);
  ASSERT_TRUE(driver_->remove_container("small"));
}

TEST_P(GraphDriverTest, AStackIsMountedWhereverItsImagesAreAndHoweverTheKernelTakesThem) {
  Digest base = layer(Archive().file("a", "1").file("b", "2").done());
  Digest top = layer(Archive().file("b", "3").done(), base);
  RootfsSource source = driver_->create_container({"c1", top}).release();
  if (source.images.empty()) return;
  auto looks_right = [&](const RootfsSource& recipe) {
    Result<UniqueFd> fd = open_rootfs(recipe);
    ASSERT_TRUE(fd) << fd.error().message();
    EXPECT_EQ(contents(fd->get(), "a"), "1");
    EXPECT_EQ(contents(fd->get(), "b"), "3");
  };
  looks_right(source);
  // A mount that is gone, or somebody else's.
  RootfsSource stale = source;
  stale.images[0].mounted = "/proc/self/fd/100000";
  stale.images[1].mounted = source.images[0].mounted;
  looks_right(stale);
  // As for kernels that take no layer by descriptor.
  std::thread([&] {
    ASSERT_TRUE(sys::unshare(CLONE_FS | CLONE_NEWNS));
    ASSERT_TRUE(sys::mount("none", "/", "", MS_REC | MS_PRIVATE));
    Result<UniqueFd> mount = mount_overlay_attaching(source);
    ASSERT_TRUE(mount) << mount.error().message();
    EXPECT_EQ(contents(mount->get(), "b"), "3");
    EXPECT_TRUE(fs::exists(source.images[0].index)) << "nothing stays attached";
  }).join();
}

TEST_P(GraphDriverTest, WhatIsBesideTheArchiveIsChecked) {
  Digest chain = layer(Archive().file("a", "1").done());
  EXPECT_TRUE(driver_->check_layer(chain));
  EXPECT_EQ(driver_->check_layer(Digest::of("none")).error().kind(), ErrorKind::not_found);
  if (driver_->name() != "erofs") return;
  std::string directory = driver_->layer(chain)->directory;
  UniqueFd index = sys::openat(driver_->directories().fd(), directory + "/index", O_RDWR).release();
  ASSERT_TRUE(sys::pwrite_all(index.get(), "?", 1600));
  Status checked = driver_->check_layer(chain);
  ASSERT_FALSE(checked);
  EXPECT_NE(checked.error().message().find("its index has the digest"), std::string::npos);
}

TEST_P(GraphDriverTest, LayersOfOneDiffIdUnderDifferentParentsAreAllWhole) {
  std::string tar = Archive().file("x/y", "same").done();
  Digest diff_id = Digest::of(tar);
  Digest parents[] = {layer(Archive().directory("x", 0700).done()),
                      layer(Archive().directory("x", 0711).done()), Digest()};
  std::vector<LayerInfo> infos;
  for (const Digest& parent : parents) {
    MemorySource source(tar);
    LayerSpec spec{Digest::of(parent.text() + "+"), diff_id, parent, new_layer_directory()};
    infos.push_back(driver_->apply(spec, source).release());
  }
  const mode_t modes[] = {0700, 0711, 0755};
  for (size_t i = 0; i < 3; ++i) {
    UniqueFd root = open(infos[i].chain_id, "c" + std::to_string(i));
    EXPECT_EQ(sys::fstatat(root.get(), "x")->st_mode & 07777, modes[i]);
    EXPECT_EQ(contents(root.get(), "x/y"), "same");
  }
  auto tar_of = [&](size_t i) {
    return sys::fstatat(driver_->directories().fd(), infos[i].directory + "/tar");
  };
  if (driver_->name() == "erofs") {
    EXPECT_EQ(tar_of(0)->st_ino, tar_of(1)->st_ino) << "stored once";
    EXPECT_EQ(tar_of(0)->st_ino, tar_of(2)->st_ino);
  }
  ASSERT_TRUE(driver_->remove_layer(infos[2].directory));
  EXPECT_EQ(contents(open(infos[0].chain_id, "c9").get(), "x/y"), "same");
}

INSTANTIATE_TEST_SUITE_P(Drivers, GraphDriverTest, testing::Values("erofs", "overlay2", "vfs"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace gantry::drivers

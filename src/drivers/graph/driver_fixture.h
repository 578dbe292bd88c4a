// For tests: archives made by hand, and a driver on a data root of its own.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/xattr.h>

#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "base/tar.h"
#include "drivers/graph/graph_driver.h"
#include "drivers/graph/layer_directories.h"
#include "drivers/graph/rootfs_mount.h"
#include "drivers/graph/tree_diff.h"

namespace gantry::drivers {

class Archive {
 public:
  Archive& file(const std::string& path, const std::string& contents, mode_t mode = 0644) {
    tar::Entry entry;
    entry.path = path;
    entry.mode = mode;
    entry.size = contents.size();
    entry.mtime.tv_sec = 1'000'000'000;
    return file_of(entry, contents);
  }
  Archive& file_of(const tar::Entry& entry, const std::string& contents) {
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

}  // namespace gantry::drivers

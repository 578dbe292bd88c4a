// The image jobs with their events and messages, on a real engine. Runs as root.
#include "daemon/images.h"
#include "daemon/options.h"
#include "daemon/transfers.h"

#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/id.h"
#include "base/tar.h"
#include "daemon/events.h"
#include "daemon/image_jobs.h"
#include "engine/engine.h"
#include "graph/content_store.h"
#include "image/manifest.h"

namespace gantry::daemon {
namespace {

class ImagesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    root_ = "/tmp/gantry-images-" + random_hex(6);
    ASSERT_TRUE(fs::make_directories(root_ + "/archives", 0700));
    database_ = graph::Database::open(root_ + "/db").release();
    content_ = graph::ContentStore::open(root_ + "/content").release();
    driver_ = drivers::open_graph_driver("", root_ + "/data").release();
    engine_ = engine::Engine::create(*database_).release();
    ASSERT_TRUE(drivers::register_resource_kinds(engine_->resources(), driver_));
    images_ = Images::create(*engine_, *content_, driver_, events_, root_ + "/tmp").release();
  }
  void TearDown() override {
    if (engine_) engine_->shutdown(std::chrono::seconds(5));
    ASSERT_TRUE(fs::remove_tree(root_));
  }
  static std::string archive(const std::string& tag) {
    StringSink layer;
    tar::Writer layer_writer(layer);
    tar::Entry entry;
    entry.path = "hello";
    entry.mode = 0644;
    entry.size = 5;
    EXPECT_TRUE(layer_writer.add(entry, "world"));
    EXPECT_TRUE(layer_writer.finish());
    image::ImageConfig config;
    config.os = "linux";
    config.architecture = "amd64";
    config.rootfs = {"layers", {Digest::of(layer.bytes()).text()}};
    StringSink out;
    tar::Writer writer(out);
    auto add = [&](const std::string& path, const std::string& contents) {
      tar::Entry member;
      member.path = path;
      member.size = contents.size();
      EXPECT_TRUE(writer.add(member, contents));
    };
    add("c.json", json::dump(config));
    add("l.tar", layer.bytes());
    add("manifest.json", json::dump(std::vector<image::SavedImage>{{"c.json", {tag}, {"l.tar"}}}));
    EXPECT_TRUE(writer.finish());
    return out.bytes();
  }

  std::string root_;
  std::unique_ptr<graph::Database> database_;
  std::unique_ptr<graph::ContentStore> content_;
  std::shared_ptr<drivers::GraphDriver> driver_;
  std::unique_ptr<engine::Engine> engine_;
  Events events_;
  std::unique_ptr<Images> images_;
};

TEST_F(ImagesTest, LoadTellsNamesAndPublishesAnEvent) {
  std::string bytes = archive("hello:1");
  auto pipe = std::make_shared<BytePipe>();
  ASSERT_TRUE(pipe->write(bytes));
  pipe->finish();
  engine::SubmitOptions options;
  options.want_progress = true;
  auto job = engine_->submit<ImageLoad>({pipe}, options);
  engine::ProgressChannel progress = job->progress();
  ASSERT_TRUE(progress);
  std::optional<json::value> line = progress->pop();
  ASSERT_TRUE(line);
  EXPECT_EQ(json::serialize(*line), R"({"stream":"Loaded image: hello:1\n"})");
  EXPECT_FALSE(progress->pop());
  EXPECT_EQ(job->wait()->names, std::vector<std::string>{"hello:1"});
  ASSERT_TRUE(engine_->run<ImageTag>({"hello:1", "other", "2"}));
  EXPECT_EQ(engine_->run<ImageTag>({"hello:1", "Other", ""}).error().message(),
            "invalid reference format: repository name (library/Other) must be lowercase");
  ASSERT_TRUE(engine_->run<ImageRemove>({"other:2"}));
  auto removed = engine_->run<ImageRemove>({"hello:1"});
  ASSERT_TRUE(removed);
  EXPECT_EQ(removed->items.size(), 3u);
  EXPECT_EQ(engine_->run<ImageRemove>({"hello:1"}).error().message(), "No such image: hello:1");
  std::vector<std::string> actions;
  for (const Event& event : events_.past(EventFilter(), 0, INT64_MAX))
    actions.push_back(event.action);
  EXPECT_EQ(actions, (std::vector<std::string>{"load", "tag", "untag", "untag", "delete"}));
}

TEST_F(ImagesTest, ArchivesAreLoadedOnce) {
  ASSERT_TRUE(fs::write_file(root_ + "/archives/a.tar", archive("a:1")));
  ASSERT_TRUE(fs::write_file(root_ + "/archives/broken.tar", "x"));
  ASSERT_TRUE(fs::write_file(root_ + "/archives/readme.txt", "not an archive"));
  images_->load_archives({root_ + "/missing", root_ + "/archives"});
  EXPECT_TRUE(images_->store().find("a:1"));
  ASSERT_TRUE(engine_->run<ImageTag>({"a:1", "b", "1"}));
  ASSERT_TRUE(engine_->run<ImageRemove>({"a:1"}));
  images_->load_archives({root_ + "/archives"});
  EXPECT_FALSE(images_->store().find("a:1")) << "the image is here under the name the user wants";
}

TEST_F(ImagesTest, PullTellsWhatStoodInTheWay) {
  Options options;
  auto transfers = Transfers::create(*engine_, images_->store(), events_, options);
  ASSERT_TRUE(transfers) << transfers.error().message();
  Result<ImagePull::Output> pulled = engine_->run<ImagePull>({"nowhere.invalid/x"});
  ASSERT_FALSE(pulled);
  EXPECT_TRUE(
      pulled.error().message().starts_with("Get \"https://nowhere.invalid/v2/\": dial tcp: "
                                           "lookup nowhere.invalid: "))
      << pulled.error().message();
  Result<ImagePull::Output> refused = engine_->run<ImagePull>({"127.0.0.1:1/x"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(),
            "Get \"https://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused");
  EXPECT_EQ(engine_->run<ImagePull>({"Bad"}).error().kind(), ErrorKind::invalid);
}

}  // namespace
}  // namespace gantry::daemon

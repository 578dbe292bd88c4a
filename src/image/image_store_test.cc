// The store on a real graph, content store and driver, with jobs of a real engine. Runs as root.
#include "image/image_store.h"

#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/id.h"
#include "base/tar.h"
#include "drivers/graph/layer_directories.h"
#include "engine/engine.h"
#include "graph/content_store.h"
#include "graph/graph.h"
#include "image/manifest.h"

namespace gantry::image {
namespace {

// Any change of images as a job.
struct Change {
  static constexpr std::string_view kName = "test.change";
  struct Input {
    std::function<Status(engine::JobContext&)> body;
  };
  using Output = bool;
};

struct TarFile {
  std::string path;
  std::string contents;
};
std::string tar_of(const std::vector<TarFile>& files) {
  StringSink sink;
  tar::Writer writer(sink);
  for (const TarFile& file : files) {
    tar::Entry entry;
    entry.path = file.path;
    entry.mode = 0644;
    entry.size = file.contents.size();
    EXPECT_TRUE(writer.add(entry, file.contents));
  }
  EXPECT_TRUE(writer.finish());
  return sink.bytes();
}

std::string config_of(const std::vector<std::string>& layers, const std::string& created,
                      const std::string& label = "") {
  ImageConfig config;
  config.os = "linux";
  config.architecture = "amd64";
  config.created = created;
  config.config.cmd = std::vector<std::string>{"sh"};
  if (!label.empty()) config.config.labels["who"] = label;
  config.rootfs.type = "layers";
  for (const std::string& layer : layers) {
    config.rootfs.diff_ids.push_back(Digest::of(layer).text());
    HistoryEntry entry;
    entry.created_by = "step";
    config.history.push_back(entry);
  }
  return json::dump(config);
}

std::string docker_archive(const std::string& config, const std::vector<std::string>& layers,
                           const std::vector<std::string>& tags) {
  std::vector<TarFile> files = {{"config.json", config}};
  SavedImage image{"config.json", tags, {}};
  for (size_t i = 0; i < layers.size(); ++i) {
    image.layers.push_back(fmt::format("{}/layer.tar", i));
    files.push_back({image.layers.back(), layers[i]});
  }
  files.push_back({"manifest.json", json::dump(std::vector<SavedImage>{image})});
  return tar_of(files);
}

class ImageStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    root_ = "/tmp/gantry-image-" + random_hex(6);
    ASSERT_TRUE(fs::make_directories(root_ + "/tmp", 0700));
    database_ = graph::Database::open(root_ + "/db").release();
    content_ = graph::ContentStore::open(root_ + "/content").release();
    driver_ = drivers::open_graph_driver("", root_ + "/data").release();
    engine_ = engine::Engine::create(*database_).release();
    ASSERT_TRUE(drivers::register_resource_kinds(engine_->resources(), driver_));
    ASSERT_TRUE(register_resource_kinds(engine_->resources(), *content_));
    store_ = ImageStore::open(*database_, *content_, driver_, root_ + "/tmp").release();
    engine_->add<Change>([](engine::JobContext& job, Change::Input input) -> Result<bool> {
      TRY(input.body(job));
      return true;
    });
  }
  void TearDown() override {
    if (engine_) engine_->shutdown(std::chrono::seconds(5));
    ASSERT_TRUE(fs::remove_tree(root_));
  }

  Status change(std::function<Status(engine::JobContext&)> body) {
    Result<bool> done = engine_->run<Change>({std::move(body)});
    if (done) return {};
    last_error_ = done.error().message();
    return std::move(done).error();
  }
  Status load(const std::string& archive) {
    return change([&](engine::JobContext& job) -> Status {
      MemorySource source(archive);
      said_.clear();
      loaded_ = TRY(store_->load(job, source, [&](json::object line) {
        said_ += json::from_value<std::string>(line.at("stream")).value_or("");
      }));
      return {};
    });
  }
  Result<std::vector<RemovedItem>> remove(const std::string& name, Force force = Force::no) {
    std::vector<RemovedItem> items;
    TRY(change([&](engine::JobContext& job) -> Status {
      items = TRY(store_->remove(job, name, RemoveOptions{force}));
      return {};
    }));
    return items;
  }
  Status tag(const std::string& source, const std::string& repository,
             const std::string& tag = "") {
    return change([&](engine::JobContext& job) -> Status {
      TRY(store_->tag(job, source, repository, tag));
      return {};
    });
  }
  // "U:name" and "D:12 digits".
  static std::vector<std::string> words(const std::vector<RemovedItem>& items) {
    std::vector<std::string> out;
    for (const RemovedItem& item : items)
      out.push_back(item.untagged.empty() ? "D:" + item.deleted : "U:" + item.untagged);
    return out;
  }
  void expect_nothing_left() {
    EXPECT_TRUE(engine_->drain_releases(std::chrono::seconds(10)));
    EXPECT_EQ(driver_->directories().all_layers()->size(), 0u);
    EXPECT_EQ(content_->list()->size(), 0u);
    EXPECT_EQ(engine_->resources().list()->size(), 0u);
    EXPECT_EQ(fs::list_directory(root_ + "/data/trash")->size(), 0u);
  }
  std::string add_container(const std::string& image) {
    std::string id = new_id();
    graph::Graph graph(*database_);
    EXPECT_TRUE(database_->write([&](graph::Transaction& tx) -> Status {
      graph::Node node;
      node.kind = graph::NodeKind::container;
      node.key = id;
      graph::NodeId container = TRY(graph.insert(tx, node));
      graph::Node target = TRY(graph.read(tx).get(graph::NodeKind::image, image));
      return graph.link(tx, container, graph::EdgeKind::uses, target.id);
    }));
    return id;
  }

  std::string root_;
  std::unique_ptr<graph::Database> database_;
  std::unique_ptr<graph::ContentStore> content_;
  std::shared_ptr<drivers::GraphDriver> driver_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<ImageStore> store_;
  std::vector<LoadedImage> loaded_;
  std::string said_;
  std::string last_error_;

  const std::string base_ = tar_of({{"a", "1"}, {"b", "22"}});
  const std::string top_ = tar_of({{"c", "333"}});
  const std::string config_ = config_of({base_, top_}, "2024-01-02T03:04:05Z", "me");
};

TEST_F(ImageStoreTest, LoadsWhatDockerSaved) {
  ASSERT_TRUE(load(docker_archive(config_, {base_, top_}, {"busybox:latest", "other:1"})))
      << last_error_;
  EXPECT_EQ(said_, "Loaded image: busybox:latest\nLoaded image: other:1\n");
  Image image = store_->find("busybox").release();
  EXPECT_EQ(image.id, Digest::of(config_));
  EXPECT_EQ(image.name, "busybox:latest");
  EXPECT_EQ(image.size, 6);
  EXPECT_EQ(image.config.config.cmd->at(0), "sh");
  EXPECT_EQ(image.top_layer, chain_ids(image.config.rootfs.diff_ids)->back());
  EXPECT_TRUE(driver_->layer(image.top_layer));
  for (const std::string& name : {image.id.text(), image.id.hex(), image.id.hex().substr(0, 12),
                                  std::string("docker.io/library/other:1")})
    EXPECT_EQ(store_->find(name)->id, image.id) << name;
  EXPECT_EQ(store_->find("nope").error().message(), "No such image: nope:latest");
  EXPECT_EQ(store_->find("No").error().kind(), ErrorKind::invalid);

  std::vector<ImageSummary> list = store_->list({}).release();
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].repo_tags, (std::vector<std::string>{"busybox:latest", "other:1"}));
  EXPECT_EQ(list[0].created, 1704164645);
  ImageInspect inspect = store_->inspect("busybox").release();
  EXPECT_EQ(inspect.root_fs.layers.size(), 2u);
  EXPECT_EQ(inspect.size, 6);
  std::vector<HistoryItem> history = store_->history("busybox").release();
  ASSERT_EQ(history.size(), 2u);
  EXPECT_EQ(history[0].id, image.id.text());
  EXPECT_EQ(history[0].size, 3);
  EXPECT_EQ(history[1].id, "<missing>");

  // Again: nothing new, and nothing is unpacked twice.
  ASSERT_TRUE(load(docker_archive(config_, {base_, top_}, {"busybox:latest"}))) << last_error_;
  EXPECT_EQ(driver_->directories().all_layers()->size(), 2u);
  EXPECT_EQ(store_->count().value(), 1);
}

TEST_F(ImageStoreTest, AnImageIsWholeOrAbsent) {
  std::string wrong = docker_archive(config_, {base_, tar_of({{"c", "444"}})}, {"x:1"});
  Status loaded = load(wrong);
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().message().find("wrong diff id"), std::string::npos)
      << loaded.error().message();
  EXPECT_EQ(store_->count().value(), 0);
  EXPECT_FALSE(load("not an archive at all, but long enough to be read as one"));
  EXPECT_FALSE(load(tar_of({{"hello", "x"}})));
  std::string whole = docker_archive(config_, {base_, top_}, {"x:1"});
  EXPECT_FALSE(load(whole.substr(0, whole.size() / 2)));
  EXPECT_FALSE(load(docker_archive(config_, {base_}, {"x:1"})));
  EXPECT_FALSE(load(docker_archive(config_, {base_, top_}, {"X:1"})));
  EXPECT_FALSE(load(tar_of({{"manifest.json", "{}"}})));
  EXPECT_FALSE(load(tar_of({{"manifest.json", R"([{"Config":"../../etc/passwd","Layers":[]}])"}})));
  expect_nothing_left();
}

TEST_F(ImageStoreTest, RefusesAManifestThatIsTwoThings) {
  EXPECT_TRUE(Manifest::parse(R"({"schemaVersion":2,"manifests":[]})"));
  for (
      const char* text :
      {R"({"schemaVersion":2,"manifests":[],"layers":[],"config":{"digest":"d","size":1}})",
       R"({"schemaVersion":2,"manifests":[],"mediaType":"application/vnd.oci.image.manifest.v1+json"})",
       R"({"schemaVersion":2})", R"({"schemaVersion":1,"manifests":[]})",
       R"({"schemaVersion":2,"layers":[]})", R"([])"})
    EXPECT_FALSE(Manifest::parse(text)) << text;
}

TEST_F(ImageStoreTest, WhatIsSavedLoadsAgainAsTheSameImage) {
  ASSERT_TRUE(load(docker_archive(config_, {base_, top_}, {"busybox:latest"}))) << last_error_;
  StringSink first;
  Status saved = store_->save({"busybox"}, first);
  ASSERT_TRUE(saved) << saved.error().message();
  ASSERT_TRUE(remove("busybox"));
  expect_nothing_left();
  ASSERT_TRUE(load(first.bytes())) << last_error_;
  EXPECT_EQ(store_->find("busybox")->id, Digest::of(config_));
  StringSink second;
  ASSERT_TRUE(store_->save({"busybox"}, second));
  EXPECT_EQ(first.bytes(), second.bytes());
  EXPECT_FALSE(store_->save({"nope"}, second));

  // The same archive read as an OCI layout.
  MemorySource source(first.bytes());
  tar::Reader reader(source);
  std::vector<TarFile> files;
  for (;;) {
    std::optional<tar::Entry> entry = reader.next().release();
    if (!entry) break;
    std::string contents;
    for (;;) {
      std::string_view piece = reader.payload().release();
      if (piece.empty()) break;
      contents += piece;
    }
    if (entry->type == tar::Type::regular && entry->path != "manifest.json")
      files.push_back({entry->path, contents});
  }
  ASSERT_TRUE(remove("busybox"));
  Status loaded = load(tar_of(files));
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_EQ(said_, "Loaded image: busybox:latest\n");
  EXPECT_EQ(store_->find("busybox:latest")->id, Digest::of(config_));
}

TEST_F(ImageStoreTest, RemovesByDockersRules) {
  ASSERT_TRUE(load(docker_archive(config_, {base_, top_}, {"a:1"}))) << last_error_;
  std::string small = config_of({base_}, "2024-01-01T00:00:00Z");
  ASSERT_TRUE(load(docker_archive(small, {base_}, {"small:1"}))) << last_error_;
  std::string id = Digest::of(config_).text();
  ASSERT_TRUE(tag("a:1", "b"));
  EXPECT_EQ(words(remove("b").release()), std::vector<std::string>{"U:b:latest"});
  ASSERT_TRUE(tag("a:1", "b", "2"));
  EXPECT_EQ(remove(id).error().message(),
            "conflict: unable to delete " + id.substr(7, 12) +
                " (must be forced) - image is referenced in multiple repositories");
  std::string container = add_container(id);
  ASSERT_TRUE(remove("b:2"));
  EXPECT_EQ(remove("a:1").error().message(),
            "conflict: unable to remove repository reference \"a:1\" (must force) - container " +
                container.substr(0, 12) + " is using its referenced image " + id.substr(7, 12));
  EXPECT_EQ(remove(id.substr(7, 12)).error().message(),
            "conflict: unable to delete " + id.substr(7, 12) +
                " (must be forced) - image is being used by stopped container " +
                container.substr(0, 12));
  // By force the container keeps the layers.
  EXPECT_EQ(words(remove("a:1", Force::yes).release()),
            (std::vector<std::string>{"U:a:1", "D:" + id}));
  EXPECT_EQ(driver_->directories().all_layers()->size(), 2u);
  EXPECT_EQ(store_->find(id).error().kind(), ErrorKind::not_found);
  // Loading again takes the layers that are still here.
  ASSERT_TRUE(load(docker_archive(config_, {base_, top_}, {"a:1"}))) << last_error_;
  EXPECT_EQ(driver_->directories().all_layers()->size(), 2u);
}

TEST_F(ImageStoreTest, SharedLayersStayUntilTheLastImageGoes) {
  std::string small = config_of({base_}, "2024-01-01T00:00:00Z");
  ASSERT_TRUE(load(docker_archive(config_, {base_, top_}, {"big:1"}))) << last_error_;
  ASSERT_TRUE(load(docker_archive(small, {base_}, {"small:1"}))) << last_error_;
  std::vector<Digest> chain =
      chain_ids({Digest::of(base_).text(), Digest::of(top_).text()}).release();
  EXPECT_EQ(words(remove("big:1").release()),
            (std::vector<std::string>{"U:big:1", "D:" + Digest::of(config_).text(),
                                      "D:" + chain[1].text()}));
  EXPECT_EQ(words(remove("small:1").release()).back(), "D:" + chain[0].text());
  EXPECT_EQ(store_->count().value(), 0);
  expect_nothing_left();
}

TEST_F(ImageStoreTest, ATagMovesAndLeavesADanglingImageThatPruneTakes) {
  std::string small = config_of({base_}, "2024-01-01T00:00:00Z");
  ASSERT_TRUE(load(docker_archive(config_, {base_, top_}, {"a:1"}))) << last_error_;
  ASSERT_TRUE(load(docker_archive(small, {base_}, {"a:1"}))) << last_error_;
  EXPECT_EQ(store_->find("a:1")->id, Digest::of(small));
  ListOptions dangling;
  dangling.filters["dangling"] = {"true"};
  ASSERT_EQ(store_->list(dangling)->size(), 1u);
  EXPECT_EQ(store_->list(dangling)->at(0).id, Digest::of(config_).text());
  ListOptions labelled;
  labelled.filters["label"] = {"who=me"};
  EXPECT_EQ(store_->list(labelled)->size(), 1u);
  ListOptions by_name;
  by_name.filters["reference"] = {"a*"};
  EXPECT_EQ(store_->list(by_name)->size(), 1u);
  ListOptions before;
  before.filters["before"] = {Digest::of(config_).text()};
  ASSERT_EQ(store_->list(before)->size(), 1u);
  EXPECT_EQ(store_->list(before)->at(0).id, Digest::of(small).text());
  ListOptions bad;
  bad.filters["color"] = {"blue"};
  EXPECT_EQ(store_->list(bad).error().message(), "invalid filter 'color'");
  PruneReport report;
  ASSERT_TRUE(change([&](engine::JobContext& job) -> Status {
    report = TRY(store_->prune(job, {}));
    return {};
  }));
  EXPECT_EQ(report.images_deleted.size(), 2u);
  EXPECT_EQ(report.space_reclaimed, 3);
  EXPECT_EQ(store_->count().value(), 1);
}

TEST_F(ImageStoreTest, TheReconcilerKeepsImagesAndDropsWhatNobodyKnows) {
  ASSERT_TRUE(load(docker_archive(config_, {base_, top_}, {"a:1"}))) << last_error_;
  engine::ReconcileReport report = engine_->reconcile(engine::ReconcileMode::repair).release();
  for (const engine::Finding& finding : report.findings)
    ADD_FAILURE() << engine::to_string(finding.what) << " " << finding.kind << " " << finding.name
                  << " " << finding.detail;
  // What a crash before the closing transaction, or a power cut that lost rows, leaves.
  ASSERT_TRUE(driver_->directories().make(drivers::new_layer_directory()));
  ASSERT_TRUE(driver_->create_container({new_id(), {}}));
  ASSERT_TRUE(content_->put("nobody's"));
  report = engine_->reconcile(engine::ReconcileMode::repair).release();
  EXPECT_EQ(report.findings.size(), 3u);
  ASSERT_TRUE(engine_->drain_releases(std::chrono::seconds(10)));
  EXPECT_EQ(driver_->directories().all_layers()->size(), 2u);
  EXPECT_EQ(driver_->directories().all_containers()->size(), 0u);
  EXPECT_EQ(content_->list()->size(), 1u);
  ASSERT_TRUE(remove("a:1"));
  expect_nothing_left();
}

TEST_F(ImageStoreTest, ImportsARootTarball) {
  Digest id;
  ImportOptions options;
  options.repository = "mine";
  options.source = "-";
  options.changes = {"CMD [\"/bin/x\"]", "ENV A=1 B=\"two words\"", "label k=v", "EXPOSE 80 53/udp",
                     "WORKDIR /w",       "ENTRYPOINT run me"};
  ASSERT_TRUE(change([&](engine::JobContext& job) -> Status {
    MemorySource source(base_);
    id = TRY(store_->import(job, source, options));
    return {};
  })) << last_error_;
  Image image = store_->find("mine").release();
  EXPECT_EQ(image.id, id);
  const ContainerConfig& config = image.config.config;
  EXPECT_EQ(*config.cmd, std::vector<std::string>{"/bin/x"});
  EXPECT_EQ(config.env, (std::vector<std::string>{"A=1", "B=two words"}));
  EXPECT_EQ(config.labels.at("k"), "v");
  EXPECT_TRUE(config.exposed_ports.contains("80/tcp") && config.exposed_ports.contains("53/udp"));
  EXPECT_EQ(config.working_dir, "/w");
  EXPECT_EQ(config.entrypoint->back(), "run me");
  EXPECT_EQ(image.config.comment, "Imported from -");
  EXPECT_EQ(image.config.rootfs.diff_ids.at(0), Digest::of(base_).text());
  options.changes = {"FROM x"};
  Status refused = change([&](engine::JobContext& job) -> Status {
    MemorySource source(base_);
    TRY(store_->import(job, source, options));
    return {};
  });
  EXPECT_EQ(refused.error().message(), "from is not a valid change command");
}

TEST_F(ImageStoreTest, ChainIdsFollowTheSpecification) {
  Digest a = Digest::of("a"), b = Digest::of("b"), c = Digest::of("c");
  std::vector<Digest> chain = chain_ids({a.text(), b.text(), c.text()}).release();
  EXPECT_EQ(chain[0], a);
  EXPECT_EQ(chain[1], Digest::of(a.text() + " " + b.text()));
  EXPECT_EQ(chain[2], Digest::of(chain[1].text() + " " + c.text()));
  EXPECT_FALSE(chain_ids({"sha256:x"}));
}

}  // namespace
}  // namespace gantry::image

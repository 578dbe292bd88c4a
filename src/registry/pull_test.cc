// Pulls and pushes of a real image store, against a registry in memory. Runs as root.
#include <gtest/gtest.h>
#include <zlib.h>

#include "base/fs.h"
#include "base/id.h"
#include "base/tar.h"
#include "drivers/graph/graph_driver.h"
#include "engine/engine.h"
#include "graph/content_store.h"
#include "graph/graph.h"
#include "image/image_store.h"
#include "image/partial_blobs.h"
#include "registry/repository.h"
#include "registry/test_registry.h"

namespace gantry::registry {
namespace {

struct Change {
  static constexpr std::string_view kName = "test.change";
  struct Input {
    std::function<Status(engine::JobContext&)> body;
  };
  using Output = bool;
};

std::string tar_of(const std::string& path, const std::string& contents) {
  StringSink sink;
  tar::Writer writer(sink);
  tar::Entry entry;
  entry.path = path;
  entry.mode = 0644;
  entry.size = contents.size();
  EXPECT_TRUE(writer.add(entry, contents));
  EXPECT_TRUE(writer.finish());
  return sink.bytes();
}

std::string gzip(const std::string& bytes) {
  z_stream stream{};
  ::deflateInit2(&stream, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(::deflateBound(&stream, bytes.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  ::deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

// Bytes that do not compress, the same every time.
std::string noise(size_t size, uint64_t seed) {
  std::string out(size, '\0');
  for (char& c : out) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>(seed >> 56);
  }
  return out;
}

class PullTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    root_ = "/tmp/gantry-pull-" + random_hex(6);
    ASSERT_TRUE(fs::make_directories(root_ + "/tmp", 0700));
    HostOptions options;
    options.certificate_dirs = {};
    options.first_retry = std::chrono::milliseconds(1);
    hosts_ = Hosts::create(std::move(options)).release();
    open_store();
  }
  void TearDown() override {
    close_store();
    if (root_.empty()) return;
    ASSERT_TRUE(fs::remove_tree(root_));
  }
  void open_store() {
    database_ = graph::Database::open(root_ + "/db").release();
    content_ = graph::ContentStore::open(root_ + "/content").release();
    driver_ = drivers::open_graph_driver("", root_ + "/data").release();
    engine_ = engine::Engine::create(*database_).release();
    ASSERT_TRUE(drivers::register_resource_kinds(engine_->resources(), driver_));
    ASSERT_TRUE(image::register_resource_kinds(engine_->resources(), *content_));
    store_ = image::ImageStore::open(*database_, *content_, driver_, root_ + "/tmp").release();
    ASSERT_TRUE(store_->prepare_transfers(*engine_));
    engine_->add<Change>([](engine::JobContext& job, Change::Input input) -> Result<bool> {
      TRY(input.body(job));
      return true;
    });
  }
  void close_store() {
    if (engine_) engine_->shutdown(std::chrono::seconds(5));
    store_.reset();
    engine_.reset();
    driver_.reset();
    content_.reset();
    database_.reset();
  }

  std::string name(const std::string& rest) const { return registry_.domain() + "/" + rest; }

  // Puts an image of these tars under `tag`; gives the manifest's digest.
  std::string put_image(const std::string& tag, const std::vector<std::string>& tars,
                        const std::string& architecture = "amd64") {
    json::array diff_ids;
    json::array layers;
    for (const std::string& tar : tars) {
      std::string blob = gzip(tar);
      diff_ids.push_back(json::value(Digest::of(tar).text()));
      layers.push_back(json::object{{"mediaType", "application/vnd.oci.image.layer.v1.tar+gzip"},
                                    {"digest", registry_.put_blob(blob)},
                                    {"size", blob.size()}});
    }
    std::string config = json::serialize(json::object{
        {"os", "linux"},
        {"architecture", architecture},
        {"rootfs", json::object{{"type", "layers"}, {"diff_ids", std::move(diff_ids)}}}});
    std::string digest = registry_.put_blob(config);
    std::string manifest =
        json::serialize(json::object{{"schemaVersion", 2},
                                     {"mediaType", image::kOciManifest},
                                     {"config", json::object{{"mediaType", image::kOciConfig},
                                                             {"digest", digest},
                                                             {"size", config.size()}}},
                                     {"layers", std::move(layers)}});
    return registry_.put_manifest(tag, manifest, std::string(image::kOciManifest));
  }

  Status change(std::function<Status(engine::JobContext&)> body) {
    Result<bool> done = engine_->run<Change>({std::move(body)});
    if (done) return {};
    return std::move(done).error();
  }
  Result<image::PulledImage> pull(const std::string& text, image::PullOptions options = {}) {
    image::PulledImage pulled;
    Status status = change([&](engine::JobContext& job) -> Status {
      image::Reference reference = TRY(image::Reference::parse(name(text)));
      auto remote =
          TRY(Repository::open(*hosts_, reference, {.cancel_fd = TRY(job.cancel().fd())}));
      pulled = TRY(store_->pull(job, *remote, reference, options, [&](json::object line) {
        std::lock_guard lock(said_mutex_);
        said_ += json::serialize(line) + "\n";
      }));
      return {};
    });
    if (!status) return std::move(status).error();
    return pulled;
  }
  Result<image::PushedImage> push(const std::string& text, image::PushOptions options = {}) {
    image::PushedImage pushed;
    Status status = change([&](engine::JobContext& job) -> Status {
      image::Reference reference = TRY(image::Reference::parse(text));
      auto remote = TRY(Repository::open(*hosts_, reference, {.use = Hosts::Use::push}));
      pushed = TRY(store_->push(job, *remote, reference, options,
                                [&](json::object line) { said_ += json::serialize(line) + "\n"; }));
      return {};
    });
    if (!status) return std::move(status).error();
    return pushed;
  }
  Status tag(const std::string& from, const std::string& repository, const std::string& tag) {
    return change([&](engine::JobContext& job) -> Status {
      (void)TRY(store_->tag(job, from, repository, tag));
      return {};
    });
  }
  // Nothing but what has an owner is left.
  void expect_clean() {
    ASSERT_TRUE(engine_->drain_releases(std::chrono::seconds(5)));
    auto report = engine_->reconcile(engine::ReconcileMode::check);
    ASSERT_TRUE(report);
    for (const auto& finding : report->findings)
      ADD_FAILURE() << finding.kind << " " << finding.name << " " << finding.detail;
  }
  std::string failure(const std::string& text, image::PullOptions options = {}) {
    auto pulled = pull(text, std::move(options));
    EXPECT_FALSE(pulled);
    auto count = store_->count();
    EXPECT_TRUE(count && *count == 0);
    expect_clean();
    return pulled ? "" : pulled.error().message();
  }

  TestRegistry registry_;
  std::unique_ptr<Hosts> hosts_;
  std::string root_;
  std::unique_ptr<graph::Database> database_;
  std::unique_ptr<graph::ContentStore> content_;
  std::shared_ptr<drivers::GraphDriver> driver_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<image::ImageStore> store_;
  std::mutex said_mutex_;
  std::string said_;
};

TEST_F(PullTest, an_image_is_pulled_whole_and_the_second_pull_changes_nothing) {
  std::string digest =
      put_image("1", {tar_of("a", "1"), tar_of("b", noise(3 << 20, 1)), tar_of("c", "3")});
  auto pulled = pull("x:1");
  ASSERT_TRUE(pulled) << pulled.error().message();
  EXPECT_EQ(pulled->digest.text(), digest);
  EXPECT_TRUE(pulled->newer);
  for (const char* word : {"Pulling from x", "Pulling fs layer", "Download complete",
                           "Pull complete", "Digest: sha256:", "Downloaded newer image"})
    EXPECT_NE(said_.find(word), std::string::npos) << word;
  auto inspected = store_->inspect(name("x:1"));
  ASSERT_TRUE(inspected);
  ASSERT_EQ(inspected->repo_digests.size(), 1u);
  EXPECT_EQ(inspected->repo_digests[0], name("x@" + digest));
  EXPECT_TRUE(store_->find(name("x@" + digest)));
  auto again = pull("x:1");
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->newer);
  EXPECT_EQ(registry_.count("GET /v2/x/blobs/"), 4);
  auto by_digest = pull("x@" + digest);
  EXPECT_TRUE(by_digest);
  expect_clean();
}

TEST_F(PullTest, a_platform_is_chosen_out_of_an_index_which_is_kept_byte_for_byte) {
  std::string amd = put_image("amd", {tar_of("a", "amd")});
  std::string arm = put_image("arm", {tar_of("a", "arm")}, "arm64");
  auto entry = [&](const std::string& digest, const char* architecture) {
    return fmt::format(
        R"({{"mediaType":"{}","digest":"{}","size":{},"platform":{{"os":"linux","architecture":"{}"}}}})",
        image::kOciManifest, digest, registry_.manifests[digest].second.size(), architecture);
  };
  std::string index = fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","manifests":[{},{}]}})",
                                  image::kOciIndex, entry(arm, "arm64"), entry(amd, "amd64"));
  std::string digest = registry_.put_manifest("1", index, std::string(image::kOciIndex));
  auto pulled = pull("x:1");
  ASSERT_TRUE(pulled) << pulled.error().message();
  EXPECT_EQ(*content_->read(*Digest::parse(digest)), index);
  EXPECT_TRUE(content_->contains(*Digest::parse(amd)));
  EXPECT_FALSE(content_->contains(*Digest::parse(arm)));
  auto other = pull("x:1", {.platform = "linux/arm64/v8"});
  ASSERT_TRUE(other) << other.error().message();
  EXPECT_NE(other->id, pulled->id);
  auto none = pull("x:1", {.platform = "linux/s390x"});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().message(),
            "no matching manifest for linux/s390x in the manifest list entries");
}

TEST_F(PullTest, what_is_wrong_is_named_and_nothing_of_it_stays) {
  put_image("digest", {tar_of("a", noise(100'000, 2))});
  for (auto& [digest, bytes] : registry_.blobs)
    if (bytes.size() > 50'000) bytes[bytes.size() / 2] ^= 1;
  std::string message = failure("x:digest");
  EXPECT_TRUE(message.find("layer sha256:") != std::string::npos ||
              message.find("verification failed for digest sha256:") != std::string::npos)
      << message;

  registry_.blobs.clear();
  put_image("gone", {tar_of("a", "1")});
  registry_.blobs.clear();
  EXPECT_NE(failure("x:gone").find("blob unknown"), std::string::npos);

  registry_.put_manifest(
      "both", R"({"schemaVersion":2,"config":{"digest":"x","size":1},"layers":[],"manifests":[]})",
      std::string(image::kOciManifest));
  EXPECT_NE(failure("x:both").find("it is both an image and an index"), std::string::npos);
  registry_.put_manifest("one", R"({"schemaVersion":1})",
                         "application/vnd.docker.distribution.manifest.v1+prettyjws");
  EXPECT_NE(failure("x:one").find("schema 1"), std::string::npos);
  registry_.put_manifest("shape", R"({"schemaVersion":2,"config":[],"layers":{}})",
                         std::string(image::kOciManifest));
  EXPECT_NE(failure("x:shape").find("config"), std::string::npos);
  registry_.put_manifest("deep", std::string(100'000, '['), std::string(image::kOciManifest));
  EXPECT_FALSE(failure("x:deep").empty());
  registry_.put_manifest("type", R"({"schemaVersion":2,"manifests":[]})",
                         std::string(image::kOciManifest));
  EXPECT_NE(failure("x:type").find("which it is not"), std::string::npos);
  registry_.put_manifest(
      "artifact",
      R"({"schemaVersion":2,"config":{"mediaType":"application/vnd.wasm.config","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]})",
      std::string(image::kOciManifest));
  EXPECT_NE(failure("x:artifact").find("an artifact of the type application/vnd.wasm.config"),
            std::string::npos);
}

TEST_F(PullTest, a_bomb_is_refused_while_it_goes_off) {
  put_image("1", {tar_of("a", std::string(64 << 20, '\0'))});
  image::PullOptions options;
  options.limits.max_size = 8 << 20;
  EXPECT_NE(failure("x:1", options).find("it unpacks to more than 8388608 bytes"),
            std::string::npos);
  options.limits = {};
  options.limits.ratio_from = 1 << 20;
  options.limits.max_ratio = 100;
  EXPECT_NE(failure("x:1", options).find("it unpacks to more than 100 times its size"),
            std::string::npos);
}

TEST_F(PullTest, a_cut_pull_is_gone_on_with_from_where_it_was_also_after_a_restart) {
  put_image("1", {tar_of("a", noise(4 << 20, 3))});
  std::atomic<bool> broken{true};
  registry_.hook = [&](http::Exchange& x) {
    if (x.path().find("/blobs/") == std::string::npos || !broken) return false;
    std::string digest = x.path().substr(x.path().find("/blobs/") + 7);
    std::string bytes = registry_.blobs[digest];
    if (bytes.size() < 1 << 20) return false;
    if (x.headers().has("Range"))
      return (void)x.respond(404, {}, R"({"errors":[{"code":"BLOB_UNKNOWN","message":"no"}]})"),
             true;
    (void)x.start_stream(200, {}, bytes.size());
    (void)x.write(std::string_view(bytes).substr(0, 2 << 20));
    x.abort();
    return true;
  };
  auto cut = pull("x:1");
  ASSERT_FALSE(cut);
  EXPECT_EQ(*store_->count(), 0);
  expect_clean();
  close_store();
  open_store();
  ASSERT_TRUE(engine_->reconcile(engine::ReconcileMode::repair));
  broken = false;
  auto pulled = pull("x:1");
  ASSERT_TRUE(pulled) << pulled.error().message();
  EXPECT_EQ(registry_.count("range=bytes=2097152-"), 2) << "one was refused, one was served";
  ASSERT_TRUE(engine_->drain_releases(std::chrono::seconds(5)));
  EXPECT_TRUE(fs::list_directory(root_ + "/content/partial")->empty());
  expect_clean();
}

TEST_F(PullTest, a_kept_beginning_that_is_wrong_is_thrown_away_and_the_blob_fetched_whole) {
  put_image("1", {tar_of("a", noise(4 << 20, 4))});
  std::string blob;
  for (auto& [digest, bytes] : registry_.blobs)
    if (bytes.size() > 1 << 20) blob = digest;
  ASSERT_TRUE(change([&](engine::JobContext& job) -> Status {
    (void)TRY(job.run<image::BlobReserve>(image::BlobReserve::Input{{blob}}));
    return fs::write_file(root_ + "/content/partial/" + blob.substr(7), noise(1 << 20, 99));
  }));
  auto pulled = pull("x:1");
  ASSERT_TRUE(pulled) << pulled.error().message();
  expect_clean();
}

TEST_F(PullTest, two_pulls_of_one_image_fetch_each_blob_once) {
  put_image("1", {tar_of("a", noise(3 << 20, 5)), tar_of("b", noise(3 << 20, 6))});
  Result<image::PulledImage> first = internal("not run");
  std::thread other([&] { first = pull("x:1"); });
  auto second = pull("x:1");
  other.join();
  ASSERT_TRUE(first) << first.error().message();
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_EQ(first->id, second->id);
  for (const auto& [digest, bytes] : registry_.blobs)
    if (bytes.size() > 1 << 20) {
      EXPECT_EQ(registry_.count("GET /v2/x/blobs/" + digest), 1);
    }
  expect_clean();
}

TEST_F(PullTest, a_policy_refuses_before_a_layer_is_fetched) {
  put_image("1", {tar_of("a", "1")});
  store_->set_pull_policy(
      [](engine::JobContext&, const image::PullCandidate& candidate) -> Result<image::Admission> {
        return Error(ErrorKind::permission, "not " + candidate.reference.familiar());
      });
  EXPECT_EQ(failure("x:1"), "not " + name("x:1"));
  EXPECT_EQ(registry_.count("/blobs/"), 0);
}

TEST_F(PullTest, an_image_pushed_elsewhere_keeps_its_digest_with_layers_from_their_source) {
  std::string digest = put_image("1", {tar_of("a", "1"), tar_of("b", noise(2 << 20, 7))});
  ASSERT_TRUE(pull("x:1"));
  TestRegistry other;
  ASSERT_TRUE(tag(name("x:1"), other.domain() + "/y", "2"));
  image::PushOptions options;
  options.sources =
      [&](const std::string& source) -> Result<std::unique_ptr<image::RemoteRepository>> {
    image::Reference reference = TRY(image::Reference::parse(source));
    auto opened = TRY(Repository::open(*hosts_, reference, {}));
    return std::unique_ptr<image::RemoteRepository>(std::move(opened));
  };
  auto pushed = push(other.domain() + "/y:2", options);
  ASSERT_TRUE(pushed) << pushed.error().message();
  EXPECT_EQ(pushed->digest.text(), digest);
  EXPECT_EQ(other.blobs, registry_.blobs);
  said_.clear();
  auto again = push(other.domain() + "/y:2");
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_NE(said_.find("Layer already exists"), std::string::npos);
  EXPECT_EQ(other.count("PATCH"), 3);
  expect_clean();
}

TEST_F(PullTest, without_a_source_a_push_is_refused_unless_it_may_recompress) {
  std::string digest = put_image("1", {tar_of("b", std::string(2 << 20, 'x'))});
  ASSERT_TRUE(pull("x:1"));
  TestRegistry other;
  ASSERT_TRUE(tag(name("x:1"), other.domain() + "/y", "2"));
  auto refused = push(other.domain() + "/y:2");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("--recompress"), std::string::npos)
      << refused.error().message();
  auto pushed = push(other.domain() + "/y:2", {.recompress = true});
  ASSERT_TRUE(pushed) << pushed.error().message();
  EXPECT_NE(pushed->digest.text(), digest);
  EXPECT_TRUE(pushed->recompressed);
  // What was made here is made the same again, for yet another registry.
  TestRegistry third;
  ASSERT_TRUE(tag(name("x:1"), third.domain() + "/z", "3"));
  auto again = push(third.domain() + "/z:3", {.recompress = true});
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->digest, pushed->digest);
  expect_clean();
}

TEST_F(PullTest, compressed_blobs_are_kept_when_asked_and_serve_a_push) {
  std::string digest = put_image("1", {tar_of("b", noise(2 << 20, 8))});
  auto pulled = pull("x:1", {.keep_compressed = true});
  ASSERT_TRUE(pulled) << pulled.error().message();
  TestRegistry other;
  ASSERT_TRUE(tag(name("x:1"), other.domain() + "/y", "2"));
  auto pushed = push(other.domain() + "/y:2");
  ASSERT_TRUE(pushed) << pushed.error().message();
  EXPECT_EQ(pushed->digest.text(), digest);
  expect_clean();
}

}  // namespace
}  // namespace gantry::registry

// Collection, checking, recovery and the pictures of the graph.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/sys.h"
#include "graph/check.h"
#include "graph/export.h"
#include "graph/gc.h"

namespace gantry::graph {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

#define ASSERT_OK(...)                                     \
  do {                                                     \
    auto&& ok_result = (__VA_ARGS__);                      \
    ASSERT_TRUE(ok_result) << ok_result.error().message(); \
  } while (0)

class CollectTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-gc-XXXXXX";
    directory_ = ::mkdtemp(name);
    content_ = ContentStore::open(directory_ + "/content").release();
    database_ = Database::open(directory_ + "/db").release();
    graph_.emplace(*database_);
  }
  void TearDown() override {
    database_.reset();
    EXPECT_TRUE(fs::remove_tree(directory_));
  }
  NodeId add(NodeKind kind, const std::string& key, int64_t size = 0, int64_t used_at = 1) {
    NodeId id = 0;
    EXPECT_TRUE(database_->write([&](Transaction& tx) -> Status {
      id = TRY(graph_->put(tx, {.kind = kind,
                                .key = key,
                                .data = {},
                                .size = size,
                                .created_at = 1,
                                .used_at = used_at}));
      return {};
    }));
    return id;
  }
  NodeId add_blob(const std::string& bytes) {
    ContentStore::Info info = content_->put(bytes).release();
    return add(NodeKind::blob, info.digest.text(), info.size);
  }
  void link(NodeId from, EdgeKind kind, NodeId to) {
    EXPECT_TRUE(
        database_->write([&](Transaction& tx) { return graph_->link(tx, from, kind, to); }));
  }
  // An image of one layer with one blob; the blob's bytes are the name.
  NodeId add_image(const std::string& name, int64_t used_at = 1) {
    NodeId image = add(NodeKind::image, "i" + name, 1, used_at),
           layer = add(NodeKind::layer, "l" + name, 10);
    link(image, EdgeKind::member, layer);
    link(layer, EdgeKind::content_of, add_blob(name));
    return image;
  }
  std::vector<std::string> collect(CollectOptions options) {
    std::vector<std::string> gone;
    Collector collector = Collector::plan(*graph_, content_.get(), options).release();
    while (!collector.finished()) {
      std::vector<Node> step = *collector.step();
      for (const Node& node : step)
        if (node.kind != NodeKind::blob) gone.push_back(node.key);
    }
    return gone;
  }
  bool has_content(const std::string& bytes) { return content_->contains(Digest::of(bytes)); }

  std::string directory_;
  std::unique_ptr<ContentStore> content_;
  std::unique_ptr<Database> database_;
  std::optional<Graph> graph_;
};

CollectOptions prune() {
  CollectOptions options;
  options.keep = {{NodeKind::image, kKeepNothing}};
  options.grace_ns = 0;
  return options;
}

TEST_F(CollectTest, APruneTakesUntaggedImagesWithAllThatOnlyTheyHold) {
  NodeId tagged = add_image("a");
  link(add(NodeKind::tag, "t"), EdgeKind::names, tagged);
  add_image("b");
  CollectOptions by_itself;
  by_itself.grace_ns = 0;
  EXPECT_THAT(collect(by_itself), IsEmpty()) << "an untagged image stays until somebody prunes";
  EXPECT_THAT(collect(prune()), ElementsAre("ib", "lb"));
  EXPECT_TRUE(has_content("a"));
  EXPECT_FALSE(has_content("b"));
  EXPECT_THAT(*fs::list_directory(directory_ + "/content/ingest"), IsEmpty());
}

TEST_F(CollectTest, WhatIsLinkedAfterThePlanStays) {
  NodeId image = add_image("a");
  CollectOptions options = prune();
  options.batch = 1;
  Collector collector = Collector::plan(*graph_, content_.get(), options).release();
  EXPECT_THAT(collector.planned(), SizeIs(3));
  link(add(NodeKind::container, "c"), EdgeKind::uses, image);
  while (!collector.finished()) EXPECT_THAT(*collector.step(), IsEmpty());
  EXPECT_TRUE(has_content("a"));
}

TEST_F(CollectTest, YoungThingsAreLeftAlone) {
  add(NodeKind::layer, "young", 0, now_ns());
  add(NodeKind::layer, "old", 0, 1);
  CollectOptions options;
  EXPECT_THAT(collect(options), ElementsAre("old"));
}

TEST_F(CollectTest, KeepingIsBoundedByAgeCountAndBytes) {
  int64_t now = now_ns();
  auto fill = [&] {
    for (int i = 0; i < 4; ++i)
      add(NodeKind::build_record, fmt::format("r{}", i), 100, now - i * kDay);
  };
  CollectOptions options;
  options.grace_ns = 0;
  fill();
  options.keep = {{NodeKind::build_record, {.age_ns = kDay * 3 / 2}}};
  EXPECT_THAT(collect(options), UnorderedElementsAre("r2", "r3"));
  fill();
  options.keep = {{NodeKind::build_record, {.count = 1}}};
  EXPECT_THAT(collect(options), UnorderedElementsAre("r1", "r2", "r3"));
  fill();
  options.keep = {{NodeKind::build_record, {.bytes = 300}}};
  EXPECT_THAT(collect(options), ElementsAre("r3"));
}

TEST_F(CollectTest, TenThousandBlobsAreCollectedInSmallSteps) {
  ASSERT_OK(database_->write([&](Transaction& tx) -> Status {
    for (int i = 0; i < 10'000; ++i)
      TRY(graph_->put(
          tx, {.kind = NodeKind::blob, .key = Digest::of(std::to_string(i)).text(), .used_at = 1}));
    return {};
  }));
  int64_t start = monotonic_ns(), longest = 0;
  Collector collector = Collector::plan(*graph_, content_.get(), prune()).release();
  while (!collector.finished()) {
    int64_t step = monotonic_ns();
    ASSERT_OK(collector.step());
    longest = std::max(longest, monotonic_ns() - step);
  }
  fmt::print("10,000 blobs: {} ms, longest step {} us\n", (monotonic_ns() - start) / 1'000'000,
             longest / 1000);
  EXPECT_EQ(*graph_->read().count(NodeKind::blob), 0);
}

TEST_F(CollectTest, CheckingFindsDamageAndSaysWhoNeedsIt) {
  link(add(NodeKind::tag, "busybox:latest"), EdgeKind::names, add_image("good"));
  link(add(NodeKind::tag, "bad:latest"), EdgeKind::names, add_image("bad"));
  add_image("gone");
  ASSERT_OK(fs::write_file(content_->path(Digest::of("bad")), "bax"));
  ASSERT_OK(content_->remove(Digest::of("gone")));
  auto texts = [&](CheckMode mode, ReadContent read = ReadContent::yes) {
    std::vector<std::string> out;
    std::vector<ContentFinding> findings = *check_content(*graph_, *content_, mode, read);
    for (const ContentFinding& finding : findings)
      out.push_back(fmt::format("{} {}", to_string(finding.what),
                                finding.needed_by.empty() ? "" : finding.needed_by[0]));
    return out;
  };
  EXPECT_THAT(texts(CheckMode::look, ReadContent::no), UnorderedElementsAre("missing image igone"));
  EXPECT_THAT(texts(CheckMode::look),
              UnorderedElementsAre("corrupt tag bad:latest", "missing image igone"));
  texts(CheckMode::repair);
  EXPECT_THAT(texts(CheckMode::look),
              UnorderedElementsAre("missing tag bad:latest", "missing image igone"));
}

TEST_F(CollectTest, ADeletedDatabaseGetsItsBlobsBack) {
  add_blob("x");
  database_.reset();
  for (const char* suffix : {"", "-wal", "-shm"})
    ASSERT_OK(fs::remove_tree(directory_ + "/db" + suffix));
  std::optional<Recovery> recovery;
  Result<std::unique_ptr<Database>> opened =
      open_or_recover(directory_ + "/db", *content_, &recovery);
  ASSERT_OK(opened);
  ASSERT_TRUE(recovery);
  EXPECT_EQ(recovery->blobs, 1);
  EXPECT_EQ(recovery->kept_as, "");
  EXPECT_TRUE(*Graph(**opened).read().contains(NodeKind::blob, Digest::of("x").text()));
}

// The part of the file that holds pages; what follows is room for growth ("Database Header": the
// size in pages is at offset 28, sqlite.org/fileformat2.html).
size_t used(const std::string& b) {
  size_t pages = 0;
  for (size_t i = 28; i < 32; i++) pages = pages << 8 | static_cast<unsigned char>(b[i]);
  return pages * 4096;
}

// Each way in which a file can be spoilt, and what is still there afterwards.
class DamageTest
    : public CollectTest,
      public testing::WithParamInterface<std::pair<const char*, void (*)(std::string&)>> {};

TEST_P(DamageTest, IsRecoveredAsFarAsItCanBeRead) {
  for (int i = 0; i < 400; ++i) {
    NodeId node = add(NodeKind::volume, fmt::format("v{}", i));
    ASSERT_OK(database_->write([&](Transaction& tx) {
      return graph_->claim_name(tx, NodeKind::volume, fmt::format("n{}", i), node);
    }));
  }
  add_blob("x");
  ASSERT_OK(database_->checkpoint());
  database_.reset();
  std::string bytes = *fs::read_file(directory_ + "/db");
  GetParam().second(bytes);
  ASSERT_OK(fs::write_file(directory_ + "/db", bytes));
  std::optional<Recovery> recovery;
  Result<std::unique_ptr<Database>> opened =
      open_or_recover(directory_ + "/db", *content_, &recovery);
  ASSERT_OK(opened);
  ASSERT_TRUE(recovery) << "damage was not noticed";
  EXPECT_TRUE(fs::exists(recovery->kept_as));
  EXPECT_THAT(*(*opened)->integrity_check(), IsEmpty());
  EXPECT_TRUE(*Graph(**opened).read().contains(NodeKind::blob, Digest::of("x").text()));
  EXPECT_TRUE(!recovery->not_read.empty() || recovery->nodes == 401) << "what is lost is told";
  fmt::print("{}: {} nodes, {} names, {} blobs found; {} complaints\n", GetParam().first,
             recovery->nodes, recovery->names, recovery->blobs, recovery->not_read.size());
  opened->reset();
  recovery.reset();
  ASSERT_OK(open_or_recover(directory_ + "/db", *content_, &recovery));
  EXPECT_FALSE(recovery) << "the second start finds nothing to do";
}

INSTANTIATE_TEST_SUITE_P(
    Ways, DamageTest,
    testing::Values(
        std::pair(
            "header", +[](std::string& b) { std::fill_n(b.begin(), 100, 'x'); }),
        std::pair(
            "schema page", +[](std::string& b) { std::fill_n(b.begin() + 100, 3900, '\0'); }),
        std::pair(
            "one page in the middle",
            +[](std::string& b) {
              std::fill_n(b.begin() + static_cast<long>(used(b) / 2 / 4096 * 4096), 4096, 'x');
            }),
        std::pair(
            "truncated to half", +[](std::string& b) { b.resize(used(b) / 2 / 4096 * 4096); }),
        std::pair(
            "truncated inside the first page", +[](std::string& b) { b.resize(1000); }),
        std::pair(
            "every fifth page",
            +[](std::string& b) {
              for (size_t at = 4096 * 4; at + 4096 <= b.size(); at += 4096 * 5)
                std::fill_n(b.begin() + static_cast<long>(at), 4096, 'z');
            }),
        std::pair(
            "random text", +[](std::string& b) { b.assign(50'000, 'q'); })),
    [](const auto& info) {
      std::string name = info.param.first;
      std::replace(name.begin(), name.end(), ' ', '_');
      return name;
    });

TEST_F(CollectTest, TheGraphIsShownInEveryFormat) {
  NodeId tag = add(NodeKind::tag, "a \"b\":latest"), image = add_image("a");
  link(tag, EdgeKind::names, image);
  add(NodeKind::layer, "lonely");
  View view = graph_->read();
  EXPECT_THAT(*show(view, Format::dot),
              testing::AllOf(HasSubstr("digraph"), HasSubstr("tag a \\\"b\\\":latest"),
                             HasSubstr("[label=\"names\"]")));
  Result<json::value> parsed = json::parse(*show(view, Format::json));
  ASSERT_OK(parsed);
  EXPECT_EQ(parsed->at("Nodes").as_array().size(), 5u);
  EXPECT_EQ(parsed->at("Edges").as_array().size(), 3u);
  std::string tree = *show(view, Format::tree);
  EXPECT_THAT(tree,
              HasSubstr("tag a \"b\":latest\n  names: image ia (1 bytes)\n    member: layer la"));
  EXPECT_THAT(tree, HasSubstr("(held by nothing)\nlayer lonely\n"));
  EXPECT_THAT(*show(view, Format::tree, image), testing::StartsWith("image ia"));
  std::vector<Chain> chains = *view.why(image);
  ASSERT_THAT(chains, SizeIs(1));
  EXPECT_EQ(to_text(chains[0]), "tag a \"b\":latest -names-> image ia");
  EXPECT_FALSE(parse_format("xml"));
}

}  // namespace
}  // namespace gantry::graph

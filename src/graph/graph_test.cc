#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>

#include "base/failpoint.h"
#include "base/fs.h"
#include "base/sys.h"
#include "graph/content_store.h"
#include "graph/graph.h"

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

class GraphTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-graph-XXXXXX";
    directory_ = ::mkdtemp(name);
    reopen();
  }
  void TearDown() override {
    database_.reset();
    EXPECT_TRUE(fs::remove_tree(directory_));
  }
  void reopen() {
    database_.reset();
    auto opened = Database::open(directory_ + "/db");
    ASSERT_TRUE(opened) << opened.error().message();
    database_ = opened.release();
    graph_.emplace(*database_);
  }
  NodeId add(NodeKind kind, const std::string& key, int64_t size = 0) {
    NodeId id = 0;
    Status status = database_->write([&](Transaction& tx) -> Status {
      id = TRY(graph_->put(tx, {.kind = kind, .key = key, .data = {}, .size = size}));
      return {};
    });
    EXPECT_TRUE(status);
    return id;
  }
  void link(NodeId from, EdgeKind kind, NodeId to, int64_t position = 0) {
    EXPECT_TRUE(database_->write(
        [&](Transaction& tx) { return graph_->link(tx, from, kind, to, position); }));
  }
  static std::vector<std::string> keys(const std::vector<Node>& nodes) {
    std::vector<std::string> out;
    for (const Node& node : nodes) out.push_back(node.key);
    return out;
  }

  std::string directory_;
  std::unique_ptr<Database> database_;
  std::optional<Graph> graph_;
};

TEST_F(GraphTest, NodesAreStoredReplacedAndFoundAgain) {
  NodeId id = add(NodeKind::volume, "data");
  ASSERT_OK(database_->write(
      [&](Transaction& tx) { return graph_->set_data(tx, id, R"({"driver":"local"})"); }));
  reopen();
  Node node = *graph_->read().get(NodeKind::volume, "data");
  EXPECT_EQ(node.id, id);
  EXPECT_EQ(node.data, R"({"driver":"local"})");
  EXPECT_GT(node.created_at, 0);
  EXPECT_EQ(add(NodeKind::volume, "data"), id);
  EXPECT_EQ(graph_->read().get(NodeKind::volume, "other").error().kind(), ErrorKind::not_found);
  Status twice = database_->write([&](Transaction& tx) -> Status {
    TRY(graph_->insert(tx, {.kind = NodeKind::volume, .key = "data"}));
    return {};
  });
  EXPECT_EQ(twice.error().kind(), ErrorKind::conflict);
}

TEST_F(GraphTest, ShortIdsAreResolvedAndAmbiguousOnesRefused) {
  add(NodeKind::container, "abc1");
  add(NodeKind::container, "abc2");
  add(NodeKind::container, "abc");
  add(NodeKind::container, "abd9");
  add(NodeKind::image, "abd8");
  EXPECT_EQ(graph_->read().find_by_key_prefix(NodeKind::container, "abc")->key, "abc");
  EXPECT_EQ(graph_->read().find_by_key_prefix(NodeKind::container, "abd")->key, "abd9");
  Result<Node> several = graph_->read().find_by_key_prefix(NodeKind::container, "ab");
  ASSERT_FALSE(several);
  EXPECT_EQ(several.error().kind(), ErrorKind::conflict);
  EXPECT_EQ(several.error().message(), "multiple IDs found with provided prefix: ab");
  EXPECT_EQ(graph_->read().find_by_key_prefix(NodeKind::container, "x").error().kind(),
            ErrorKind::not_found);
  EXPECT_EQ(graph_->read().find_by_key_prefix(NodeKind::container, "").error().kind(),
            ErrorKind::not_found);
}

TEST_F(GraphTest, EdgesKeepTheirOrderAndWhatIsHeldCannotBeRemoved) {
  NodeId image = add(NodeKind::image, "i"), a = add(NodeKind::layer, "a"),
         b = add(NodeKind::layer, "b");
  link(image, EdgeKind::member, b, 0);
  link(image, EdgeKind::member, a, 1);
  link(image, EdgeKind::member, b, 2);
  EXPECT_THAT(keys(*graph_->read().targets(image, EdgeKind::member)), ElementsAre("b", "a", "b"));
  EXPECT_THAT(keys(*graph_->read().holders(b, EdgeKind::member)), ElementsAre("i"));
  Status removed = database_->write([&](Transaction& tx) { return graph_->remove(tx, b); });
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().kind(), ErrorKind::conflict);
  EXPECT_EQ(removed.error().message(), "layer b is held by image i");
  ASSERT_OK(database_->write([&](Transaction& tx) { return graph_->remove(tx, image); }));
  EXPECT_THAT(*graph_->read().in(b), IsEmpty());
  ASSERT_OK(database_->write([&](Transaction& tx) { return graph_->remove(tx, b); }));
  Status dangling = database_->write(
      [&](Transaction& tx) { return graph_->link(tx, a, EdgeKind::parent, 12345); });
  EXPECT_EQ(dangling.error().kind(), ErrorKind::not_found);
}

TEST_F(GraphTest, ANameHasOneOwnerEvenWhenThreadsRaceForIt) {
  std::vector<NodeId> nodes;
  for (int i = 0; i < 8; ++i) nodes.push_back(add(NodeKind::container, fmt::format("c{}", i)));
  std::atomic<int> won{0};
  std::vector<std::thread> threads;
  for (NodeId node : nodes)
    threads.emplace_back([&, node] {
      Status claimed = database_->write([&](Transaction& tx) {
        return graph_->claim_name(tx, NodeKind::container, "web", node);
      });
      if (claimed)
        ++won;
      else
        EXPECT_EQ(claimed.error().kind(), ErrorKind::conflict);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(won, 1);
}

TEST_F(GraphTest, NamesAreRenamedAndGoWithTheirNode) {
  NodeId a = add(NodeKind::container, "a"), b = add(NodeKind::container, "b");
  auto write = [&](auto body) { return database_->write(body); };
  ASSERT_OK(
      write([&](Transaction& tx) { return graph_->claim_name(tx, NodeKind::container, "x", a); }));
  ASSERT_OK(
      write([&](Transaction& tx) { return graph_->claim_name(tx, NodeKind::container, "y", b); }));
  Status taken =
      write([&](Transaction& tx) { return graph_->rename(tx, NodeKind::container, "x", "y"); });
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().message(), "b");
  ASSERT_OK(
      write([&](Transaction& tx) { return graph_->rename(tx, NodeKind::container, "x", "z"); }));
  EXPECT_EQ(graph_->read().get_by_name(NodeKind::container, "z")->id, a);
  EXPECT_THAT(*graph_->read().names(a), ElementsAre("z"));
  ASSERT_OK(write([&](Transaction& tx) { return graph_->remove(tx, a); }));
  EXPECT_FALSE(graph_->read().get_by_name(NodeKind::container, "z"));
}

TEST_F(GraphTest, AnAbandonedTransactionLeavesNothing) {
  {
    Transaction tx = database_->begin().release();
    ASSERT_TRUE(graph_->put(tx, {.kind = NodeKind::tag, .key = "t"}));
    EXPECT_TRUE(*graph_->read(tx).contains(NodeKind::tag, "t"));
    EXPECT_FALSE(*graph_->read().contains(NodeKind::tag, "t")) << "readers see commits only";
    EXPECT_FALSE(database_->begin()) << "a second transaction of one thread would wait for ever";
  }
  EXPECT_FALSE(*graph_->read().contains(NodeKind::tag, "t"));
  EXPECT_TRUE(database_->begin());
}

TEST_F(GraphTest, ASnapshotDoesNotMove) {
  View before = graph_->read();
  EXPECT_EQ(*before.count(NodeKind::blob), 0);
  add(NodeKind::blob, "b");
  EXPECT_EQ(*before.count(NodeKind::blob), 0);
  EXPECT_EQ(*graph_->read().count(NodeKind::blob), 1);
}

TEST_F(GraphTest, UnreachableNodesComeHoldersFirst) {
  NodeId tag = add(NodeKind::tag, "busybox:latest"), image = add(NodeKind::image, "i", 1);
  NodeId layer = add(NodeKind::layer, "l", 10), blob = add(NodeKind::blob, "b", 100);
  NodeId old_image = add(NodeKind::image, "old", 1), old_layer = add(NodeKind::layer, "ol", 20);
  NodeId old_blob = add(NodeKind::blob, "ob", 200);
  link(tag, EdgeKind::names, image);
  link(image, EdgeKind::member, layer);
  link(layer, EdgeKind::content_of, blob);
  link(old_image, EdgeKind::member, old_layer);
  link(old_image, EdgeKind::member, layer, 1);
  link(old_layer, EdgeKind::content_of, old_blob);

  KindSet all = {NodeKind::image, NodeKind::layer, NodeKind::blob};
  EXPECT_THAT(keys(*graph_->read().unreachable(kRoots, all)), ElementsAre("old", "ol", "ob"));
  EXPECT_THAT(keys(*graph_->read().unreachable(kRoots, all, 2)), ElementsAre("old", "ol"));
  EXPECT_THAT(*graph_->read().unreachable(kRoots, {NodeKind::blob}), IsEmpty())
      << "the blob is still held by a layer that stays";
  EXPECT_THAT(*graph_->read().unreachable(kKept, all), IsEmpty()) << "untagged images are kept";
  EXPECT_TRUE(*graph_->read().reachable(blob));
  EXPECT_FALSE(*graph_->read().reachable(old_blob));
  EXPECT_THAT(keys(*graph_->read().closure(old_image)),
              UnorderedElementsAre("old", "ol", "l", "ob", "b"));
  std::vector<Node> dead = *graph_->read().unreachable(kRoots, all);
  for (const Node& node : dead)
    ASSERT_OK(database_->write([&](Transaction& tx) { return graph_->remove(tx, node.id); }));

  NodeId container = add(NodeKind::container, "c");
  link(container, EdgeKind::uses, image);
  std::vector<Usage> usage = *graph_->read().usage();
  ASSERT_THAT(usage, SizeIs(5));
  EXPECT_EQ(usage[0].size, 100);
  EXPECT_EQ(usage[0].reclaimable, 0);
}

TEST_F(GraphTest, WhyNamesEveryChainShortestFirst) {
  NodeId tag = add(NodeKind::tag, "t"), image = add(NodeKind::image, "i");
  NodeId layer = add(NodeKind::layer, "l"), container = add(NodeKind::container, "c");
  NodeId volume = add(NodeKind::volume, "v"), lost = add(NodeKind::blob, "lost");
  link(tag, EdgeKind::names, image);
  link(image, EdgeKind::member, layer, 0);
  link(image, EdgeKind::member, layer, 1);
  link(container, EdgeKind::uses, layer);
  link(container, EdgeKind::uses, volume);
  auto text = [&](NodeId id) {
    std::vector<std::string> out;
    std::vector<Chain> chains = *graph_->read().why(id);
    for (const Chain& chain : chains) {
      std::string line;
      for (const Chain::Step& step : chain.steps)
        line += step.node.key + (step.edge ? fmt::format(" -{}-> ", to_string(*step.edge)) : "");
      out.push_back(line);
    }
    return out;
  };
  EXPECT_THAT(text(layer), ElementsAre("c -uses-> l", "t -names-> i -member-> l"));
  EXPECT_THAT(text(volume), ElementsAre("v", "c -uses-> v"));
  EXPECT_THAT(text(lost), IsEmpty());
}

TEST_F(GraphTest, ADatabaseOfANewerGantryIsRefusedAndADamagedOneNamed) {
  database_.reset();
  std::vector<Migration> more = kMigrations;
  more.push_back({kMigrations.back().version + 1, "CREATE TABLE later(x)"});
  ASSERT_OK(Database::open(directory_ + "/db", more));
  Result<std::unique_ptr<Database>> older = Database::open(directory_ + "/db");
  ASSERT_FALSE(older);
  EXPECT_EQ(older.error().kind(), ErrorKind::unsupported);
  EXPECT_THAT(older.error().message(), HasSubstr("newer gantryd"));

  ASSERT_OK(fs::write_file(directory_ + "/bad", std::string(8192, 'x')));
  Result<std::unique_ptr<Database>> damaged = Database::open(directory_ + "/bad");
  ASSERT_FALSE(damaged);
  EXPECT_THAT(damaged.error().message(), HasSubstr("/bad is damaged"));
}

// What was released: the digest of each step of the schema, and rows as that version wrote them.
struct Released {
  int version;
  const char* digest;
  const char* rows;
};
constexpr Released kReleased[] = {
    {1, "sha256:f39bae59d5ace2f848213f14dbcfd37dc74fa398f0bb4afbcc70022e7afec036", R"sql(
INSERT INTO node VALUES(1,5,'docker.io/library/a:latest','',0,1700000000000000000,1700000000000000000);
INSERT INTO node VALUES(2,3,'sha256:aa','{"created":"","top_layer":"","size":7,"tagged_at":0,"os":"linux","architecture":"amd64","parent":"","labels":{}}',7,1700000000000000000,0);
INSERT INTO edge VALUES(1,5,0,2);
INSERT INTO name VALUES(6,'web',2);
INSERT INTO setting VALUES('instance','0123456789ab');
INSERT INTO job VALUES(1,'image.load',3,1,0,'uid:0',1,2,3,'sha256:bb','','blob sha256:aa');
INSERT INTO resource VALUES(1,'blob','sha256:aa','blob:sha256:aa',1,2,'','boot',1700000000000000000);
)sql"}};

TEST_F(GraphTest, AStepOfTheSchemaThatWasReleasedIsNeverChanged) {
  for (const Released& released : kReleased) {
    ASSERT_LE(static_cast<size_t>(released.version), kMigrations.size());
    const Migration& step = kMigrations[static_cast<size_t>(released.version) - 1];
    EXPECT_EQ(step.version, released.version);
    EXPECT_EQ(Digest::of(step.sql).text(), released.digest)
        << "databases of users were made by the old text: add a step, and its line here";
  }
  EXPECT_EQ(kMigrations.back().version, std::end(kReleased)[-1].version)
      << "a new step wants a line here, with rows as it writes them";
}

TEST_F(GraphTest, DatabasesOfEveryReleasedVersionAreBroughtUpWithWhatIsInThem) {
  for (const Released& released : kReleased) {
    const std::string path = fmt::format("{}/v{}", directory_, released.version);
    std::vector<Migration> then(kMigrations.begin(), kMigrations.begin() + released.version);
    {
      auto old = Database::open(path, then);
      ASSERT_OK(old);
      ASSERT_OK((*old)->write(
          [&](Transaction& tx) { return tx.connection().execute_script(released.rows); }));
    }
    auto now = Database::open(path);
    ASSERT_OK(now);
    EXPECT_THAT(*(*now)->integrity_check(), IsEmpty());
    View view = Graph(**now).read();
    Result<Node> image = view.get(NodeKind::image, "sha256:aa");
    ASSERT_OK(image);
    EXPECT_EQ(image->size, 7);
    Result<Node> tag = view.get(NodeKind::tag, "docker.io/library/a:latest");
    ASSERT_OK(tag);
    std::vector<Edge> edges = *view.in(image->id, EdgeKind::names);
    ASSERT_EQ(edges.size(), 1u);
    EXPECT_EQ(edges[0].from, tag->id);
    EXPECT_EQ(*view.setting("instance"), "0123456789ab");
  }
}

TEST_F(GraphTest, AFailingMigrationChangesNothing) {
  database_.reset();
  std::vector<Migration> broken = kMigrations;
  broken.push_back(
      {kMigrations.back().version + 1, "CREATE TABLE later(x); CREATE TABLE later(x)"});
  EXPECT_FALSE(Database::open(directory_ + "/db", broken));
  broken.back().sql = "CREATE TABLE later(x)";
  EXPECT_TRUE(Database::open(directory_ + "/db", broken));
}

TEST_F(GraphTest, ASecondProcessOnTheSameDatabaseIsRefused) {
  Result<std::unique_ptr<Database>> second = Database::open(directory_ + "/db");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::conflict);
}

TEST_F(GraphTest, ASoundDatabaseHasNoComplaints) {
  add(NodeKind::blob, "b");
  EXPECT_THAT(*database_->integrity_check(), IsEmpty());
  ASSERT_OK(database_->checkpoint());
}

TEST_F(GraphTest, AFullDiskIsMetWithTheLogAndThenWithTheReserveOnce) {
  ASSERT_OK(database_->set_reserve(1 << 20));
  auto reserve = [&] { return fs::read_file(directory_ + "/db.reserve")->size(); };
  int calls = 0, full = 1;
  auto body = [&](Transaction&) -> Status {
    if (++calls <= full) return errno_error(ENOSPC, "test");
    return {};
  };
  // The log had room.
  ASSERT_OK(database_->write(Durability::normal, Space::ordinary, body));
  EXPECT_EQ(calls, 2);
  calls = 0, full = 2;
  EXPECT_FALSE(database_->write(Durability::normal, Space::ordinary, body));
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(reserve(), 1u << 20);
  calls = 0;
  ASSERT_OK(database_->write(Durability::normal, Space::reserve, body));
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(reserve(), 0u);
  calls = 0;
  EXPECT_FALSE(database_->write(Durability::normal, Space::reserve, body)) << "it is used up";
  database_->restore_reserve();
  EXPECT_EQ(reserve(), 1u << 20);
}

TEST_F(GraphTest, TheLogKeepsRoomThatNobodyElseCanTake) {
  ASSERT_OK(database_->set_reserve(1 << 20, 2 << 20));
  auto allocated = [&] {
    struct stat st = {};
    EXPECT_EQ(::stat((directory_ + "/db-wal").c_str(), &st), 0);
    return static_cast<uint64_t>(st.st_blocks) * 512;
  };
  EXPECT_GE(allocated(), 2u << 20);
  for (int i = 0; i < 100; i++) add(NodeKind::blob, fmt::format("b{}", i));
  ASSERT_OK(database_->checkpoint());
  EXPECT_GE(allocated(), 2u << 20) << "emptied, and kept";
  EXPECT_TRUE(database_->integrity_check()->empty());
}

class ContentTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-content-XXXXXX";
    root_ = ::mkdtemp(name);
    store_ = ContentStore::open(root_).release();
  }
  void TearDown() override { EXPECT_TRUE(fs::remove_tree(root_)); }
  std::string root_;
  std::unique_ptr<ContentStore> store_;
};

TEST_F(ContentTest, ABlobIsWholeOrAbsent) {
  {
    ContentStore::Writer writer = store_->writer().release();
    ASSERT_OK(writer.write("hel"));
    ASSERT_OK(writer.write("lo"));
    EXPECT_FALSE(store_->contains(Digest::of("hello")));
    EXPECT_THAT(*fs::list_directory(root_ + "/ingest"), SizeIs(1));
    Result<ContentStore::Info> info = writer.commit(Digest::of("hello"));
    ASSERT_OK(info);
    EXPECT_EQ(info->size, 5);
  }
  {
    ContentStore::Writer abandoned = store_->writer().release();
    ASSERT_OK(abandoned.write("x"));
  }
  EXPECT_THAT(*fs::list_directory(root_ + "/ingest"), IsEmpty());
  EXPECT_EQ(*store_->read(Digest::of("hello")), "hello");
  EXPECT_THAT(*store_->list(), SizeIs(1));
  ASSERT_OK(store_->remove(Digest::of("hello")));
  ASSERT_OK(store_->remove(Digest::of("hello")));
  EXPECT_EQ(store_->open_blob(Digest::of("hello")).error().kind(), ErrorKind::not_found);
}

TEST_F(ContentTest, AWrongDigestIsRefusedAndLeavesNothing) {
  ContentStore::Writer writer = store_->writer().release();
  ASSERT_OK(writer.write("hello"));
  Result<ContentStore::Info> info = writer.commit(Digest::of("other"));
  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().kind(), ErrorKind::invalid);
  EXPECT_THAT(info.error().message(), HasSubstr("digest mismatch"));
  EXPECT_THAT(*store_->list(), IsEmpty());
}

TEST_F(ContentTest, WhatACrashLeftIsRemovedAndDamageIsFound) {
  ASSERT_OK(store_->put("hello"));
  ASSERT_OK(fs::write_file(root_ + "/ingest/left", "half"));
  store_ = ContentStore::open(root_).release();
  EXPECT_THAT(*fs::list_directory(root_ + "/ingest"), IsEmpty());
  Digest digest = Digest::of("hello");
  EXPECT_EQ(*store_->verify(digest), ContentStore::Health::sound);
  EXPECT_EQ(*store_->verify(digest, 6), ContentStore::Health::corrupt);
  EXPECT_EQ(*store_->verify(Digest::of("x")), ContentStore::Health::missing);
  ASSERT_OK(fs::write_file(store_->path(digest), "hellp"));
  EXPECT_EQ(*store_->verify(digest), ContentStore::Health::corrupt);
  EXPECT_EQ(store_->read(digest).error().message(),
            "content " + digest.text() + " is damaged on disk");
}

}  // namespace
}  // namespace gantry::graph

// The graph of everything Gantry keeps: nodes, typed edges, unique names, and what follows from
// them (reachability, "why is this on my disk", sizes).
//
// An edge from A to B says "A holds B": as long as A is reachable from a root, B stays. Tags,
// containers, leases, volumes and networks are roots by themselves; an image without a tag is not.
//
//   tag --names--> image --config--> blob          container --uses--> image, layer, volume,
//   network
//                  image --member--> layer         layer --content_of--> blob, layer --parent-->
//                  layer
//   index --member--> image                        build_record --built_from--> image, layer, blob
//
// Writes take the Transaction they belong to. Reads go through a View: of a snapshot
// (graph.read()), which waits for no writer, or of a transaction (graph.read(tx)), which sees its
// own writes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "graph/database.h"

namespace gantry::graph {

// The numbers are stored: never change or reuse one.
enum class NodeKind {
  blob = 1,
  layer = 2,
  image = 3,
  index = 4,
  tag = 5,
  container = 6,
  volume = 7,
  network = 8,
  build_record = 9,
  lease = 10,
};
enum class EdgeKind {
  content_of = 1,
  parent = 2,
  config = 3,
  member = 4,
  names = 5,
  uses = 6,
  built_from = 7,
};
std::string_view to_string(NodeKind kind);  // "blob", …, "build_record"
std::string_view to_string(EdgeKind kind);  // "content_of", …
Result<NodeKind> node_kind_from(std::string_view word);

using NodeId = int64_t;  // local to this database; never shown to users, never reused

struct Node {
  NodeId id = 0;  // 0: not stored yet
  NodeKind kind = NodeKind::blob;
  std::string key;         // unique within its kind: digest, chain id, reference, container id
  std::string data;        // the owner's JSON; "" means {}
  int64_t size = 0;        // bytes on disk that go when the node goes
  int64_t created_at = 0;  // ns since the epoch; put() fills in now when 0
  int64_t used_at = 0;     // ns since the epoch, for keeping policies; put() fills in now when 0
};
struct Edge {
  NodeId from = 0;
  EdgeKind kind = EdgeKind::uses;
  NodeId to = 0;
  int64_t position = 0;  // order among the edges of one kind of one node (layers of an image)
};

// A set of node kinds.
class KindSet {
 public:
  constexpr KindSet() = default;
  constexpr KindSet(std::initializer_list<NodeKind> kinds) {
    for (NodeKind kind : kinds) bits_ |= int64_t{1} << static_cast<int>(kind);
  }
  constexpr bool contains(NodeKind kind) const { return bits_ >> static_cast<int>(kind) & 1; }
  constexpr int64_t bits() const { return bits_; }

 private:
  int64_t bits_ = 0;
};
// What a user's prune may not touch anything below of.
inline constexpr KindSet kRoots = {NodeKind::tag, NodeKind::container, NodeKind::lease,
                                   NodeKind::volume, NodeKind::network};
// What unattended collection keeps: also images that lost their tag and the build cache, until a
// policy or a prune drops them.
inline constexpr KindSet kKept = {NodeKind::tag,    NodeKind::container,   NodeKind::lease,
                                  NodeKind::volume, NodeKind::network,     NodeKind::image,
                                  NodeKind::index,  NodeKind::build_record};

// One way from a root down to a node: steps.front() is the root, steps.back() the node asked about.
struct Chain {
  struct Step {
    Node node;
    std::optional<EdgeKind> edge;  // the edge that leads to the next step; none on the last
  };
  std::vector<Step> steps;
};

struct Usage {
  NodeKind kind = NodeKind::blob;
  int64_t count = 0;
  int64_t size = 0;
  int64_t active = 0;       // reachable from roots
  int64_t reclaimable = 0;  // bytes not reachable from roots
};

// Reads. Not thread-safe; a View of a transaction must not outlive it.
class View {
 public:
  View(View&&) = default;

  Result<Node> get(NodeKind kind, std::string_view key);  // not_found
  Result<Node> get(NodeId id);                            // not_found
  Result<bool> contains(NodeKind kind, std::string_view key);
  // The node whose key is `prefix`, else the only one whose key begins with it. not_found; conflict
  // when several do.
  Result<Node> find_by_key_prefix(NodeKind kind, std::string_view prefix);
  // All of a kind, oldest first.
  Result<std::vector<Node>> list(NodeKind kind);
  Result<int64_t> count(NodeKind kind);

  Result<std::vector<Edge>> out(NodeId from,
                                std::optional<EdgeKind> kind = {});  // by kind, position
  Result<std::vector<Edge>> in(NodeId to, std::optional<EdgeKind> kind = {});
  // The nodes at the other end, in the same order.
  Result<std::vector<Node>> targets(NodeId from, EdgeKind kind);
  Result<std::vector<Node>> holders(NodeId to, EdgeKind kind);

  // Names (see Graph::claim_name).
  Result<Node> get_by_name(NodeKind kind, std::string_view name);  // not_found
  Result<std::vector<std::string>> names(NodeId node);             // sorted
  Result<std::vector<std::pair<std::string, NodeId>>> all_names(NodeKind kind);

  // Nodes of `kinds` that no node of `roots` reaches, holders before what they hold: removing in
  // this order never removes something that is still held. `limit` 0: all.
  Result<std::vector<Node>> unreachable(KindSet roots, KindSet kinds, int64_t limit = 0);
  Result<bool> reachable(NodeId node, KindSet roots = kRoots);
  // Everything `node` holds, itself included.
  Result<std::vector<Node>> closure(NodeId node);
  // The chains that hold `node`, shortest first, at most `limit`. Empty: nothing holds it.
  Result<std::vector<Chain>> why(NodeId node, KindSet roots = kRoots, size_t limit = 16);
  Result<std::vector<Node>> roots(KindSet roots = kRoots);
  Result<std::vector<Usage>> usage(KindSet roots = kRoots);

  // A value of the table of settings (instance id, ...); "" when unset.
  Result<std::string> setting(std::string_view key);

 private:
  friend class Graph;
  explicit View(Result<Snapshot> snapshot);
  explicit View(Connection& connection) : connection_(&connection) {}
  Result<Connection*> connection();

  std::optional<Snapshot> snapshot_;
  std::optional<Error> error_;
  Connection* connection_ = nullptr;
};

// Thread-safe (state is in the database alone).
class Graph {
 public:
  explicit Graph(Database& database) : database_(&database) {}

  Database& database() const { return *database_; }
  View read() const { return View(database_->read()); }
  View read(Transaction& tx) const { return View(tx.connection()); }

  // Inserts, or replaces data, size and used_at of the node with this kind and key.
  Result<NodeId> put(Transaction& tx, const Node& node) const;
  // Inserts; conflict when the key exists.
  Result<NodeId> insert(Transaction& tx, const Node& node) const;
  Status set_data(Transaction& tx, NodeId id, std::string_view data) const;  // not_found
  Status touch(Transaction& tx, NodeId id) const;                            // used_at = now
  // Removes the node, its names and the edges that leave it. conflict while another node holds it.
  Status remove(Transaction& tx, NodeId id) const;

  Status link(Transaction& tx, NodeId from, EdgeKind kind, NodeId to, int64_t position = 0) const;
  Status unlink(Transaction& tx, NodeId from, EdgeKind kind, NodeId to) const;
  Status unlink_all(Transaction& tx, NodeId from, EdgeKind kind) const;

  // Gives `node` the name, which is unique among its kind. conflict when another node has it; the
  // error's message then is the key of that node (for "already in use by container …").
  Status claim_name(Transaction& tx, NodeKind kind, std::string_view name, NodeId node) const;
  Status rename(Transaction& tx, NodeKind kind, std::string_view from, std::string_view to) const;
  Status release_name(Transaction& tx, NodeKind kind, std::string_view name) const;

  Status set_setting(Transaction& tx, std::string_view key, std::string_view value) const;

 private:
  Database* database_;
};

}  // namespace gantry::graph

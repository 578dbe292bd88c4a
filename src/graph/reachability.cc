// Questions about what holds what: one recursive query, asked in several ways.
#include <deque>
#include <unordered_map>

#include "graph/graph.h"
#include "graph/rows.h"

namespace gantry::graph {
namespace {

// Everything that the nodes of the kinds in ?1 (a bit each) reach, themselves included.
#define GANTRY_LIVE                                                         \
  "WITH RECURSIVE live(id) AS (SELECT id FROM node WHERE (?1 >> kind) & 1 " \
  "UNION SELECT edge.dst FROM live JOIN edge ON edge.src=live.id) "

constexpr size_t kMaxPaths = 10'000;  // of which why() follows at most so many

}  // namespace

Result<std::vector<Node>> View::unreachable(KindSet roots, KindSet kinds, int64_t limit) {
  Connection* db = TRY(connection());
  Statement rows =
      TRY(db->query(GANTRY_LIVE "SELECT id, kind, key, data, size, created_at, used_at FROM node "
                                "WHERE id NOT IN live ORDER BY used_at, id",
                    roots.bits()));
  std::vector<Node> dead = TRY(all_nodes(std::move(rows)));
  if (dead.empty()) return dead;

  // Holders of a dead node are dead. Take nodes none of which is held any more; one that may not go
  // keeps what it holds.
  std::unordered_map<NodeId, size_t> held_by;
  std::unordered_map<NodeId, std::vector<NodeId>> holds;
  Statement edges = TRY(db->query(
      GANTRY_LIVE "SELECT DISTINCT src, dst FROM edge WHERE src NOT IN live", roots.bits()));
  while (TRY(edges.step())) {
    holds[edges.integer(0)].push_back(edges.integer(1));
    ++held_by[edges.integer(1)];
  }
  std::unordered_map<NodeId, size_t> index;
  std::deque<size_t> free;
  for (size_t i = 0; i < dead.size(); ++i) {
    index[dead[i].id] = i;
    if (!held_by.contains(dead[i].id)) free.push_back(i);
  }
  std::vector<Node> order;
  while (!free.empty() && (limit == 0 || order.size() < static_cast<size_t>(limit))) {
    Node& node = dead[free.front()];
    free.pop_front();
    if (!kinds.contains(node.kind)) continue;
    for (NodeId below : holds[node.id])
      if (--held_by[below] == 0 && index.contains(below)) free.push_back(index[below]);
    order.push_back(std::move(node));
  }
  return order;
}

Result<bool> View::reachable(NodeId node, KindSet roots) {
  Connection* db = TRY(connection());
  // Upwards from the node: a few steps, where the whole live set may be large.
  Statement row = TRY(
      db->query("WITH RECURSIVE up(id) AS (SELECT ?2 UNION SELECT edge.src FROM up JOIN edge ON "
                "edge.dst=up.id) "
                "SELECT 1 FROM up JOIN node ON node.id=up.id WHERE (?1 >> node.kind) & 1 LIMIT 1",
                roots.bits(), node));
  return row.step();
}

Result<std::vector<Node>> View::closure(NodeId node) {
  Connection* db = TRY(connection());
  Statement rows = TRY(db->query(
      "WITH RECURSIVE below(id) AS (SELECT ?1 UNION SELECT edge.dst FROM below JOIN edge ON "
      "edge.src=below.id) SELECT n.id, n.kind, n.key, n.data, n.size, n.created_at, n.used_at "
      "FROM below JOIN node n ON n.id=below.id",
      node));
  return all_nodes(std::move(rows));
}

Result<std::vector<Node>> View::roots(KindSet roots) {
  Connection* db = TRY(connection());
  Statement rows = TRY(db->query(
      "SELECT id, kind, key, data, size, created_at, used_at FROM node WHERE (?1 >> kind) & 1 "
      "ORDER BY kind, key",
      roots.bits()));
  return all_nodes(std::move(rows));
}

Result<std::vector<Chain>> View::why(NodeId node, KindSet roots, size_t limit) {
  // A path is a list of steps from the node upwards; breadth first finds the shortest first.
  struct Path {
    size_t parent;  // index of the path this one extends
    NodeId at;
    EdgeKind edge;  // from `at` to the node of the parent path
    size_t length;
  };
  constexpr size_t kNone = static_cast<size_t>(-1);
  Node start = TRY(get(node));
  std::vector<Path> paths = {{kNone, start.id, EdgeKind::uses, 1}};
  std::unordered_map<NodeId, Node> nodes;
  nodes.emplace(start.id, std::move(start));
  std::vector<Chain> chains;
  for (size_t i = 0; i < paths.size() && chains.size() < limit; ++i) {
    const Path path = paths[i];
    if (roots.contains(nodes.at(path.at).kind)) {
      Chain chain;
      for (size_t p = i; p != kNone; p = paths[p].parent) {
        Chain::Step step{nodes.at(paths[p].at), {}};
        if (paths[p].parent != kNone) step.edge = paths[p].edge;
        chain.steps.push_back(std::move(step));
      }
      chains.push_back(std::move(chain));
      // A root that something else holds (a volume that a container uses) is asked about further
      // only when it is the subject.
      if (path.parent != kNone) continue;
    }
    std::vector<Edge> holders = TRY(in(path.at));
    for (const Edge& edge : holders) {
      if (paths.size() >= kMaxPaths) break;
      if (!nodes.contains(edge.from)) {
        Node holder = TRY(get(edge.from));
        nodes.emplace(edge.from, std::move(holder));
      }
      bool cycle = false;
      for (size_t p = i; p != kNone && !cycle; p = paths[p].parent)
        cycle = paths[p].at == edge.from;
      // The same two nodes may be joined by several edges of one kind (a layer twice in an image).
      bool again = paths.back().parent == i && paths.back().at == edge.from &&
                   paths.back().edge == edge.kind;
      if (!cycle && !again) paths.push_back({i, edge.from, edge.kind, path.length + 1});
    }
  }
  return chains;
}

Result<std::vector<Usage>> View::usage(KindSet roots) {
  Connection* db = TRY(connection());
  Statement rows = TRY(
      db->query(GANTRY_LIVE
                "SELECT kind, count(*), sum(size), sum(id IN live), sum(iif(id IN live, 0, size)) "
                "FROM node GROUP BY kind ORDER BY kind",
                roots.bits()));
  std::vector<Usage> usage;
  while (TRY(rows.step()))
    usage.push_back({static_cast<NodeKind>(rows.integer(0)), rows.integer(1), rows.integer(2),
                     rows.integer(3), rows.integer(4)});
  return usage;
}

}  // namespace gantry::graph

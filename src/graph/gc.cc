#include "graph/gc.h"

#include <algorithm>
#include <unordered_set>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"

namespace gantry::graph {
namespace {

// The nodes of one kind that must stay although no root reaches them: newest first, as long as no
// limit is broken. `dead` tells what no root reaches.
Result<std::unordered_set<NodeId>> kept_of_kind(View& view, std::vector<const Node*> candidates,
                                                const Keep& keep, int64_t now,
                                                const std::unordered_set<NodeId>& dead) {
  std::sort(candidates.begin(), candidates.end(),
            [](const Node* a, const Node* b) { return a->used_at > b->used_at; });
  std::unordered_set<NodeId> kept, counted;
  int64_t bytes = 0;
  for (const Node* node : candidates) {
    if (keep.age_ns && now - node->used_at > *keep.age_ns) break;
    if (keep.count && static_cast<int64_t>(kept.size()) >= *keep.count) break;
    if (keep.bytes) {
      std::vector<Node> below = TRY(view.closure(node->id));
      for (const Node& held : below)
        if (dead.contains(held.id) && counted.insert(held.id).second) bytes += held.size;
      if (bytes > *keep.bytes) break;
    }
    kept.insert(node->id);
  }
  return kept;
}

}  // namespace

Result<Collector> Collector::plan(const Graph& graph, const ContentStore* content,
                                  CollectOptions options) {
  Collector collector(graph, content, std::move(options));
  const CollectOptions& how = collector.options_;
  int64_t now = now_ns();
  View view = graph.read();
  std::vector<Node> order = TRY(view.unreachable(how.roots, how.kinds));
  std::unordered_set<NodeId> dead, kept;
  for (const Node& node : order) dead.insert(node.id);
  for (const auto& [kind, keep] : how.keep) {
    std::vector<const Node*> candidates;
    for (const Node& node : order)
      if (node.kind == kind) candidates.push_back(&node);
    if (candidates.empty()) continue;
    kept.merge(TRY(kept_of_kind(view, std::move(candidates), keep, now, dead)));
  }
  for (const Node& node : order)
    if (now - node.used_at < how.grace_ns) kept.insert(node.id);

  // What is kept keeps what it holds. Holders come first, so one pass finds all of it.
  for (Node& node : order) {
    if (kept.contains(node.id)) {
      std::vector<Edge> edges = TRY(view.out(node.id));
      for (const Edge& edge : edges) kept.insert(edge.to);
    } else {
      collector.plan_.push_back(std::move(node));
    }
  }
  return collector;
}

Result<bool> Collector::remove(Transaction& tx, const Node& node,
                               std::vector<std::string>& discarded) {
  View view = graph_.read(tx);
  Result<Node> current = view.get(node.id);
  if (!current) {
    if (current.error().kind() == ErrorKind::not_found) return false;
    return std::move(current).error();
  }
  // Used again since the plan was made?
  if (current->used_at != node.used_at) return false;
  std::vector<Edge> holders = TRY(view.in(node.id));
  if (!holders.empty()) return false;
  TRY(graph_.remove(tx, node.id));
  if (node.kind != NodeKind::blob || !content_) return true;
  Result<Digest> digest = Digest::parse(node.key);
  if (!digest) return true;
  // Inside the transaction: whoever puts the node again afterwards finds no file and writes it
  // anew.
  std::string name = TRY(content_->discard(*digest));
  if (!name.empty()) discarded.push_back(std::move(name));
  return true;
}

Result<std::vector<Node>> Collector::step(const Also& also) {
  size_t end = std::min(plan_.size(), next_ + std::max<size_t>(options_.batch, 1));
  std::vector<Node> gone;
  std::vector<std::string> discarded;
  TRY(failpoint("gc.step"));
  Status status =
      graph_.database().write(Durability::normal, Space::reserve, [&](Transaction& tx) -> Status {
        gone.clear();
        for (size_t i = next_; i < end; ++i) {
          bool removed = TRY(remove(tx, plan_[i], discarded));
          if (removed) gone.push_back(plan_[i]);
        }
        if (also && !gone.empty()) TRY(also(tx, gone));
        return failpoint("gc.commit");
      });
  if (!status) {
    // The nodes are there again; nothing reaches them, and the next collection removes them.
    for (const std::string& name : discarded) content_->purge(name);
    return std::move(status).error();
  }
  next_ = end;
  (void)failpoint("gc.purge");
  for (const std::string& name : discarded) content_->purge(name);
  return gone;
}

}  // namespace gantry::graph

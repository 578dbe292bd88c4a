// Collection of what nothing holds any more, in small transactions beside everything else.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "graph/content_store.h"
#include "graph/graph.h"

namespace gantry::graph {

// How long something that no root reaches is kept all the same. What breaks any of the limits goes,
// the longest unused first.
struct Keep {
  std::optional<int64_t> age_ns;  // unused for longer than this
  std::optional<int64_t> count;   // more than so many of its kind
  std::optional<int64_t> bytes;   // of their closures that no root reaches, taken together
};
inline constexpr Keep kKeepNothing = {.age_ns = 0, .count = 0, .bytes = 0};
inline constexpr int64_t kDay = int64_t{86'400} * 1'000'000'000;

struct CollectOptions {
  // Kinds with an entry here are kept within its limits, other collectable kinds not at all. By
  // default an image that lost its tag stays until a prune, the build cache within two weeks, 2,000
  // records, 20 GiB.
  std::map<NodeKind, Keep> keep = {
      {NodeKind::image, {}},
      {NodeKind::index, {}},
      {NodeKind::build_record, {.age_ns = 14 * kDay, .count = 2000, .bytes = int64_t{20} << 30}}};
  KindSet kinds = {NodeKind::blob, NodeKind::layer, NodeKind::image, NodeKind::index,
                   NodeKind::build_record};
  KindSet roots = kRoots;
  // Younger ones are left alone: someone may be about to link them.
  int64_t grace_ns = int64_t{600} * 1'000'000'000;
  size_t batch = 64;  // nodes a transaction
};

// One collection: planned from a snapshot, carried out step by step. A node is removed only if
// nothing holds it at that moment, so what is linked in the meantime stays. Not thread-safe.
//
//   Collector collector = TRY(Collector::plan(graph, &content, options));
//   while (!collector.finished()) {
//     std::vector<Node> gone = TRY(collector.step(also));
//   }
class Collector {
 public:
  // `content` (borrowed, may be null) loses the files of the blobs removed.
  static Result<Collector> plan(const Graph& graph, const ContentStore* content,
                                CollectOptions options);

  bool finished() const { return next_ >= plan_.size(); }
  // One transaction, which `also` joins with the nodes removed (marking what belongs to them for
  // release). Gives the nodes removed; those whose holder stayed are passed over.
  using Also = std::function<Status(Transaction&, const std::vector<Node>&)>;
  Result<std::vector<Node>> step(const Also& also = {});
  // For a dry run.
  const std::vector<Node>& planned() const { return plan_; }

 private:
  Collector(const Graph& graph, const ContentStore* content, CollectOptions options)
      : graph_(graph), content_(content), options_(std::move(options)) {}
  Result<bool> remove(Transaction& tx, const Node& node, std::vector<std::string>& discarded);

  Graph graph_;
  const ContentStore* content_;
  CollectOptions options_;
  std::vector<Node> plan_;  // holders before what they hold
  size_t next_ = 0;
};

}  // namespace gantry::graph

#include "graph/check.h"

#include <algorithm>

#include "base/log.h"

namespace gantry::graph {

Result<std::vector<std::string>> needed_by(View& view, NodeId id) {
  std::vector<std::string> out;
  std::vector<Chain> chains =
      TRY(view.why(id, {NodeKind::tag, NodeKind::container, NodeKind::image}));
  for (const Chain& chain : chains) {
    const Node& root = chain.steps.front().node;
    out.push_back(fmt::format("{} {}", to_string(root.kind), root.key));
    // An image is told by its tags where it has any.
    std::vector<Node> tags = TRY(view.holders(root.id, EdgeKind::names));
    for (const Node& tag : tags) out.back() = fmt::format("{} {}", to_string(tag.kind), tag.key);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::string_view to_string(ContentFinding::What what) {
  switch (what) {
    case ContentFinding::What::missing:
      return "missing";
    case ContentFinding::What::corrupt:
      return "corrupt";
  }
  return "unknown";
}

Result<std::vector<ContentFinding>> check_content(const Graph& graph, const ContentStore& content,
                                                  CheckMode mode, ReadContent read,
                                                  const std::function<Status()>& look_at) {
  std::vector<ContentFinding> findings;
  std::vector<Node> blobs = TRY(graph.read().list(NodeKind::blob));
  for (const Node& blob : blobs) {
    if (look_at) TRY(look_at());
    Result<Digest> digest = Digest::parse(blob.key);
    if (!digest) continue;
    ContentStore::Health health = ContentStore::Health::sound;
    if (read == ReadContent::yes)
      health = TRY(content.verify(*digest));
    else if (!content.contains(*digest))
      health = ContentStore::Health::missing;
    if (health == ContentStore::Health::sound) continue;
    View view = graph.read();
    // Collected while it was being read?
    bool there = TRY(view.contains(NodeKind::blob, blob.key));
    if (!there) continue;
    ContentFinding finding;
    finding.what = health == ContentStore::Health::missing ? ContentFinding::What::missing
                                                           : ContentFinding::What::corrupt;
    finding.digest = blob.key;
    finding.needed_by = TRY(needed_by(view, blob.id));
    if (mode == CheckMode::repair && health == ContentStore::Health::corrupt) {
      // Absent is better than wrong: the next load or pull writes it again.
      TRY(content.remove(*digest));
      finding.repaired = true;
    }
    findings.push_back(std::move(finding));
  }
  return findings;
}

}  // namespace gantry::graph

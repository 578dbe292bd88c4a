// Is what the graph says of images true of the disk?
#include <cerrno>
#include <set>

#include "drivers/graph/layer_directories.h"
#include "engine/engine.h"
#include "graph/check.h"
#include "image/local_store.h"
#include "image/measured.h"
#include "image/platform.h"

namespace gantry::image {

using graph::Node;
using graph::NodeKind;

Result<LocalStore::Archived> LocalStore::measure_layer(engine::JobContext& job,
                                                       const Digest& chain_id) {
  std::unique_ptr<ByteSource> archive = TRY(driver_->read_layer(chain_id));
  Measured measured(*archive, job);
  TRY(discard_all(measured));
  return Archived{measured.finish(), measured.size()};
}

Result<std::optional<StoreFinding>> LocalStore::check_layer(engine::JobContext& job,
                                                            graph::View& view, const Node& layer,
                                                            const CheckOptions& options) {
  using What = StoreFinding::What;
  std::optional<StoreFinding> none;
  StoreFinding finding;
  finding.kind = "layer";
  finding.key = layer.key;
  Result<Digest> parsed = Digest::parse(layer.key);
  Result<LayerData> data = json::parse<LayerData>(layer.data);
  if (!parsed || !data) {
    finding.detail = "its record cannot be read";
    finding.needed_by = TRY(graph::needed_by(view, layer.id));
    return std::optional(std::move(finding));
  }
  const Digest& chain_id = *parsed;
  bool complete = TRY(driver_->directories().complete(chain_id));
  if (!complete) {
    finding.detail = "its directory, or that of a layer below it, is not there";
    finding.needed_by = TRY(graph::needed_by(view, layer.id));
    return std::optional(std::move(finding));
  }
  if (!options.read) return none;
  Result<Archived> found = measure_layer(job, chain_id);
  if (!found && found.error().kind() == ErrorKind::cancelled) return std::move(found).error();
  bool same = found && found->digest.text() == data->diff_id;
  Status beside = same ? driver_->check_layer(chain_id) : Status();
  if (same && beside) return none;
  finding.what = What::corrupt;
  finding.detail = !found ? found.error().message()
                   : same ? beside.error().message()
                          : fmt::format("its archive has the digest {}, not {}",
                                        found->digest.text(), data->diff_id);
  finding.needed_by = TRY(graph::needed_by(view, layer.id));
  // A disk that fails to be read says nothing of what is on it.
  const Error* failure = !found ? &found.error() : !beside ? &beside.error() : nullptr;
  bool unreadable = failure && failure->code() != 0 && failure->code() != ENOENT;
  if (!options.repair || unreadable) return std::optional(std::move(finding));
  bool in_use = TRY(view.reachable(layer.id, {NodeKind::container}));
  if (in_use) {
    finding.detail += "; it stays for as long as a container stands on it";
    return std::optional(std::move(finding));
  }
  TRY(job.release_owned("layer:" + layer.key));
  TRY(job.commit_now());
  finding.repaired = true;
  return std::optional(std::move(finding));
}

Result<std::vector<StoreFinding>> LocalStore::check(engine::JobContext& job,
                                                    const CheckOptions& options) {
  std::vector<StoreFinding> out;
  std::vector<graph::ContentFinding> blobs = TRY(graph::check_content(
      graph_, content_, options.repair ? graph::CheckMode::repair : graph::CheckMode::look,
      options.read ? graph::ReadContent::yes : graph::ReadContent::no,
      [&] { return job.check(); }));
  for (graph::ContentFinding& blob : blobs) {
    StoreFinding finding;
    finding.what = blob.what == graph::ContentFinding::What::missing ? StoreFinding::What::missing
                                                                     : StoreFinding::What::corrupt;
    finding.kind = "blob";
    finding.key = std::move(blob.digest);
    finding.needed_by = std::move(blob.needed_by);
    finding.repaired = blob.repaired;
    out.push_back(std::move(finding));
  }
  std::vector<Node> layers = TRY(graph_.read().list(NodeKind::layer));
  for (const Node& layer : layers) {
    TRY(job.check());
    graph::View view = graph_.read();
    std::optional<StoreFinding> finding = TRY(check_layer(job, view, layer, options));
    if (!finding) continue;
    // Removed while it was looked at?
    bool there = TRY(graph_.read().contains(NodeKind::layer, layer.key));
    if (there) out.push_back(std::move(*finding));
  }
  return out;
}

Result<std::vector<ImageSource>> LocalStore::sources_of(const StoreFinding& finding) const {
  std::vector<ImageSource> out;
  graph::View view = graph_.read();
  Result<Node> node =
      view.get(finding.kind == "layer" ? NodeKind::layer : NodeKind::blob, finding.key);
  if (!node) return out;
  std::vector<graph::Chain> chains = TRY(view.why(node->id, {NodeKind::tag, NodeKind::image}));
  std::set<graph::NodeId> images;
  for (const graph::Chain& chain : chains) {
    const Node& root = chain.steps.front().node;
    if (root.kind == NodeKind::image) images.insert(root.id);
    // An index is held by the reference by digest alone.
    std::vector<Node> named = TRY(view.targets(root.id, graph::EdgeKind::names));
    for (const Node& image : named)
      if (root.kind == NodeKind::tag) images.insert(image.id);
  }
  for (graph::NodeId id : images) {
    Node image = TRY(view.get(id));
    ImageRecord record = TRY(json::parse<ImageRecord>(image.data));
    std::vector<Reference> names = TRY(references(view, id));
    for (const Reference& name : names)
      if (!name.digest().empty())
        out.push_back({name, to_string(Platform{record.architecture, record.os, record.variant})});
  }
  return out;
}

Result<bool> LocalStore::is_here(const StoreFinding& finding) const {
  Digest digest = TRY(Digest::parse(finding.key));
  if (finding.kind == "layer") return driver_->directories().complete(digest);
  return content_.contains(digest);
}

}  // namespace gantry::image

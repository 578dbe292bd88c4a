// Is what the graph says of images true of the disk?
#include "drivers/graph/layer_directories.h"
#include "engine/engine.h"
#include "graph/check.h"
#include "image/local_store.h"

namespace gantry::image {

using graph::Node;
using graph::NodeKind;

namespace {

// The digest of the archive that the layer was made from, as it is made again from the layer's
// files.
Result<Digest> digest_of_archive(engine::JobContext& job, drivers::GraphDriver& driver,
                                 const Digest& chain_id) {
  std::unique_ptr<ByteSource> archive = TRY(driver.read_layer(chain_id));
  Sha256 hash;
  std::string buffer(256u << 10, '\0');
  for (;;) {
    TRY(job.check());
    size_t size = TRY(archive->read(buffer));
    if (size == 0) return hash.finish();
    hash.update({buffer.data(), size});
  }
}

}  // namespace

Result<std::optional<StoreFinding>> LocalStore::check_layer(engine::JobContext& job,
                                                            graph::View& view, const Node& layer,
                                                            const CheckOptions& options) {
  using What = StoreFinding::What;
  std::optional<StoreFinding> none;
  StoreFinding finding;
  finding.kind = "layer";
  finding.key = layer.key;
  Digest chain_id = TRY(Digest::parse(layer.key));
  bool complete = TRY(driver_->directories().complete(chain_id));
  if (!complete) {
    finding.detail = "its directory, or that of a layer below it, is not there";
    finding.needed_by = TRY(graph::needed_by(view, layer.id));
    return std::optional(std::move(finding));
  }
  if (!options.read) return none;
  LayerData data = TRY(json::parse<LayerData>(layer.data));
  Result<Digest> found = digest_of_archive(job, *driver_, chain_id);
  if (!found && found.error().kind() == ErrorKind::cancelled) return std::move(found).error();
  if (found && found->text() == data.diff_id) return none;
  finding.what = What::corrupt;
  finding.detail = found ? fmt::format("its files make an archive of the digest {}, not {}",
                                       found->text(), data.diff_id)
                         : found.error().message();
  finding.needed_by = TRY(graph::needed_by(view, layer.id));
  if (!options.repair) return std::optional(std::move(finding));
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

}  // namespace gantry::image

// Images made again from what is on the disk, for a database that was lost or is not whole.
#include "base/log.h"
#include "drivers/graph/layer_directories.h"
#include "engine/engine.h"
#include "image/local_store.h"

namespace gantry::image {

using graph::Node;
using graph::NodeKind;

namespace {

constexpr size_t kMaxConfig = 8u << 20;

bool has_row(engine::JobContext& job, std::string_view kind, std::string_view name) {
  return job.engine().resources().get(kind, name).has_value();
}

}  // namespace

// Layers that the graph has, or that are on the disk, whole and what their diff ids say.
Result<bool> LocalStore::find_layers(engine::JobContext& job, Addition& addition) {
  graph::View view = graph_.read();
  for (size_t i = 0; i < addition.chain.size(); ++i) {
    const Digest& chain_id = addition.chain[i];
    bool complete = TRY(driver_->directories().complete(chain_id));
    if (!complete) return false;
    bool known = TRY(view.contains(NodeKind::layer, chain_id.text()));
    if (known) continue;
    Result<Archived> archived = measure_layer(job, chain_id);
    if (!archived && archived.error().kind() == ErrorKind::cancelled)
      return std::move(archived).error();
    const std::string& diff_id = addition.config.rootfs.diff_ids[i];
    if (!archived || archived->digest.text() != diff_id) return false;
    auto record = TRY(driver_->directories().find(chain_id));
    Addition::NewLayer layer;
    layer.chain_id = chain_id;
    if (i > 0) layer.parent = addition.chain[i - 1];
    layer.data = {diff_id, record->directory, archived->size};
    layer.size = static_cast<int64_t>(record->size);
    addition.new_layers.push_back(std::move(layer));
  }
  return true;
}

Result<Rebuilt> LocalStore::rebuild(engine::JobContext& job) {
  TRY(lock(job));
  Rebuilt out;
  std::vector<Node> blobs = TRY(graph_.read().list(NodeKind::blob));
  for (const Node& blob : blobs) {
    TRY(job.check());
    Result<Digest> parsed = Digest::parse(blob.key);
    if (!parsed || !content_.contains(*parsed)) continue;
    const Digest& id = *parsed;
    if (!has_row(job, kBlobKind, blob.key))
      TRY(job.adopt({{std::string(kBlobKind), blob.key, "blob:" + blob.key, ""}}));
    bool known = TRY(graph_.read().contains(NodeKind::image, blob.key));
    if (known || blob.size > static_cast<int64_t>(kMaxConfig)) continue;
    Result<std::string> text = content_.read(id, kMaxConfig);
    Result<ImageConfig> config =
        text ? ImageConfig::parse(*text) : Result<ImageConfig>(std::move(text).error());
    if (!config || config->os.empty()) continue;  // not the configuration of an image
    Addition addition;
    addition.id = id;
    addition.config = config.release();
    addition.config_size = blob.size;
    Result<std::vector<Digest>> chain = chain_ids(addition.config.rootfs.diff_ids);
    if (!chain) continue;
    addition.chain = chain.release();
    bool whole = TRY(find_layers(job, addition));
    if (!whole) {
      out.incomplete.push_back(blob.key);
      continue;
    }
    std::vector<engine::Resource> rows;
    for (const Addition::NewLayer& layer : addition.new_layers)
      if (!has_row(job, drivers::kLayerKind, layer.data.directory))
        rows.push_back({std::string(drivers::kLayerKind), layer.data.directory,
                        "layer:" + layer.chain_id.text(), ""});
    TRY(job.adopt(std::move(rows),
                  [&](graph::Transaction& tx) { return write_addition(tx, addition); }));
    out.images.push_back(blob.key);
  }
  // Rows that were lost although their nodes were not.
  std::vector<Node> layers = TRY(graph_.read().list(NodeKind::layer));
  for (const Node& layer : layers) {
    Result<LayerData> data = json::parse<LayerData>(layer.data);
    if (!data || has_row(job, drivers::kLayerKind, data->directory) ||
        !driver_->directories().layer_exists(data->directory))
      continue;
    TRY(job.adopt({{std::string(drivers::kLayerKind), data->directory, "layer:" + layer.key, ""}}));
  }
  return out;
}

}  // namespace gantry::image

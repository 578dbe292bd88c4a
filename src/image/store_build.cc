// What a build makes: layers, and the image that is made of them.
#include <fcntl.h>

#include "base/failpoint.h"
#include "base/sys.h"
#include "drivers/graph/layer_directories.h"
#include "engine/engine.h"
#include "image/layer_spool.h"
#include "image/local_store.h"

namespace gantry::image {

Result<BuiltLayer> LocalStore::add_layer(engine::JobContext& job, const Digest& parent,
                                         const std::function<Status(ByteSink&)>& write_layer) {
  TRY(failpoint("image.layer.spool"));
  UniqueFd file = TRY(sys::open(temporary_directory_, O_TMPFILE | O_RDWR, 0600));
  LayerSpool spool(file.get(), job);
  TRY(write_layer(spool));
  BuiltLayer built;
  built.chain_id = parent;
  Digest diff_id = TRY(spool.finish());
  TRY(failpoint("image.layer.spooled"));
  if (spool.size() <= kEmptyArchive) return built;

  TRY(lock(job));
  Addition addition;
  LayerInput input;
  input.parent = parent;
  input.diff_id = diff_id;
  input.chain_id = parent.empty() ? diff_id : chain_id(parent, diff_id);
  input.compressed_size = static_cast<int64_t>(spool.size());
  FileRangeSource layer(file.get(), 0, spool.size());
  TRY(add_layer(job, input, layer, addition));
  built.chain_id = input.chain_id;
  built.diff_id = diff_id;
  if (addition.new_layers.empty()) {  // it is here already
    graph::Node known = TRY(graph_.read().get(graph::NodeKind::layer, built.chain_id.text()));
    built.size = known.size;
    return built;
  }
  built.size = addition.new_layers.front().size;
  TRY(failpoint("image.layer.sync"));
  TRY(drivers::sync(*driver_));
  job.on_commit([this, addition = std::move(addition)](graph::Transaction& tx) {
    return write_layers(tx, addition);
  });
  return built;
}

Result<std::optional<BuiltLayer>> LocalStore::find_layer(const Digest& chain_id) const {
  Result<graph::Node> node = graph_.read().get(graph::NodeKind::layer, chain_id.text());
  if (!node && node.error().kind() == ErrorKind::not_found) return std::optional<BuiltLayer>();
  if (!node) return std::move(node).error();
  const bool complete = TRY(driver_->directories().complete(chain_id));
  if (!complete) return std::optional<BuiltLayer>();
  LayerData data = TRY(json::parse<LayerData>(node->data));
  BuiltLayer layer;
  layer.chain_id = chain_id;
  layer.diff_id = TRY(Digest::parse(data.diff_id));
  layer.size = node->size;
  return std::optional<BuiltLayer>(std::move(layer));
}

Result<Digest> LocalStore::build(engine::JobContext& job, const BuildOptions& options) {
  Addition addition;
  addition.config = options.config;
  addition.config.rootfs.type = "layers";
  addition.parent = options.parent;
  addition.names = options.names;
  addition.made_here = true;
  TRY(failpoint("image.build.lock"));
  TRY(lock(job));
  addition.chain = TRY(chain_ids(addition.config.rootfs.diff_ids));
  TRY(put_config(job, json::dump(addition.config), addition));
  Digest id = addition.id;
  std::vector<Addition> additions;
  additions.push_back(std::move(addition));
  TRY(add_images(job, std::move(additions)));
  return id;
}

}  // namespace gantry::image

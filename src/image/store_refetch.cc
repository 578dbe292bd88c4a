// One layer, or the compressed form of one that is kept, from where it was first seen: without an
// image that could be pulled for it.
#include <algorithm>

#include "base/failpoint.h"
#include "drivers/graph/layer_directories.h"
#include "engine/engine.h"
#include "image/layer_fetcher.h"
#include "image/local_store.h"

namespace gantry::image {

using graph::EdgeKind;
using graph::Node;
using graph::NodeKind;

// One job.
class LayerRefetcher {
 public:
  LayerRefetcher(LocalStore& store, engine::JobContext& job, const RemoteOpener& open,
                 const PullOptions& options)
      : store_(store), job_(job), open_(open), options_(options) {
    options_.keep_compressed = false;
    options_.keep_partial_from = std::numeric_limits<int64_t>::max();
  }
  ~LayerRefetcher() { store_.claims_.release(claimed_); }

  Result<Refetched> run(const StoreFinding& finding) {
    const bool blob = finding.kind == "blob";
    std::optional<Node> layer = TRY(layer_of(finding, blob));
    if (!layer) return std::move(out_);
    LayerData data = TRY(json::parse<LayerData>(layer->data));
    for (const LayerBlob& form : data.blobs) {
      if (blob && form.digest != finding.key) continue;
      for (const std::string& source : form.sources) {
        TRY(job_.check());
        Status fetched = blob ? bring_blob(form, source) : bring_layer(*layer, data, form, source);
        if (fetched) {
          out_.from = source + "@" + form.digest;
          return std::move(out_);
        }
        TRY(job_.check());  // told as the cancellation that it is
        out_.failures.push_back(source + ": " + fetched.error().message());
      }
    }
    return std::move(out_);
  }

 private:
  Result<std::optional<Node>> layer_of(const StoreFinding& finding, bool blob) {
    graph::View view = store_.graph_.read();
    Result<Node> found = view.get(blob ? NodeKind::blob : NodeKind::layer, finding.key);
    if (!found) return std::optional<Node>();
    if (!blob) return std::optional<Node>(found.release());
    std::vector<Node> holders = TRY(view.holders(found->id, EdgeKind::content_of));
    for (Node& holder : holders)
      if (holder.kind == NodeKind::layer) return std::optional<Node>(std::move(holder));
    return std::optional<Node>();
  }

  static Descriptor descriptor_of(const LayerBlob& form) {
    Descriptor out;
    out.media_type = form.media_type;
    out.digest = form.digest;
    out.size = form.size;
    return out;
  }

  Status bring_blob(const LayerBlob& form, const std::string& source) {
    Digest digest = TRY(Digest::parse(form.digest));
    std::unique_ptr<RemoteRepository> remote = TRY(open_(source));
    std::unique_ptr<ByteSource> bytes = TRY(remote->blob(descriptor_of(form), 0));
    engine::Resource row;
    row.kind = kBlobKind;
    row.name = digest.text();
    row.owner = "blob:" + digest.text();
    Status taken = job_.take({row});
    if (!taken && taken.error().kind() != ErrorKind::conflict) return taken;
    graph::ContentStore::Writer keep = TRY(store_.content_.writer());
    std::vector<char> buffer(256 << 10);
    for (;;) {
      TRY(job_.check());
      size_t got = TRY(bytes->read(buffer));
      if (got == 0) break;
      TRY(keep.write({buffer.data(), got}));
    }
    TRY(keep.commit(digest));
    return {};
  }

  Status bring_layer(const Node& layer, const LayerData& data, const LayerBlob& form,
                     const std::string& source) {
    WantedLayer wanted;
    wanted.blob = descriptor_of(form);
    wanted.digest = TRY(Digest::parse(form.digest));
    wanted.diff_id = TRY(Digest::parse(data.diff_id));
    wanted.chain_id = TRY(Digest::parse(layer.key));
    std::vector<Node> parents = TRY(store_.graph_.read().targets(layer.id, EdgeKind::parent));
    if (!parents.empty()) {
      wanted.parent = TRY(Digest::parse(parents.front().key));
      (void)TRY(store_.driver_->layer(wanted.parent));
    }
    if (claimed_.empty()) {
      if (store_.claims_.claim({wanted.chain_id}).front())
        return conflict("it is being pulled at this moment");
      claimed_.push_back(wanted.chain_id);
    }
    std::unique_ptr<RemoteRepository> remote = TRY(open_(source));
    engine::Resource row;
    row.kind = drivers::kLayerKind;
    row.name = wanted.directory = drivers::new_layer_directory();
    row.owner = "layer:" + layer.key;
    TRY(job_.take({row}));
    const Progress silent;
    LayerFetcher fetcher(job_, *store_.driver_, store_.content_, *store_.partials_, store_.claims_,
                         *remote, options_, silent);
    Status made = fetcher.run({&wanted});
    if (made) made = publish(wanted, data);
    if (!made) TRY(job_.release(drivers::kLayerKind, wanted.directory));
    return made;
  }

  Status publish(const WantedLayer& wanted, const LayerData& data) {
    TRY(store_.lock(job_));
    const std::string key = wanted.chain_id.text();
    // What is left of the layer that the disk has lost.
    std::vector<engine::ResourceRow> rows = TRY(job_.engine().resources().owned_by("layer:" + key));
    for (const engine::ResourceRow& row : rows)
      if (row.name != wanted.directory) TRY(job_.release(row.kind, row.name));
    (void)TRY(store_.driver_->publish(
        {wanted.chain_id, wanted.diff_id, wanted.parent, wanted.directory}));
    TRY(failpoint("image.refetch-sync"));
    TRY(drivers::sync(*store_.driver_));
    LayerData changed = data;
    changed.directory = wanted.directory;
    changed.archive_size = wanted.result.tar_size;
    job_.on_commit([store = &store_, key, changed](graph::Transaction& tx) -> Status {
      Node node = TRY(store->graph_.read(tx).get(NodeKind::layer, key));
      return store->graph_.set_data(tx, node.id, json::dump(changed));
    });
    return {};
  }

  LocalStore& store_;
  engine::JobContext& job_;
  const RemoteOpener& open_;
  PullOptions options_;
  std::vector<Digest> claimed_;
  Refetched out_;
};

Result<Refetched> LocalStore::refetch(engine::JobContext& job, const StoreFinding& finding,
                                      const RemoteOpener& open, const PullOptions& options) {
  if (!partials_) return internal("prepare_transfers() was not called");
  return LayerRefetcher(*this, job, open, options).run(finding);
}

}  // namespace gantry::image

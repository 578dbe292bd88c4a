// Taking images in from a registry.
#include <algorithm>

#include "base/failpoint.h"
#include "drivers/graph/layer_directories.h"
#include "engine/engine.h"
#include "image/layer_fetcher.h"
#include "image/local_store.h"
#include "image/platform.h"

namespace gantry::image {

using graph::EdgeKind;
using graph::Node;
using graph::NodeKind;

namespace {

constexpr int64_t kConfigLimit = 8 << 20;
constexpr size_t kMaxLayers = 512;

bool is_image_config(const std::string& media_type) {
  return media_type.empty() || media_type == kOciConfig ||
         media_type == "application/vnd.docker.container.image.v1+json" ||
         media_type == "application/octet-stream";  // what some registries made of it
}

bool is_layer(const std::string& media_type) {
  return media_type.empty() || media_type.starts_with(kOciLayer) ||
         media_type.starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar") ||
         media_type.starts_with("application/vnd.docker.image.rootfs.") ||
         media_type == "application/octet-stream";
}

}  // namespace

// One image of one pull. What it fetches becomes visible in one transaction, or not at all.
class Puller {
 public:
  Puller(LocalStore& store, engine::JobContext& job, RemoteRepository& remote,
         const Reference& reference, const PullOptions& options, const Progress& progress)
      : store_(store),
        job_(job),
        remote_(remote),
        reference_(reference),
        options_(options),
        progress_(progress),
        claims_(std::make_shared<Claims>(store.claims_)) {}

  Result<PulledImage> run() {
    wanted_ = TRY(parse_platform(options_.platform));
    const std::string& name = reference_.digest().empty() ? reference_.tag() : reference_.digest();
    named_ = TRY(remote_.manifest(name));
    // A refusal comes before the first word, so that it can be the answer's status.
    Status chosen = choose_manifest();
    if (chosen && store_.pull_policy_)
      addition_.admission =
          TRY(store_.pull_policy_(job_, {reference_, named_, manifest_bytes(), remote_}));
    say({{"status", "Pulling from " + reference_.path()}, {"id", name}});
    TRY(std::move(chosen));
    std::optional<PulledImage> known = TRY(find_known());
    if (known) return finish(std::move(*known));
    TRY(read_config());
    TRY(bring_layers());
    TRY(commit());
    return finish({addition_.id, named_.digest, true});
  }

 private:
  // Given up when the job has ended, however it does.
  struct Claims {
    explicit Claims(LayerClaims& all) : all_claims(all) {}
    ~Claims() { all_claims.release(layers); }
    LayerClaims& all_claims;
    std::vector<Digest> layers;
  };

  void say(json::object line) {
    if (progress_) progress_(std::move(line));
  }
  void say(const WantedLayer& layer, std::string_view status) {
    say({{"status", status}, {"progressDetail", json::object{}}, {"id", short_id(layer.digest)}});
  }
  const RemoteManifest& manifest_bytes() const { return chosen_ ? *chosen_ : named_; }

  Result<PulledImage> finish(PulledImage image) {
    say({{"status", "Digest: " + named_.digest.text()}});
    say({{"status", (image.newer ? "Status: Downloaded newer image for "
                                 : "Status: Image is up to date for ") +
                        reference_.familiar()}});
    return image;
  }

  Reference by_digest() const { return reference_.with_digest(named_.digest.text()); }

  // The very manifest was pulled before, for this platform, and all of the image is here.
  Result<std::optional<PulledImage>> find_known() {
    graph::View view = store_.graph_.read();
    Result<Node> tag = view.get(NodeKind::tag, by_digest().text());
    if (!tag) return std::optional<PulledImage>();
    std::vector<Node> images = TRY(view.targets(tag->id, EdgeKind::names));
    if (images.empty()) return std::optional<PulledImage>();
    const Node image = images.front();
    Result<ImageConfig> config = store_.config_of(image);
    if (!config) return std::optional<PulledImage>();
    if (!matches(wanted_, {config->architecture, config->os, config->variant}))
      return std::optional<PulledImage>();
    std::vector<Node> layers = TRY(store_.layers_of(view, image.id));
    for (const Node& layer : layers) {
      Digest chain_id = TRY(Digest::parse(layer.key));
      bool complete = TRY(store_.driver_->directories().complete(chain_id));
      if (!complete) return std::optional<PulledImage>();
    }
    bool blobs = TRY(blobs_here(view, tag->id, image.id));
    if (!blobs) return std::optional<PulledImage>();
    Digest id = TRY(Digest::parse(image.key));
    bool same = true;
    if (reference_.digest().empty()) {
      Result<Node> named = view.get(NodeKind::tag, reference_.text());
      std::vector<Node> at;
      if (named) at = TRY(view.targets(named->id, EdgeKind::names));
      same = !at.empty() && at.front().id == image.id;
    }
    bool learnt = false;  // the policy found out something that is not known here
    if (addition_.admission) {
      ImageRecord record = TRY(json::parse<ImageRecord>(image.data));
      learnt = merge_admission(record, *addition_.admission);
    }
    if (!same || learnt) {
      TRY(store_.lock(job_));
      LocalStore* store = &store_;
      job_.on_commit([store, same, name = reference_, key = image.key,
                      admission = addition_.admission](graph::Transaction& tx) -> Status {
        Node node = TRY(store->graph_.read(tx).get(NodeKind::image, key));
        if (admission) TRY(store->set_admission(tx, *admission, node.id));
        if (same) return {};
        return store->set_tag(tx, name, node.id);
      });
    }
    return std::optional<PulledImage>({std::move(id), named_.digest, !same});
  }

  // The configuration, the manifest that was chosen, and the index if it came by one.
  Result<bool> blobs_here(graph::View& view, graph::NodeId tag, graph::NodeId image) {
    std::vector<Node> blobs = TRY(view.targets(image, EdgeKind::config));
    for (graph::NodeId holder : {tag, image}) {
      std::vector<Node> more = TRY(view.targets(holder, EdgeKind::content_of));
      blobs.insert(blobs.end(), more.begin(), more.end());
    }
    // An index has images that would do as well (arm/v6 for arm/v7), and one that is meant.
    bool meant = !chosen_ || std::any_of(blobs.begin(), blobs.end(), [&](const Node& blob) {
      return blob.key == chosen_->digest.text();
    });
    if (!meant) return false;
    return std::all_of(blobs.begin(), blobs.end(), [&](const Node& blob) {
      Result<Digest> digest = Digest::parse(blob.key);
      return digest && store_.content_.contains(*digest);
    });
  }

  Status choose_manifest() {
    Manifest parsed = TRY(parse(named_, reference_.familiar()));
    if (parsed.is_index()) {
      const Descriptor* entry = choose(*parsed.manifests, wanted_);
      if (entry == nullptr)
        return not_found("no matching manifest for {} in the manifest list entries",
                         to_string(wanted_));
      Digest digest = TRY(Digest::parse(entry->digest));
      chosen_ = TRY(stored_manifest(digest));
      if (!chosen_) chosen_ = TRY(remote_.manifest(digest.text()));
      if (entry->size != static_cast<int64_t>(chosen_->bytes.size()))
        return invalid("manifest {}: it has {} bytes, the index says {}", digest.text(),
                       chosen_->bytes.size(), entry->size);
      // Where it is only known by its bytes the index tells its type.
      if (chosen_->media_type.empty()) chosen_->media_type = entry->media_type;
      parsed = TRY(parse(*chosen_, digest.text()));
      if (parsed.is_index())
        return invalid("manifest {}: an index within an index is not an image", digest.text());
    }
    manifest_ = std::move(parsed);
    return {};
  }

  Result<std::optional<RemoteManifest>> stored_manifest(const Digest& digest) {
    Result<Node> node = store_.graph_.read().get(NodeKind::blob, digest.text());
    if (!node) return std::optional<RemoteManifest>();
    Result<ManifestData> data = json::parse<ManifestData>(node->data);
    Result<std::string> bytes = store_.content_.read(digest);
    if (!data || data->media_type.empty() || !bytes) return std::optional<RemoteManifest>();
    return std::optional<RemoteManifest>({digest, data->media_type, bytes.release()});
  }

  static Result<Manifest> parse(const RemoteManifest& remote, const std::string& what) {
    if (remote.media_type.starts_with("application/vnd.docker.distribution.manifest.v1+"))
      return unsupported(
          "{}: Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has "
          "been removed: push it again from a newer docker to get a schema 2 or OCI manifest",
          what);
    Manifest manifest = TRY(Manifest::parse(remote.bytes).context("{}", what));
    bool says_index = remote.media_type == kOciIndex || remote.media_type == kDockerList;
    bool says_image = remote.media_type == kOciManifest || remote.media_type == kDockerManifest;
    if ((says_index && !manifest.is_index()) || (says_image && manifest.is_index()))
      return invalid("{}: the registry calls it {}, which it is not", what, remote.media_type);
    if (!manifest.media_type.empty() && (says_index || says_image) &&
        manifest.media_type != remote.media_type)
      return invalid("{}: the registry calls it {}, itself {}", what, remote.media_type,
                     manifest.media_type);
    return manifest;
  }

  Status read_config() {
    const Descriptor& config = *manifest_.config;
    if (!is_image_config(config.media_type))
      return unsupported(
          "{} is not an image: what it holds is an artifact of the type {}, which cannot be run",
          reference_.familiar(), config.media_type);
    if (config.size < 0 || config.size > kConfigLimit)
      return invalid("blob {}: a configuration of {} bytes is refused", config.digest, config.size);
    Digest digest = TRY(Digest::parse(config.digest));
    Result<std::string> here = store_.content_.read(digest);
    if (here) {
      config_bytes_ = here.release();
    } else {
      std::unique_ptr<ByteSource> source = TRY(remote_.blob(config, 0));
      config_bytes_ = TRY(
          read_all(*source, static_cast<size_t>(config.size)).context("blob {}", config.digest));
      if (Digest::of(config_bytes_) != digest)
        return invalid(
            "image config verification failed for digest {}: its bytes have the digest {}",
            digest.text(), Digest::of(config_bytes_).text());
    }
    addition_.id = digest;
    addition_.config_size = static_cast<int64_t>(config_bytes_.size());
    addition_.config = TRY(ImageConfig::parse(config_bytes_).context("blob {}", config.digest));
    const ImageConfig& parsed = addition_.config;
    if (parsed.os != "linux")
      return invalid("image operating system \"{}\" cannot be used on this platform", parsed.os);
    Platform actual{parsed.architecture, parsed.os, parsed.variant};
    if (!options_.platform.empty() && !matches(wanted_, actual))
      return not_found(
          "image with reference {} was found but does not match the specified platform: wanted "
          "{}, actual: {}",
          reference_.familiar(), to_string(wanted_), to_string(actual));
    return describe_layers();
  }

  Status describe_layers() {
    const std::vector<Descriptor>& blobs = *manifest_.layers;
    const std::vector<std::string>& diff_ids = addition_.config.rootfs.diff_ids;
    if (blobs.size() != diff_ids.size())
      return invalid("invalid manifest: it has {} layers, the configuration {}", blobs.size(),
                     diff_ids.size());
    if (blobs.size() > kMaxLayers)
      return invalid("invalid manifest: more than {} layers", kMaxLayers);
    addition_.chain = TRY(chain_ids(diff_ids));
    for (size_t i = 0; i < blobs.size(); ++i) {
      WantedLayer layer;
      layer.blob = blobs[i];
      if (!is_layer(layer.blob.media_type))
        return unsupported("layer {}: the type {} is not known", layer.blob.digest,
                           layer.blob.media_type);
      if (layer.blob.size < 0) return invalid("layer {}: its size is negative", layer.blob.digest);
      layer.digest = TRY(Digest::parse(layer.blob.digest));
      layer.diff_id = TRY(Digest::parse(diff_ids[i]));
      layer.chain_id = addition_.chain[i];
      if (i > 0) layer.parent = addition_.chain[i - 1];
      layers_.push_back(std::move(layer));
    }
    return {};
  }

  // Those that are here are leased, so that they stay until this is final.
  Status look_for_layers() {
    std::vector<WantedLayer*> candidates;
    graph::Graph& graph = store_.graph_;
    graph::View view = graph.read();
    std::vector<graph::NodeId> nodes;
    for (WantedLayer& layer : layers_) {
      if (layer.state != WantedLayer::State::wanted) continue;
      Result<Node> node = view.get(NodeKind::layer, layer.chain_id.text());
      if (!node) continue;
      candidates.push_back(&layer);
      nodes.push_back(node->id);
    }
    if (candidates.empty()) return {};
    Status leased = graph.database().write(graph::Durability::normal, graph::Space::ordinary,
                                           [&](graph::Transaction& tx) -> Status {
                                             for (size_t i = 0; i < nodes.size(); ++i) {
                                               Result<Node> node = graph.read(tx).get(nodes[i]);
                                               if (node) TRY(job_.lease(tx, nodes[i]));
                                             }
                                             return {};
                                           });
    TRY(std::move(leased));
    graph::View after = graph.read();
    for (WantedLayer* layer : candidates) {
      bool there = TRY(after.contains(NodeKind::layer, layer->chain_id.text()));
      bool complete = there && TRY(store_.driver_->directories().complete(layer->chain_id));
      if (complete) layer->state = WantedLayer::State::here;
    }
    return {};
  }

  Status bring_layers() {
    while (true) {
      TRY(job_.check());
      TRY(look_for_layers());
      std::vector<Digest> wanted;
      std::vector<WantedLayer*> asked;
      for (WantedLayer& layer : layers_) {
        announce(layer);
        if (layer.state != WantedLayer::State::wanted || layer.mine) continue;
        wanted.push_back(layer.chain_id);
        asked.push_back(&layer);
      }
      std::vector<LayerClaims::FlightPtr> flights = store_.claims_.claim(wanted);
      for (size_t i = 0; i < asked.size(); ++i) {
        if (flights[i]) continue;
        asked[i]->mine = true;
        claims_->layers.push_back(asked[i]->chain_id);
      }
      // Between the look and the claim another pull may have ended.
      TRY(look_for_layers());
      TRY(fetch());
      bool waited = false;
      for (size_t i = 0; i < asked.size(); ++i) {
        if (!flights[i]) continue;
        TRY(wait_for(*asked[i], flights[i]));
        waited = true;
      }
      if (!waited) return {};
    }
  }

  void announce(WantedLayer& layer) {
    if (layer.announced) return;
    layer.announced = true;
    say(layer, layer.state == WantedLayer::State::here ? "Already exists" : "Pulling fs layer");
  }

  Status wait_for(const WantedLayer& layer, const LayerClaims::FlightPtr& flight) {
    int64_t seen = 0;
    while (true) {
      LayerClaims::Flight at = TRY(store_.claims_.wait(flight, seen, job_.cancel()));
      if (at.ended) return {};
      seen = at.current;
      say({{"status", "Downloading"},
           {"progressDetail", json::object{{"current", at.current}, {"total", at.total}}},
           {"id", short_id(layer.digest)}});
    }
  }

  // Twice at most: what was kept of a blob may turn out to be wrong.
  Status fetch() {
    for (int round = 0;; ++round) {
      std::vector<WantedLayer*> mine;
      for (WantedLayer& layer : layers_)
        if (layer.state == WantedLayer::State::wanted && layer.mine) mine.push_back(&layer);
      if (mine.empty()) return {};
      TRY(reserve(mine));
      TRY(take_directories(mine));
      LayerFetcher fetcher(job_, *store_.driver_, store_.content_, *store_.partials_,
                           store_.claims_, remote_, options_, progress_);
      Status fetched = fetcher.run(mine);
      if (!fetcher.spoiled().empty()) TRY(job_.run<BlobForget>({fetcher.spoiled()}));
      if (fetched) continue;
      bool again = round == 0 && !fetcher.spoiled().empty() && had_kept_;
      if (!again) return fetched;
    }
  }

  // Leases for the beginnings of large blobs, in one transaction; what is too old goes first.
  Status reserve(const std::vector<WantedLayer*>& layers) {
    std::vector<std::string> digests;
    had_kept_ = false;
    for (const WantedLayer* layer : layers) {
      if (layer->blob.size < options_.keep_partial_from) continue;
      if (store_.partials_->reserved(layer->digest)) had_kept_ = true;
      digests.push_back(layer->digest.text());
    }
    if (digests.empty()) return {};
    std::vector<std::string> expired = TRY(store_.partials_->expired({}));
    std::erase_if(expired, [&](const std::string& digest) {
      return std::find(digests.begin(), digests.end(), digest) != digests.end();
    });
    if (!expired.empty()) TRY(job_.run<BlobForget>({std::move(expired)}));
    std::sort(digests.begin(), digests.end());
    digests.erase(std::unique(digests.begin(), digests.end()), digests.end());
    reserved_.insert(digests.begin(), digests.end());
    TRY(job_.run<BlobReserve>({std::move(digests)}));
    return {};
  }

  Status take_directories(const std::vector<WantedLayer*>& layers) {
    std::vector<engine::Resource> rows;
    for (WantedLayer* layer : layers) {
      engine::Resource row;
      row.kind = drivers::kLayerKind;
      row.name = layer->directory = drivers::new_layer_directory();
      row.owner = "layer:" + layer->chain_id.text();
      rows.push_back(std::move(row));
      if (!options_.keep_compressed || addition_.kept_blobs.contains(layer->digest.text()))
        continue;
      engine::Resource blob;
      blob.kind = kBlobKind;
      blob.name = layer->digest.text();
      blob.owner = "blob:" + layer->digest.text();
      if (store_.content_.contains(layer->digest)) continue;
      rows.push_back(std::move(blob));
      addition_.kept_blobs.insert(layer->digest.text());
    }
    return job_.take(std::move(rows));
  }

  Status commit() {
    TRY(failpoint("image.pull-commit"));
    TRY(store_.lock(job_));
    for (WantedLayer& layer : layers_) {
      if (layer.state == WantedLayer::State::ingested) TRY(publish(layer));
      LayerBlob blob;
      blob.digest = layer.digest.text();
      blob.size = layer.blob.size;
      blob.media_type = layer.blob.media_type;
      blob.sources = {remote_.name()};
      addition_.layer_blobs[layer.chain_id.text()] = std::move(blob);
    }
    TRY(store_.put_blob(job_, config_bytes_, addition_.id));
    TRY(keep_manifest(manifest_bytes(), false));
    if (chosen_) TRY(keep_manifest(named_, true));
    if (!reference_.tag().empty()) addition_.names.push_back(reference_.without_digest());
    addition_.names.push_back(by_digest());
    std::vector<std::string> done;
    for (const std::string& digest : reserved_) done.push_back(digest);
    store_.partials_->empty(done);
    if (!done.empty()) TRY(store_.partials_->forget(job_, done));
    std::vector<Addition> additions;
    additions.push_back(std::move(addition_));
    addition_.id = additions.front().id;
    TRY(store_.add_images(job_, std::move(additions)));
    // Others wait until it is final, or undone.
    job_.after_commit([claims = claims_] {});
    return {};
  }

  Status keep_manifest(const RemoteManifest& manifest, bool is_index) {
    TRY(store_.put_blob(job_, manifest.bytes, manifest.digest));
    Addition::KnownManifest known;
    known.digest = manifest.digest;
    known.size = static_cast<int64_t>(manifest.bytes.size());
    known.media_type = manifest.media_type;
    if (known.media_type.empty())
      known.media_type = is_index ? std::string(kOciIndex) : std::string(kOciManifest);
    known.is_index = is_index;
    addition_.manifests.push_back(std::move(known));
    return {};
  }

  Status publish(WantedLayer& layer) {
    bool known = TRY(store_.graph_.read().contains(NodeKind::layer, layer.chain_id.text()));
    if (known) {
      bool complete = TRY(store_.driver_->directories().complete(layer.chain_id));
      if (complete) {  // a load was faster
        TRY(job_.release(drivers::kLayerKind, layer.directory));
        return {};
      }
      // What is left of the layer that the disk has lost.
      std::vector<engine::ResourceRow> rows =
          TRY(job_.engine().resources().owned_by("layer:" + layer.chain_id.text()));
      for (const engine::ResourceRow& row : rows)
        if (row.name != layer.directory) TRY(job_.release(row.kind, row.name));
    }
    drivers::PublishSpec spec;
    spec.chain_id = layer.chain_id;
    spec.diff_id = layer.diff_id;
    spec.parent = layer.parent;
    spec.directory = layer.directory;
    drivers::LayerInfo info =
        TRY(store_.driver_->publish(spec).context("layer {}", layer.digest.text()));
    Addition::NewLayer added;
    added.chain_id = layer.chain_id;
    added.parent = layer.parent;
    added.data.diff_id = layer.diff_id.text();
    added.data.directory = layer.directory;
    added.data.archive_size = layer.result.tar_size;
    added.size = static_cast<int64_t>(info.size);
    addition_.new_layers.push_back(std::move(added));
    say(layer, "Pull complete");
    return {};
  }

  LocalStore& store_;
  engine::JobContext& job_;
  RemoteRepository& remote_;
  const Reference& reference_;
  const PullOptions& options_;
  const Progress& progress_;
  Platform wanted_;
  RemoteManifest named_;
  std::optional<RemoteManifest> chosen_;
  Manifest manifest_;
  std::string config_bytes_;
  std::vector<WantedLayer> layers_;
  std::shared_ptr<Claims> claims_;
  std::set<std::string> reserved_;
  bool had_kept_ = false;
  Addition addition_;
};

Status LocalStore::prepare_transfers(engine::Engine& engine) {
  partials_ = TRY(PartialBlobs::open(engine, content_.root() + "/partial"));
  return {};
}

Result<PulledImage> LocalStore::pull(engine::JobContext& job, RemoteRepository& remote,
                                     const Reference& reference, const PullOptions& options,
                                     const Progress& progress) {
  if (!partials_) return internal("prepare_transfers() was not called");
  return Puller(*this, job, remote, reference.with_default_tag(), options, progress).run();
}

Result<std::vector<Reference>> LocalStore::tags_of(const Reference& repository) const {
  std::vector<Reference> out;
  std::vector<Node> tags = TRY(graph_.read().list(NodeKind::tag));
  for (const Node& tag : tags) {
    Result<Reference> reference = Reference::parse(tag.key);
    if (reference && reference->name() == repository.name() && !reference->tag().empty())
      out.push_back(reference.release());
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace gantry::image

#include "image/local_store.h"

#include <algorithm>

#include "base/clock.h"
#include "base/failpoint.h"
#include "engine/engine.h"

namespace gantry::image {

using graph::EdgeKind;
using graph::Node;
using graph::NodeKind;

Status register_resource_kinds(engine::Resources& resources, graph::ContentStore& content) {
  engine::ResourceKind kind;
  kind.name = kBlobKind;
  // Deferred, so that a blob goes only when the transaction that forgets it is on disk.
  kind.mode = engine::Release::deferred;
  kind.probe = [&content](const engine::Resource& resource) -> Result<engine::Presence> {
    Digest digest = TRY(Digest::parse(resource.name));
    return content.contains(digest) ? engine::Presence::present : engine::Presence::absent;
  };
  kind.release = [&content](const engine::Resource& resource) -> Status {
    Digest digest = TRY(Digest::parse(resource.name));
    return content.remove(digest);
  };
  kind.enumerate = [&content]() -> Result<std::vector<engine::Resource>> {
    std::vector<engine::Resource> found;
    std::vector<graph::ContentStore::Info> blobs = TRY(content.list());
    for (const auto& blob : blobs) {
      engine::Resource resource;
      resource.kind = kBlobKind;
      resource.name = blob.digest.text();
      found.push_back(std::move(resource));
    }
    return found;
  };
  return resources.add(std::move(kind));
}

Result<std::unique_ptr<ImageStore>> ImageStore::open(graph::Database& database,
                                                     graph::ContentStore& content,
                                                     std::shared_ptr<drivers::GraphDriver> driver,
                                                     const std::string& temporary_directory) {
  return std::unique_ptr<ImageStore>(
      std::make_unique<LocalStore>(database, content, std::move(driver), temporary_directory));
}

// One change of images at a time: what a load finds in the graph stays true until it ends.
Status LocalStore::lock(engine::JobContext& job) const {
  return job.lock({{engine::LockKind::image, "*", engine::LockMode::exclusive}});
}

namespace {

Error no_such_image(const std::string& name) { return not_found("No such image: {}", name); }

Result<std::optional<Node>> get_if(graph::View& view, NodeKind kind, std::string_view key) {
  Result<Node> node = view.get(kind, key);
  if (node) return std::optional<Node>(node.release());
  if (node.error().kind() == ErrorKind::not_found) return std::optional<Node>();
  return std::move(node).error();
}

}  // namespace

Result<LocalStore::Located> LocalStore::locate(graph::View& view, std::string_view name) const {
  bool whole_id = is_id_prefix(name) && (name.size() == 64 || name.size() == 71);
  if (whole_id) {
    std::string key = name.size() == 64 ? "sha256:" + std::string(name) : std::string(name);
    std::optional<Node> node = TRY(get_if(view, NodeKind::image, key));
    if (!node) return no_such_image(key);
    return Located{std::move(*node), std::nullopt};
  }
  Result<Reference> parsed = Reference::parse(name);
  std::string shown(name);
  if (parsed) {
    Reference reference = parsed->with_default_tag();
    shown = reference.familiar();
    std::optional<Node> tag = TRY(get_if(view, NodeKind::tag, reference.text()));
    if (!tag && !reference.digest().empty() && !reference.tag().empty())
      tag = TRY(get_if(view, NodeKind::tag, reference.with_digest(reference.digest()).text()));
    if (tag) {
      std::vector<Node> images = TRY(view.targets(tag->id, EdgeKind::names));
      if (!images.empty()) return Located{std::move(images.front()), std::move(reference)};
    }
  }
  if (is_id_prefix(name)) {
    std::string prefix =
        name.starts_with("sha256:") ? std::string(name) : "sha256:" + std::string(name);
    Result<Node> node = view.find_by_key_prefix(NodeKind::image, prefix);
    if (node) return Located{node.release(), std::nullopt};
    if (node.error().kind() == ErrorKind::conflict)
      return invalid("No such image: {} (the id is ambiguous)", name);
    if (node.error().kind() != ErrorKind::not_found) return std::move(node).error();
  } else if (!parsed) {
    return std::move(parsed).error();
  }
  return no_such_image(shown);
}

Result<std::vector<Reference>> LocalStore::references(graph::View& view,
                                                      graph::NodeId image) const {
  std::vector<Reference> out;
  std::vector<Node> tags = TRY(view.holders(image, EdgeKind::names));
  for (const Node& tag : tags) {
    if (tag.kind != NodeKind::tag) continue;
    Result<Reference> reference = Reference::parse(tag.key);
    if (reference) out.push_back(reference.release());
  }
  std::sort(out.begin(), out.end());
  return out;
}

Result<ImageConfig> LocalStore::config_of(const Node& image) const {
  {
    std::lock_guard lock(cache_mutex_);
    auto known = configs_.find(image.key);
    if (known != configs_.end()) return ImageConfig(*known->second);
  }
  Digest id = TRY(Digest::parse(image.key));
  std::string blob = TRY(content_.read(id).context("image {}", image.key));
  ImageConfig config = TRY(ImageConfig::parse(blob).context("image {}", image.key));
  std::lock_guard lock(cache_mutex_);
  configs_[image.key] = std::make_shared<const ImageConfig>(config);
  return config;
}

Result<std::vector<Node>> LocalStore::layers_of(graph::View& view, graph::NodeId image) const {
  return view.targets(image, EdgeKind::member);
}

Result<Image> LocalStore::find(std::string_view name) const {
  graph::View view = graph_.read();
  Located located = TRY(locate(view, name));
  ImageRecord record = TRY(json::parse<ImageRecord>(located.node.data));
  Image image;
  image.id = TRY(Digest::parse(located.node.key));
  if (!record.top_layer.empty()) image.top_layer = TRY(Digest::parse(record.top_layer));
  image.config = TRY(config_of(located.node));
  image.size = record.size;
  image.name = located.reference ? located.reference->familiar() : located.node.key;
  image.origins = std::move(record.origins);
  image.signatures = std::move(record.signatures);
  return image;
}

Result<int64_t> LocalStore::count() const { return graph_.read().count(NodeKind::image); }

Status LocalStore::set_tag(graph::Transaction& tx, const Reference& name,
                           graph::NodeId image) const {
  Node tag;
  tag.kind = NodeKind::tag;
  tag.key = name.text();
  graph::NodeId id = TRY(graph_.put(tx, tag));
  TRY(graph_.unlink_all(tx, id, EdgeKind::names));
  TRY(graph_.link(tx, id, EdgeKind::names, image));
  Node node = TRY(graph_.read(tx).get(image));
  ImageRecord record = TRY(json::parse<ImageRecord>(node.data));
  record.tagged_at = now_ns();
  return graph_.set_data(tx, image, json::dump(record));
}

bool merge_admission(ImageRecord& record, const Admission& admission) {
  const Origin& origin = admission.origin;
  auto same = [&](const Origin& other) {
    return other.transport == origin.transport && other.reference == origin.reference;
  };
  bool changed = false;
  auto known = std::find_if(record.origins.begin(), record.origins.end(), same);
  if (known == record.origins.end() || json::dump(*known) != json::dump(origin)) {
    if (known != record.origins.end()) record.origins.erase(known);
    if (record.origins.size() >= kMaxOrigins) record.origins.erase(record.origins.begin());
    record.origins.push_back(origin);
    changed = true;
  }
  for (const StoredSignature& signature : admission.signatures) {
    auto& all = record.signatures;
    if (std::find(all.begin(), all.end(), signature) != all.end()) continue;
    if (all.size() >= kMaxStoredSignatures) all.erase(all.begin());
    all.push_back(signature);
    changed = true;
  }
  return changed;
}

Status LocalStore::set_admission(graph::Transaction& tx, const Admission& admission,
                                 graph::NodeId image) const {
  Node node = TRY(graph_.read(tx).get(image));
  ImageRecord record = TRY(json::parse<ImageRecord>(node.data));
  if (!merge_admission(record, admission)) return {};
  return graph_.set_data(tx, image, json::dump(record));
}

Result<std::string> LocalStore::tag(engine::JobContext& job, std::string_view source,
                                    const std::string& repository, const std::string& tag) {
  Reference name = TRY(Reference::parse(repository));
  if (!name.digest().empty()) return invalid("refusing to create a tag with a digest reference");
  if (!tag.empty()) {
    TRY(check_tag(tag));
    name = name.with_tag(tag);
  }
  name = name.with_default_tag();
  TRY(lock(job));
  graph::View view = graph_.read();
  Located located = TRY(locate(view, source));
  job.on_commit([this, name, image = located.node.id](graph::Transaction& tx) {
    return set_tag(tx, name, image);
  });
  return name.familiar();
}

void merge_blob(std::vector<LayerBlob>& blobs, const LayerBlob& blob) {
  constexpr size_t kMaxForms = 8;
  constexpr size_t kMaxSources = 8;
  auto known = std::find_if(blobs.begin(), blobs.end(),
                            [&](const LayerBlob& other) { return other.digest == blob.digest; });
  if (known == blobs.end()) {
    if (blobs.size() == kMaxForms) blobs.erase(blobs.begin());
    blobs.push_back(blob);
    return;
  }
  if (known->encoder.empty()) known->encoder = blob.encoder;
  for (const std::string& source : blob.sources) {
    if (std::find(known->sources.begin(), known->sources.end(), source) != known->sources.end())
      continue;
    if (known->sources.size() == kMaxSources) known->sources.erase(known->sources.begin());
    known->sources.push_back(source);
  }
}

// What a registry had of the image: manifests byte for byte, and the forms its layers came in.
Status LocalStore::write_manifests(graph::Transaction& tx, const Addition& addition,
                                   graph::NodeId image) const {
  graph::View view = graph_.read(tx);
  for (const auto& [chain_id, blob] : addition.layer_blobs) {
    Node layer = TRY(view.get(NodeKind::layer, chain_id));
    LayerData data = TRY(json::parse<LayerData>(layer.data));
    merge_blob(data.blobs, blob);
    TRY(graph_.set_data(tx, layer.id, json::dump(data)));
    if (!addition.kept_blobs.contains(blob.digest)) continue;
    Node kept;
    kept.kind = NodeKind::blob;
    kept.key = blob.digest;
    kept.size = blob.size;
    graph::NodeId id = TRY(graph_.put(tx, kept));
    TRY(graph_.link(tx, layer.id, EdgeKind::content_of, id));
  }
  for (const Addition::KnownManifest& manifest : addition.manifests) {
    Node blob;
    blob.kind = NodeKind::blob;
    blob.key = manifest.digest.text();
    blob.size = manifest.size;
    blob.data = json::dump(ManifestData{manifest.media_type});
    graph::NodeId id = TRY(graph_.put(tx, blob));
    if (!manifest.is_index) {
      TRY(graph_.link(tx, image, EdgeKind::content_of, id));
      continue;
    }
    for (const Reference& name : addition.names) {
      if (name.digest() != manifest.digest.text()) continue;
      Node tag = TRY(view.get(NodeKind::tag, name.text()));
      TRY(graph_.link(tx, tag.id, EdgeKind::content_of, id));
    }
  }
  return {};
}

Status LocalStore::write_addition(graph::Transaction& tx, const Addition& addition) const {
  graph::View view = graph_.read(tx);
  for (const Addition::NewLayer& layer : addition.new_layers) {
    Node node;
    node.kind = NodeKind::layer;
    node.key = layer.chain_id.text();
    node.data = json::dump(layer.data);
    node.size = layer.size;
    graph::NodeId id = TRY(graph_.put(tx, node));
    if (layer.parent.empty()) continue;
    Node parent = TRY(view.get(NodeKind::layer, layer.parent.text()));
    TRY(graph_.link(tx, id, EdgeKind::parent, parent.id));
  }
  std::optional<Node> known = TRY(get_if(view, NodeKind::image, addition.id.text()));
  graph::NodeId image = known ? known->id : 0;
  if (!known) {
    ImageRecord record;
    record.created = addition.config.created;
    record.os = addition.config.os;
    record.architecture = addition.config.architecture;
    record.variant = addition.config.variant;
    record.parent = addition.parent;
    record.labels = addition.config.config.labels;
    std::vector<graph::NodeId> members;
    for (const Digest& chain_id : addition.chain) {
      Node layer = TRY(view.get(NodeKind::layer, chain_id.text()));
      record.size += layer.size;
      record.top_layer = layer.key;
      members.push_back(layer.id);
    }
    Node node;
    node.kind = NodeKind::image;
    node.key = addition.id.text();
    node.data = json::dump(record);
    image = TRY(graph_.insert(tx, node));
    for (size_t i = 0; i < members.size(); ++i)
      TRY(graph_.link(tx, image, EdgeKind::member, members[i], static_cast<int64_t>(i)));
    Node blob;
    blob.kind = NodeKind::blob;
    blob.key = addition.id.text();
    blob.size = addition.config_size;
    graph::NodeId config = TRY(graph_.put(tx, blob));
    TRY(graph_.link(tx, image, EdgeKind::config, config));
  }
  for (const Reference& name : addition.names) TRY(set_tag(tx, name, image));
  if (addition.admission)
    TRY(set_admission(tx, *addition.admission, image));
  else if (!addition.parent.empty())
    TRY(set_admission(tx, {{"containers-storage", "", "", "", {}}, {}}, image));
  return write_manifests(tx, addition, image);
}

Status LocalStore::add_images(engine::JobContext& job, std::vector<Addition> additions) {
  bool layers = std::any_of(additions.begin(), additions.end(),
                            [](const Addition& a) { return !a.new_layers.empty(); });
  TRY(failpoint("image.sync"));
  if (layers) TRY(drivers::sync(*driver_));
  job.on_commit([this, additions = std::move(additions)](graph::Transaction& tx) -> Status {
    for (const Addition& addition : additions) TRY(write_addition(tx, addition));
    return {};
  });
  return {};
}

}  // namespace gantry::image

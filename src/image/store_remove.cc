// Giving images back: Docker's rules for untagging and deleting (moby daemon/images/image_delete.go
// tells the rules; the words are what its clients know).
#include <algorithm>
#include <map>

#include "base/clock.h"
#include "engine/engine.h"
#include "image/local_store.h"

namespace gantry::image {

using graph::EdgeKind;
using graph::Node;
using graph::NodeKind;

namespace {

std::string short_digest(const std::string& digest) {
  size_t colon = digest.find(':');
  return digest.substr(colon == std::string::npos ? 0 : colon + 1, 12);
}

}  // namespace

// Decides on a snapshot under the store's lock, then writes in the job's closing transaction, which
// fails when a container came meanwhile.
class Remover {
 public:
  Remover(LocalStore& store, engine::JobContext& job, const RemoveOptions& options)
      : store_(store), job_(job), options_(options), view_(store.graph_.read()) {}

  Result<std::vector<RemovedItem>> run(std::string_view name) {
    LocalStore::Located located = TRY(store_.locate(view_, name));
    std::vector<Reference> names = TRY(store_.references(view_, located.node.id));
    if (located.reference) {
      bool last = single(names);
      if (last && options_.force == Force::no) {
        std::vector<Node> users = TRY(containers(located.node));
        if (!users.empty())
          return conflict(
              "conflict: unable to remove repository reference \"{}\" (must force) - container {} "
              "is using its referenced image {}",
              name, short_digest(users.front().key), short_digest(located.node.key));
      }
      untag(*located.reference);
      std::erase(names, *located.reference);
      // With its last tag a repository loses its references by digest too, as with Docker.
      bool tagged = std::any_of(names.begin(), names.end(), [&](const Reference& other) {
        return other.name() == located.reference->name() && !other.tag().empty();
      });
      if (!located.reference->tag().empty() && !tagged) {
        const auto of_repository = [&](const Reference& other) {
          return other.name() == located.reference->name();
        };
        for (const Reference& other : names)
          if (of_repository(other)) untag(other);
        std::erase_if(names, of_repository);
      }
      if (!names.empty()) return commit();
      // Untagged: what still uses the image keeps it.
      std::optional<Error> reason = TRY(obstacle(located.node, names));
      if (reason) return commit();
    } else {
      std::vector<Reference> too_many = single(names) ? std::vector<Reference>() : names;
      std::optional<Error> reason = TRY(obstacle(located.node, too_many));
      if (reason) return std::move(*reason);
      for (const Reference& reference : names) untag(reference);
    }
    TRY(erase(located.node));
    return commit();
  }

  // Without names and without users: for prune.
  Status erase(const Node& image);
  Result<std::vector<RemovedItem>> commit();
  int64_t reclaimed() const { return reclaimed_; }
  Result<std::vector<Node>> containers(const Node& image) {
    std::vector<Node> users = TRY(view_.holders(image.id, EdgeKind::uses));
    std::erase_if(users, [](const Node& node) { return node.kind != NodeKind::container; });
    return users;
  }
  void untag(const Reference& reference) {
    tags_.push_back(reference.text());
    items_.push_back({reference.familiar(), ""});
  }

 private:
  // All names are of one repository, at most one of them a tag.
  static bool single(const std::vector<Reference>& names) {
    if (names.size() <= 1) return true;
    auto tags = std::count_if(names.begin(), names.end(),
                              [](const Reference& name) { return !name.tag().empty(); });
    bool one_repository = std::all_of(names.begin(), names.end(), [&](const Reference& name) {
      return name.name() == names.front().name();
    });
    return tags <= 1 && one_repository;
  }
  // Why the image cannot go, in Docker's order: what cannot be forced first.
  Result<std::optional<Error>> obstacle(const Node& image, const std::vector<Reference>& names);

  LocalStore& store_;
  engine::JobContext& job_;
  const RemoveOptions& options_;
  graph::View view_;
  std::vector<std::string> tags_;
  std::vector<Node> images_;
  std::vector<std::pair<graph::NodeId, graph::NodeId>> dropped_uses_;  // container, image
  std::set<std::string> layers_;                                       // keys
  std::vector<RemovedItem> items_;
  int64_t reclaimed_ = 0;
};

Result<std::optional<Error>> Remover::obstacle(const Node& image,
                                               const std::vector<Reference>& names) {
  auto unable = [&](std::string_view must, const std::string& why) {
    return std::optional<Error>(
        conflict("conflict: unable to delete {} ({}) - {}", short_digest(image.key), must, why));
  };
  std::vector<Node> all = TRY(view_.list(NodeKind::image));
  for (const Node& other : all) {
    ImageRecord record = TRY(json::parse<ImageRecord>(other.data));
    if (record.parent == image.key)
      return unable("cannot be forced", "image has dependent child images");
  }
  std::vector<Node> users = TRY(containers(image));
  for (const Node& user : users)
    if (options_.running && options_.running(user.key))
      return unable("cannot be forced",
                    "image is being used by running container " + short_digest(user.key));
  if (options_.force == Force::yes) return std::optional<Error>();
  if (!names.empty())
    return unable("must be forced", "image is referenced in multiple repositories");
  if (!users.empty())
    return unable("must be forced",
                  "image is being used by stopped container " + short_digest(users.front().key));
  return std::optional<Error>();
}

Status Remover::erase(const Node& image) {
  std::vector<Node> users = TRY(containers(image));
  for (const Node& user : users) dropped_uses_.emplace_back(user.id, image.id);
  images_.push_back(image);
  items_.push_back({"", image.key});
  // Layers go from the top down as long as nothing else holds them.
  std::vector<Node> layers = TRY(store_.layers_of(view_, image.id));
  std::set<graph::NodeId> going;
  for (const Node& gone : images_) going.insert(gone.id);
  for (auto layer = layers.rbegin(); layer != layers.rend() && users.empty(); ++layer) {
    std::vector<graph::Edge> holders = TRY(view_.in(layer->id));
    bool held = std::any_of(holders.begin(), holders.end(),
                            [&](const graph::Edge& edge) { return !going.contains(edge.from); });
    if (held) break;
    going.insert(layer->id);
    if (!layers_.insert(layer->key).second) continue;
    items_.push_back({"", layer->key});
    reclaimed_ += layer->size;
  }
  ImageRecord record = TRY(json::parse<ImageRecord>(image.data));
  if (record.parent.empty() || options_.prune_parents == PruneParents::no) return {};
  Result<Node> parent = view_.get(NodeKind::image, record.parent);
  if (!parent) return {};
  std::vector<Reference> names = TRY(store_.references(view_, parent->id));
  std::vector<Node> parent_users = TRY(containers(*parent));
  if (!names.empty() || !parent_users.empty()) return {};
  std::vector<Node> all = TRY(view_.list(NodeKind::image));
  for (const Node& other : all) {
    ImageRecord other_record = TRY(json::parse<ImageRecord>(other.data));
    bool going_too = std::any_of(images_.begin(), images_.end(),
                                 [&](const Node& gone) { return gone.key == other.key; });
    if (other_record.parent == parent->key && !going_too) return {};
  }
  return erase(*parent);
}

Result<std::vector<RemovedItem>> Remover::commit() {
  const graph::Graph* graph = &store_.graph_;
  // Manifests and indexes that nothing but what goes here holds.
  std::set<graph::NodeId> going;
  std::vector<Node> holders;
  for (const Node& image : images_) holders.push_back(image);
  for (const std::string& key : tags_) {
    Result<Node> tag = view_.get(NodeKind::tag, key);
    if (tag) holders.push_back(tag.release());
  }
  for (const Node& holder : holders) going.insert(holder.id);
  std::vector<std::string> manifests;
  for (const Node& holder : holders) {
    std::vector<Node> blobs = TRY(view_.targets(holder.id, EdgeKind::content_of));
    for (const Node& blob : blobs) {
      std::vector<graph::Edge> edges = TRY(view_.in(blob.id));
      bool held = std::any_of(edges.begin(), edges.end(),
                              [&](const graph::Edge& edge) { return !going.contains(edge.from); });
      if (held || std::find(manifests.begin(), manifests.end(), blob.key) != manifests.end())
        continue;
      manifests.push_back(blob.key);
    }
  }
  auto write = [graph, tags = tags_, images = images_, uses = dropped_uses_, layers = layers_,
                manifests](graph::Transaction& tx) -> Status {
    graph::View view = graph->read(tx);
    for (const std::string& key : tags) {
      Result<Node> tag = view.get(NodeKind::tag, key);
      if (tag) TRY(graph->remove(tx, tag->id));
    }
    for (const auto& [container, image] : uses) {
      // The container loses its image by force but keeps the layers it stands on.
      std::vector<graph::Edge> members = TRY(view.out(image, EdgeKind::member));
      TRY(graph->unlink(tx, container, EdgeKind::uses, image));
      if (!members.empty()) TRY(graph->link(tx, container, EdgeKind::uses, members.back().to));
    }
    // Images first: they may share layers. A layer has the same place in every stack it is in.
    std::map<graph::NodeId, size_t> heights;
    for (const Node& image : images) {
      std::vector<graph::Edge> members = TRY(view.out(image.id, EdgeKind::member));
      for (size_t i = 0; i < members.size(); ++i) heights[members[i].to] = i;
      TRY(graph->remove(tx, image.id));
      Result<Node> blob = view.get(NodeKind::blob, image.key);
      if (blob) TRY(graph->remove(tx, blob->id));
    }
    std::vector<std::pair<size_t, graph::NodeId>> stacked;
    for (const auto& [id, height] : heights) stacked.emplace_back(height, id);
    std::sort(stacked.rbegin(), stacked.rend());
    for (const auto& [height, id] : stacked) {
      Result<Node> layer = view.get(id);
      if (layer && layers.contains(layer->key)) TRY(graph->remove(tx, id));
    }
    for (const std::string& key : manifests) {
      Result<Node> manifest = view.get(NodeKind::blob, key);
      if (!manifest) continue;
      std::vector<graph::Edge> holders = TRY(view.in(manifest->id));
      if (holders.empty()) TRY(graph->remove(tx, manifest->id));
    }
    return {};
  };
  for (const std::string& key : layers_) TRY(job_.release_owned("layer:" + key));
  for (const Node& image : images_) TRY(job_.release_owned("blob:" + image.key));
  for (const std::string& key : manifests) TRY(job_.release_owned("blob:" + key));
  job_.on_commit(std::move(write));
  job_.after_commit([store = &store_, images = images_] {
    std::lock_guard lock(store->cache_mutex_);
    for (const Node& image : images) store->configs_.erase(image.key);
  });
  return items_;
}

Result<std::vector<RemovedItem>> LocalStore::remove(engine::JobContext& job, std::string_view name,
                                                    const RemoveOptions& options) {
  TRY(lock(job));
  return Remover(*this, job, options).run(name);
}

Result<PruneReport> LocalStore::prune(engine::JobContext& job, const Filters& filters) {
  bool dangling_only = true;
  for (const auto& [key, values] : filters) {
    if (key == "dangling") {
      for (const std::string& value : values) {
        if (value == "true" || value == "1") continue;
        if (value != "false" && value != "0") return invalid("invalid filter 'dangling={}'", value);
        dangling_only = false;
      }
    } else if (key != "label" && key != "label!" && key != "until") {
      return invalid("invalid filter '{}'", key);
    }
  }
  TRY(lock(job));
  RemoveOptions options;
  Remover remover(*this, job, options);
  ListOptions listing;
  listing.all = true;
  listing.filters = filters;
  listing.filters.erase("dangling");
  std::vector<ImageSummary> candidates = TRY(list(listing));
  graph::View view = graph_.read();
  std::set<std::string> parents;
  std::vector<Node> all = TRY(view.list(NodeKind::image));
  for (const Node& node : all) {
    ImageRecord record = TRY(json::parse<ImageRecord>(node.data));
    if (!record.parent.empty()) parents.insert(record.parent);
  }
  for (const ImageSummary& candidate : candidates) {
    TRY(job.check());
    if (parents.contains(candidate.id)) continue;
    Node node = TRY(view.get(NodeKind::image, candidate.id));
    std::vector<Reference> names = TRY(references(view, node.id));
    std::vector<Node> users = TRY(remover.containers(node));
    if (!users.empty() || (dangling_only && !names.empty())) continue;
    for (const Reference& name : names) remover.untag(name);
    TRY(remover.erase(node));
  }
  PruneReport report;
  report.images_deleted = TRY(remover.commit());
  report.space_reclaimed = remover.reclaimed();
  return report;
}

}  // namespace gantry::image

#include "daemon/build/cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "base/tree_walk.h"
#include "base/units.h"
#include "daemon/daemon.h"
#include "daemon/images.h"
#include "daemon/options.h"
#include "engine/engine.h"
#include "engine/lease.h"
#include "graph/graph.h"

namespace gantry::daemon {
namespace {

using graph::EdgeKind;
using graph::NodeKind;

constexpr std::string_view kMountType = "exec.cachemount";

std::string mount_key(const std::string& id) { return Digest::of("mount:" + id).hex(); }

int64_t directory_size(const std::string& path) {
  int64_t size = 0;
  Result<UniqueFd> root = sys::open(path, kOpenDirectory);
  if (!root) return 0;
  (void)walk_tree(root->get(), [&](const TreeEntry& entry) -> Result<Descend> {
    if (S_ISREG(entry.st.st_mode)) size += entry.st.st_blocks * 512;
    return Descend::yes;
  });
  return size;
}

}  // namespace

BuildCache::BuildCache(Daemon& daemon) : daemon_(daemon) {
  register_directories();
  daemon.engine().add<BuildPrune>(
      [this](engine::JobContext& job, BuildPrune::Input in) { return prune(job, in); },
      {.job_class = engine::JobClass::maintenance});
}

void BuildCache::register_directories() {
  std::string root = daemon_.options().data_root + "/build-cache";
  engine::ResourceKind kind;
  kind.name = kCacheDirectoryKind;
  kind.mode = engine::Release::deferred;
  kind.probe = [root](const engine::Resource& one) -> Result<engine::Presence> {
    return fs::exists(root + "/" + one.name) ? engine::Presence::present
                                             : engine::Presence::absent;
  };
  kind.release = [root](const engine::Resource& one) {
    return fs::remove_tree(root + "/" + one.name);
  };
  kind.enumerate = [root]() -> Result<std::vector<engine::Resource>> {
    std::vector<engine::Resource> out;
    Result<std::vector<std::string>> names = fs::list_directory(root);
    if (!names && names.error().kind() == ErrorKind::not_found) return out;
    if (!names) return std::move(names).error();
    for (std::string& name : *names)
      out.push_back({std::string(kCacheDirectoryKind), std::move(name), "", ""});
    return out;
  };
  (void)daemon_.engine().resources().add(std::move(kind));
}

Result<std::optional<image::BuiltLayer>> BuildCache::find(engine::JobContext& job,
                                                          const std::string& key,
                                                          engine::JobId build) {
  graph::Graph& graph = daemon_.graph();
  Result<graph::Node> node = graph.read().get(NodeKind::build_record, key);
  if (!node && node.error().kind() == ErrorKind::not_found)
    return std::optional<image::BuiltLayer>();
  if (!node) return std::move(node).error();
  BuildRecord record = TRY(json::parse<BuildRecord>(node->data));
  image::BuiltLayer layer;
  if (!record.chain_id.empty()) {
    Digest chain = TRY(Digest::parse(record.chain_id));
    std::optional<image::BuiltLayer> there =
        TRY(daemon_.images().store().find_layer(chain));
    if (!there) return std::optional<image::BuiltLayer>();
    layer = std::move(*there);
    if (record.diff_id.empty()) layer.diff_id = {};
  }
  ++record.uses;
  // Leased first, then known to be there: what a prune took away meanwhile is no result.
  bool gone = false;
  TRY(graph.database().write(graph::Durability::normal, graph::Space::ordinary,
                             [&](graph::Transaction& tx) -> Status {
                               Result<graph::Node> now =
                                   graph.read(tx).get(NodeKind::build_record, key);
                               gone = !now;
                               if (gone) return {};
                               TRY(graph.set_data(tx, now->id, json::dump(record)));
                               TRY(graph.touch(tx, now->id));
                               return engine::lease_for(job, tx, build, now->id);
                             }));
  if (gone) return std::optional<image::BuiltLayer>();
  return std::optional<image::BuiltLayer>(std::move(layer));
}

void BuildCache::keep(engine::JobContext& job, const BuildStep::Input& step,
                      const image::BuiltLayer& layer, const std::string& parent) {
  BuildRecord record;
  record.type = step.type;
  record.description = step.description;
  record.chain_id = layer.chain_id.text();
  record.parent = parent;
  record.diff_id = layer.diff_id.text();
  record.uses = 1;
  job.on_commit([this, &job, record, key = step.key, build = step.build](
                    graph::Transaction& tx) -> Status {
    graph::Graph& graph = daemon_.graph();
    graph::Node node;
    node.kind = NodeKind::build_record;
    node.key = key;
    node.data = json::dump(record);
    graph::NodeId id = TRY(graph.put(tx, node));
    TRY(graph.unlink_all(tx, id, EdgeKind::built_from));
    if (!record.chain_id.empty()) {
      graph::Node made = TRY(graph.read(tx).get(NodeKind::layer, record.chain_id));
      TRY(graph.link(tx, id, EdgeKind::built_from, made.id));
    }
    return engine::lease_for(job, tx, build, id);
  });
}

// ---- turns

BuildCache::Turn::~Turn() {
  if (cache_ == nullptr) return;
  std::lock_guard lock(cache_->mutex_);
  cache_->busy_.erase(key_);
  cache_->changed_.notify_all();
}

Result<BuildCache::Turn> BuildCache::turn(engine::JobContext& job, const std::string& key) {
  auto wake = job.cancel().on_cancel([this] {
    std::lock_guard lock(mutex_);
    changed_.notify_all();
  });
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !busy_.contains(key) || job.cancelled(); });
  TRY(job.check());
  busy_.insert(key);
  return Turn(*this, key);
}

std::optional<BuildCache::Turn> BuildCache::try_turn(const std::string& key) {
  std::lock_guard lock(mutex_);
  if (!busy_.insert(key).second) return {};
  return Turn(*this, key);
}

// ---- cache mounts

Result<std::string> BuildCache::mount_directory(engine::JobContext& job, const std::string& id,
                                                mode_t mode, uid_t uid, gid_t gid,
                                                engine::JobId build) {
  const std::string root = daemon_.options().data_root + "/build-cache";
  const std::string key = mount_key(id);
  graph::Graph& graph = daemon_.graph();
  auto lease = [&](graph::Transaction& tx) -> Status {
    graph::Node node = TRY(graph.read(tx).get(NodeKind::build_record, key));
    TRY(graph.touch(tx, node.id));
    return engine::lease_for(job, tx, build, node.id);
  };
  if (Result<graph::Node> node = graph.read().get(NodeKind::build_record, key); node) {
    BuildRecord record = TRY(json::parse<BuildRecord>(node->data));
    if (fs::exists(root + "/" + record.directory)) {
      Status leased =
          graph.database().write(graph::Durability::normal, graph::Space::ordinary, lease);
      if (leased) return root + "/" + record.directory;
      if (leased.error().kind() != ErrorKind::not_found) return std::move(leased).error();
    }
  }
  BuildRecord record;
  record.type = kMountType;
  record.description = "cache mount " + id;
  record.directory = random_hex(16);
  const std::string path = root + "/" + record.directory;
  TRY(job.take({{std::string(kCacheDirectoryKind), record.directory, "build_record:" + key, ""}}));
  TRY(failpoint("build.cache-mount"));
  TRY(fs::make_directories(root, 0700));
  TRY(fs::make_directories(path, 0755));
  if (::chmod(path.c_str(), mode) == -1 || ::chown(path.c_str(), uid, gid) == -1)
    return errno_error(errno, "cache mount {}", id);
  // It stays whatever becomes of the command: that is what it is for.
  TRY(job.commit_now([&](graph::Transaction& tx) -> Status {
    graph::Node node;
    node.kind = NodeKind::build_record;
    node.key = key;
    node.data = json::dump(record);
    TRY(graph.put(tx, node));
    return lease(tx);
  }));
  return path;
}

// ---- usage

Result<json::array> BuildCache::usage() const {
  graph::View view = daemon_.graph().read();
  std::vector<graph::Node> nodes = TRY(view.list(NodeKind::build_record));
  std::map<std::string, std::string> by_chain;  // the record that made it
  std::vector<BuildRecord> records;
  for (const graph::Node& node : nodes) {
    records.push_back(TRY(json::parse<BuildRecord>(node.data)));
    if (!records.back().diff_id.empty()) by_chain.emplace(records.back().chain_id, node.key);
  }
  json::array out;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const BuildRecord& record = records[i];
    const graph::Node& node = nodes[i];
    bool shared = false;
    int64_t size = 0;
    if (!record.directory.empty()) {
      size = directory_size(daemon_.options().data_root + "/build-cache/" + record.directory);
    } else if (!record.diff_id.empty()) {
      Result<graph::Node> layer = view.get(NodeKind::layer, record.chain_id);
      if (layer) {
        size = layer->size;
        std::vector<graph::Node> images = TRY(view.holders(layer->id, EdgeKind::member));
        shared = !images.empty();
      }
    }
    json::value parents = nullptr;
    if (auto parent = by_chain.find(record.parent); parent != by_chain.end())
      parents = json::array{parent->second};
    const bool in_use = TRY(view.reachable(node.id));
    out.push_back(json::object{{"ID", node.key},
                               {"Parents", std::move(parents)},
                               {"Type", record.type},
                               {"Description", record.description},
                               {"InUse", in_use},
                               {"Shared", shared},
                               {"Size", size},
                               {"CreatedAt", format_time(node.created_at)},
                               {"LastUsedAt", format_time(node.used_at)},
                               {"UsageCount", record.uses}});
  }
  return out;
}

namespace {

struct PruneFilter {
  std::optional<int64_t> unused_since;  // ns since the epoch
  api::Strings ids, types;

  static Result<PruneFilter> parse(const std::map<std::string, api::Strings>& filters) {
    PruneFilter out;
    for (const auto& [key, values] : filters) {
      if (key == "until" || key == "unused-for") {
        if (values.size() != 1) return invalid("filter '{}' takes one value", key);
        if (Result<int64_t> ago = parse_duration(values[0]); ago)
          out.unused_since = now_ns() - *ago;
        else
          out.unused_since = TRY(parse_time(values[0]).context("invalid filter '{}'", key));
      } else if (key == "id") {
        out.ids = values;
      } else if (key == "type") {
        out.types = values;
      } else {
        return invalid("invalid filter '{}'", key);
      }
    }
    return out;
  }
  bool takes(const graph::Node& node, const BuildRecord& record) const {
    if (unused_since && node.used_at > *unused_since) return false;
    auto has = [](const api::Strings& list, auto matches) {
      return list.empty() || std::any_of(list.begin(), list.end(), matches);
    };
    return has(ids, [&](const std::string& id) { return node.key.starts_with(id); }) &&
           has(types, [&](const std::string& type) { return record.type == type; });
  }
};

}  // namespace

Result<BuildPrune::Output> BuildCache::prune(engine::JobContext& job,
                                             const BuildPrune::Input& input) {
  const PruneFilter filter = TRY(PruneFilter::parse(input.filters));
  TRY(daemon_.images().store().lock(job));
  graph::Graph& graph = daemon_.graph();
  graph::View view = graph.read();
  std::vector<graph::Node> nodes = TRY(view.list(NodeKind::build_record));
  std::sort(nodes.begin(), nodes.end(),
            [](const auto& a, const auto& b) { return a.used_at < b.used_at; });
  struct Candidate {
    graph::Node node;
    int64_t size = 0;
  };
  std::vector<Candidate> candidates;
  int64_t total = 0;
  for (graph::Node& node : nodes) {
    TRY(job.check());
    BuildRecord record = TRY(json::parse<BuildRecord>(node.data));
    int64_t size = 0;
    bool shared = false;
    if (!record.directory.empty()) {
      size = directory_size(daemon_.options().data_root + "/build-cache/" + record.directory);
    } else if (!record.diff_id.empty()) {
      if (Result<graph::Node> layer = view.get(NodeKind::layer, record.chain_id); layer) {
        std::vector<graph::Node> images = TRY(view.holders(layer->id, EdgeKind::member));
        shared = !images.empty();
        if (!shared) size = layer->size;
      }
    }
    total += size;
    const bool in_use = TRY(view.reachable(node.id));
    if (in_use || (shared && !input.all) || !filter.takes(node, record)) continue;
    candidates.push_back({std::move(node), size});
  }
  BuildPrune::Output output;
  std::vector<graph::Node> going;
  for (Candidate& one : candidates) {
    if (input.keep_storage > 0 && total <= input.keep_storage) break;
    total -= one.size;
    output.SpaceReclaimed += one.size;
    output.CachesDeleted.push_back(one.node.key);
    going.push_back(std::move(one.node));
  }
  TRY(failpoint("build.prune"));
  engine::Engine& engine = daemon_.engine();
  job.on_commit([&graph, &engine, going](graph::Transaction& tx) -> Status {
    graph::View now = graph.read(tx);
    for (const graph::Node& record : going) {
      std::vector<graph::Edge> holders = TRY(now.in(record.id));
      if (!holders.empty()) continue;  // leased meanwhile
      std::vector<graph::Node> layers = TRY(now.targets(record.id, EdgeKind::built_from));
      TRY(graph.remove(tx, record.id));
      TRY(engine.release_owned(tx, "build_record:" + record.key));
      // Layers that nothing holds any more go, from the top down.
      while (!layers.empty()) {
        graph::Node layer = std::move(layers.back());
        layers.pop_back();
        std::vector<graph::Edge> users = TRY(now.in(layer.id));
        if (!users.empty()) continue;
        layers = TRY(now.targets(layer.id, EdgeKind::parent));
        TRY(graph.remove(tx, layer.id));
        TRY(engine.release_owned(tx, "layer:" + layer.key));
      }
    }
    return {};
  });
  job.after_commit([&engine] { engine.wake_releaser(); });
  return output;
}

}  // namespace gantry::daemon

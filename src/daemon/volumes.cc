#include "daemon/volumes.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/clock.h"
#include "base/copy_tree.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/sys.h"
#include "daemon/daemon.h"
#include "daemon/events.h"
#include "daemon/filters.h"
#include "daemon/names.h"
#include "drivers/graph/rootfs_mount.h"
#include "graph/graph.h"

namespace gantry::daemon {
namespace {

constexpr std::string_view kKind = "volume-dir";
constexpr std::string_view kAnonymousLabel = "com.docker.volume.anonymous";

// What the graph keeps of a volume.
struct VolumeRecord {
  api::StringMap labels, options;
};

constexpr int kMaxDepth = 512;  // an open descriptor a level; what lies deeper is not counted

// Containers may be changing it: each step is by descriptor and follows no link.
int64_t tree_size(int directory, int depth = 0) {
  Result<std::vector<std::string>> names = fs::list_directory(directory);
  int64_t total = 0;
  if (!names) return 0;
  for (const std::string& name : *names) {
    Result<struct stat> st = sys::fstatat(directory, name);
    if (!st) continue;
    if (!S_ISDIR(st->st_mode)) {
      total += st->st_size;
    } else if (depth < kMaxDepth) {
      Result<UniqueFd> below = sys::openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (below) total += tree_size(below->get(), depth + 1);
    }
  }
  return total;
}

int64_t content_size(const std::string& directory) {
  Result<UniqueFd> content = sys::open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  return content ? tree_size(content->get()) : 0;
}

}  // namespace
}  // namespace gantry::daemon

template <>
struct gantry::json::Schema<gantry::daemon::VolumeRecord> {
  using T = gantry::daemon::VolumeRecord;
  static constexpr Field fields[] = {field<&T::labels>("labels"), field<&T::options>("options")};
};

namespace gantry::daemon {

Volumes::Volumes(Daemon& daemon) : daemon_(daemon) {
  engine::Engine& engine = daemon.engine();
  std::string root = daemon.options().data_root + "/volumes";
  engine::ResourceKind kind;
  kind.name = kKind;
  // Deferred, so that the data goes only when the transaction that forgets the volume is on disk.
  kind.mode = engine::Release::deferred;
  kind.probe = [root](const engine::Resource& volume) -> Result<engine::Presence> {
    return fs::exists(root + "/" + volume.name) ? engine::Presence::present
                                                : engine::Presence::absent;
  };
  kind.release = [root](const engine::Resource& volume) {
    return fs::remove_tree(root + "/" + volume.name);
  };
  log::ignored("volumes", engine.resources().add(std::move(kind)));
  engine::JobOptions durable{.job_class = engine::JobClass::container,
                             .durability = graph::Durability::full};
  engine::JobOptions removal = durable;
  removal.space = graph::Space::reserve;
  engine.add<VolumeCreate>(
      [this](engine::JobContext& job, VolumeCreate::Input in) { return create(job, in); }, durable);
  engine.add<VolumeRemove>(
      [this](engine::JobContext& job, VolumeRemove::Input in) { return remove(job, in); }, removal);
  engine.add<VolumeRestore>(
      [this](engine::JobContext& job, VolumeRestore::Input in) { return restore(job, in); },
      durable);
  engine.add<VolumePrune>(
      [this](engine::JobContext& job, VolumePrune::Input in) { return prune(job, in); },
      engine::JobClass::maintenance);
  register_copies();
}

std::string Volumes::directory(const std::string& name) const {
  return daemon_.options().data_root + "/volumes/" + name + "/_data";
}

Result<api::Strings> Volumes::missing(const std::vector<MountPoint>& mounts) const {
  api::Strings out;
  auto of_volume = [](const MountPoint& mount) { return mount.type == "volume"; };
  if (std::none_of(mounts.begin(), mounts.end(), of_volume)) return out;
  graph::View view = daemon_.graph().read();
  for (const MountPoint& mount : mounts) {
    if (!of_volume(mount) || std::find(out.begin(), out.end(), mount.name) != out.end()) continue;
    if (!TRY(view.contains(graph::NodeKind::volume, mount.name))) out.push_back(mount.name);
  }
  return out;
}

engine::Resource Volumes::intent(const std::string& name) const {
  return {std::string(kKind), name, "volume:" + name, ""};
}

Status Volumes::make(const std::string& name) const {
  TRY(failpoint("volume.directory"));
  TRY(fs::make_directories(daemon_.options().data_root + "/volumes/" + name, 0701));
  TRY(failpoint("volume.directory.made"));
  return fs::make_directories(directory(name), 0755);
}

// Each directory, and the entry that names it.
Status Volumes::sync(const std::string& name) const {
  std::string content = directory(name);
  for (int level = 0; level < 3; ++level) {
    TRY(fs::sync_directory(content));
    content.resize(content.rfind('/'));
  }
  return {};
}

Status Volumes::add_node(graph::Transaction& tx, const std::string& name, bool anonymous,
                         api::StringMap labels) const {
  VolumeRecord record{std::move(labels), {}};
  if (anonymous) record.labels[std::string(kAnonymousLabel)] = "";
  graph::Node node;
  node.kind = graph::NodeKind::volume;
  node.key = name;
  node.data = json::dump(record);
  TRY(daemon_.graph().insert(tx, node));
  return {};
}

Result<engine::Nothing> Volumes::restore(engine::JobContext& job,
                                         const VolumeRestore::Input& input) {
  const std::string& name = input.name;
  TRY(job.lock({{engine::LockKind::volume, name}}));
  const bool known = TRY(daemon_.graph().read().contains(graph::NodeKind::volume, name));
  auto add = [this, name, known](graph::Transaction& tx) {
    return known ? Status() : add_node(tx, name, false);
  };
  // Its data are a user's: no failure of this job takes them away.
  if (daemon_.engine().resources().get(kKind, name))
    job.on_commit(add);
  else
    TRY(job.adopt({intent(name)}, add));
  TRY(make(name));
  TRY(sync(name));
  return engine::Nothing{};
}

void Volumes::make_good(const engine::ReconcileReport& report) const {
  for (const engine::Finding& finding : report.findings) {
    if (finding.what != engine::Finding::What::vanished || finding.kind != kKind) continue;
    auto made =
        daemon_.engine().run<VolumeRestore>({finding.name}, {.caller = {.name = "gantryd"}});
    if (made)
      log::warn("volume {}: its directory was gone, and what was in it; it is there again, empty",
                finding.name);
    else
      log::warn("volume {}: its directory is gone: {}", finding.name, made.error().message());
  }
}

Result<api::Strings> Volumes::on_disk() const {
  api::Strings names = TRY(fs::list_directory(daemon_.options().data_root + "/volumes"));
  // A file system's own "lost+found" is none, nor is a volume that was begun and not made.
  std::erase_if(names, [&](const std::string& name) {
    return !is_valid_name(name) || !fs::exists(directory(name));
  });
  std::sort(names.begin(), names.end());
  return names;
}

void Volumes::created(const std::string& name) const {
  daemon_.events().publish({"volume", "create", name, {{"driver", "local"}}, 0});
}

Status Volumes::copy_up(const std::vector<MountPoint>& mounts, const RootfsSource& rootfs) const {
  UniqueFd root;
  for (const MountPoint& mount : mounts) {
    if (mount.type != "volume" || mount.no_copy) continue;
    std::vector<std::string> present = TRY(fs::list_directory(mount.source));
    if (!present.empty()) continue;
    if (!root) root = TRY(drivers::open_rootfs(rootfs));
    UniqueFd copy = TRY(sys::dup(root.get()));
    Beneath beneath(std::move(copy));
    Result<UniqueFd> source = beneath.open(mount.destination, O_RDONLY | O_DIRECTORY);
    if (!source) continue;  // the image has no such directory
    UniqueFd target = TRY(sys::open(mount.source, O_RDONLY | O_DIRECTORY));
    TRY(failpoint("volume.copy"));
    TRY(fs::copy_tree(source->get(), target.get())
            .context("copying {} of the image to volume {}", mount.destination, mount.name));
  }
  return {};
}

namespace {

Result<json::object> to_json(const Volumes& volumes, const graph::Node& node) {
  VolumeRecord record = TRY(json::parse<VolumeRecord>(node.data));
  json::object out;
  out["CreatedAt"] = format_time(node.created_at / 1'000'000'000 * 1'000'000'000);
  out["Driver"] = "local";
  out["Labels"] = record.labels.empty() ? json::value(nullptr) : json::encode(record.labels);
  out["Mountpoint"] = volumes.directory(node.key);
  out["Name"] = node.key;
  out["Options"] = record.options.empty() ? json::value(nullptr) : json::encode(record.options);
  out["Scope"] = "local";
  return out;
}

}  // namespace

Result<json::object> Volumes::inspect(const std::string& name) const {
  Result<graph::Node> node = daemon_.graph().read().get(graph::NodeKind::volume, name);
  if (!node) return not_found("get {}: no such volume", name);
  return to_json(*this, *node);
}

Result<json::object> Volumes::list(const std::map<std::string, api::Strings>& filters) const {
  TRY(check_filter_keys(filters, {"dangling", "driver", "label", "name"}));
  graph::View view = daemon_.graph().read();
  std::vector<graph::Node> nodes = TRY(view.list(graph::NodeKind::volume));
  auto any = [&](const char* key, auto test) {
    auto found = filters.find(key);
    return found == filters.end() || std::any_of(found->second.begin(), found->second.end(), test);
  };
  json::array out;
  for (const graph::Node& node : nodes) {
    VolumeRecord record = TRY(json::parse<VolumeRecord>(node.data));
    std::vector<graph::Edge> holders = TRY(view.in(node.id));
    if (!any("name", [&](const std::string& v) { return node.key.find(v) != std::string::npos; }) ||
        !any("driver", [&](const std::string& v) { return v == "local"; }) ||
        !any("dangling",
             [&](const std::string& v) { return (v == "true" || v == "1") == holders.empty(); }) ||
        !matches_labels(filters, record.labels))
      continue;
    json::object shown = TRY(to_json(*this, node));
    out.push_back(std::move(shown));
  }
  return json::object{{"Volumes", std::move(out)}, {"Warnings", nullptr}};
}

Result<json::array> Volumes::usage() const {
  graph::View view = daemon_.graph().read();
  std::vector<graph::Node> nodes = TRY(view.list(graph::NodeKind::volume));
  json::array out;
  for (const graph::Node& node : nodes) {
    json::object shown = TRY(to_json(*this, node));
    std::vector<graph::Node> users = TRY(view.holders(node.id, graph::EdgeKind::uses));
    shown["UsageData"] =
        json::object{{"Size", content_size(directory(node.key))}, {"RefCount", users.size()}};
    out.push_back(std::move(shown));
  }
  return out;
}

Result<VolumeCreate::Output> Volumes::create(engine::JobContext& job,
                                             const VolumeCreate::Input& input) {
  std::string name = input.Name.empty() ? random_hex(32) : input.Name;
  if (!input.Driver.empty() && input.Driver != "local")
    return not_found("error looking up volume plugin {}: plugin \"{}\" not found", input.Driver,
                     input.Driver);
  if (!is_valid_name(name))
    return invalid(
        "create {}: \"{}\" includes invalid characters for a local volume name, only "
        "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use "
        "absolute path",
        name, name);
  if (!input.DriverOpts.empty())
    return unsupported(
        "create {}: options of the local volume driver (\"{}\") are not supported yet", name,
        input.DriverOpts.begin()->first);
  TRY(job.lock({{engine::LockKind::volume, name}}));
  bool exists = TRY(daemon_.graph().read().contains(graph::NodeKind::volume, name));
  if (exists) {
    json::object shown = TRY(inspect(name));
    return VolumeCreate::Output{std::move(shown)};
  }
  TRY(job.take({intent(name)}));
  TRY(make(name));
  TRY(sync(name));
  VolumeRecord record{input.Labels, {}};
  if (input.Name.empty()) record.labels[std::string(kAnonymousLabel)] = "";
  graph::Node node;
  node.kind = graph::NodeKind::volume;
  node.key = name;
  node.data = json::dump(record);
  node.created_at = now_ns();
  job.on_commit([this, node](graph::Transaction& tx) -> Status {
    TRY(daemon_.graph().insert(tx, node));
    return {};
  });
  job.after_commit([this, name] { created(name); });
  json::object shown = TRY(to_json(*this, node));
  return VolumeCreate::Output{std::move(shown)};
}

Result<VolumeRemove::Output> Volumes::remove(engine::JobContext& job,
                                             const VolumeRemove::Input& input) {
  TRY(job.lock({{engine::LockKind::volume, input.name}}));
  graph::View view = daemon_.graph().read();
  Result<graph::Node> node = view.get(graph::NodeKind::volume, input.name);
  if (!node) {
    if (input.force) return VolumeRemove::Output{};
    return not_found("get {}: no such volume", input.name);
  }
  std::vector<graph::Node> users = TRY(view.holders(node->id, graph::EdgeKind::uses));
  if (!users.empty()) {
    std::string ids;
    for (const graph::Node& user : users) ids += (ids.empty() ? "" : ", ") + user.key;
    return conflict("remove {}: volume is in use - [{}]", input.name, ids);
  }
  TRY(job.release_owned("volume:" + input.name));
  job.on_commit(
      [this, id = node->id](graph::Transaction& tx) { return daemon_.graph().remove(tx, id); });
  job.after_commit([this, name = input.name] {
    daemon_.events().publish({"volume", "destroy", name, {{"driver", "local"}}, 0});
  });
  return VolumeRemove::Output{};
}

Result<VolumePrune::Output> Volumes::prune(engine::JobContext& job,
                                           const VolumePrune::Input& input) {
  TRY(check_filter_keys(input.filters, {"label", "label!", "all"}));
  bool all = false;
  if (auto found = input.filters.find("all"); found != input.filters.end())
    all = std::any_of(found->second.begin(), found->second.end(),
                      [](const std::string& v) { return v == "true" || v == "1"; });
  VolumePrune::Output output;
  std::vector<graph::Node> nodes = TRY(daemon_.graph().read().list(graph::NodeKind::volume));
  for (const graph::Node& node : nodes) {
    VolumeRecord record = TRY(json::parse<VolumeRecord>(node.data));
    if (!all && !record.labels.contains(std::string(kAnonymousLabel))) continue;
    if (!matches_labels(input.filters, record.labels)) continue;
    int64_t size = content_size(directory(node.key));
    Result<VolumeRemove::Output> removed = job.run<VolumeRemove>({node.key, false});
    if (!removed) continue;  // in use
    output.VolumesDeleted.push_back(node.key);
    output.SpaceReclaimed += size;
  }
  return output;
}

}  // namespace gantry::daemon

// The job system.rebuild: a database that was lost is filled again from what is on the disk.
#include <set>

#include "base/fs.h"
#include "daemon/container_record.h"
#include "daemon/daemon.h"
#include "daemon/images.h"
#include "daemon/maintenance.h"
#include "daemon/networks.h"
#include "daemon/options.h"
#include "daemon/volumes.h"
#include "drivers/graph/graph_driver.h"
#include "engine/engine.h"
#include "image/image_store.h"

namespace gantry::daemon {

namespace {

// Names of nodes whose records still say them.
template <typename Record>
Status claim_names(Daemon& daemon, engine::JobContext& job, graph::NodeKind kind,
                   std::string (*name_of)(const Record&)) {
  for (const graph::Node& node : TRY(daemon.graph().read().list(kind))) {
    Result<Record> record = json::parse<Record>(node.data);
    if (!record) continue;
    const std::string name = name_of(*record);
    if (daemon.graph().read().get_by_name(kind, name)) continue;
    TRY(job.commit_now([&](graph::Transaction& tx) {
      return daemon.graph().claim_name(tx, kind, name, node.id);
    }));
  }
  return {};
}

// What networks held that are no more: it is the kernel's, and stands in the way of the new ones.
Status release_lost_networks(Daemon& daemon, engine::JobContext& job) {
  std::set<std::string> owners;
  for (const engine::ResourceRow& row : TRY(daemon.engine().resources().list())) {
    constexpr std::string_view kNetwork = "network:";
    if (!row.owner.starts_with(kNetwork)) continue;
    bool known = TRY(daemon.graph().read().contains(graph::NodeKind::network,
                                                    row.owner.substr(kNetwork.size())));
    if (!known) owners.insert(row.owner);
  }
  for (const std::string& owner : owners) TRY(job.release_owned(owner));
  if (!owners.empty()) TRY(job.commit_now());
  return daemon.networks().remove_lost();
}

}  // namespace

Result<SystemRebuild::Output> Maintenance::rebuild(engine::JobContext& job) {
  SystemRebuild::Output output;
  image::Rebuilt images = TRY(daemon_.images().store().rebuild(job));
  for (const std::string& id : images.images) output.made.push_back("image " + id);
  for (const std::string& id : images.incomplete)
    output.not_made.push_back(
        fmt::format("image {}: its layers are not all there: load or pull it again", id));
  if (!images.images.empty())
    output.not_made.push_back("names of images that are in no archive of --images-dir: tag them");

  TRY(claim_names<ContainerRecord>(daemon_, job, graph::NodeKind::container,
                                   [](const ContainerRecord& record) { return record.name; }));
  TRY(claim_names<NetworkRecord>(daemon_, job, graph::NodeKind::network,
                                 [](const NetworkRecord& record) { return record.config.name; }));
  TRY(release_lost_networks(daemon_, job));

  graph::View view = daemon_.graph().read();
  engine::Resources& resources = daemon_.engine().resources();
  const std::string& root = daemon_.options().data_root;
  for (const std::string& name : TRY(daemon_.volumes().on_disk())) {
    bool known = TRY(view.contains(graph::NodeKind::volume, name));
    if (known && resources.get("volume-dir", name)) continue;
    TRY(job.run<VolumeRestore>({name}));
    output.made.push_back("volume " + name);
  }

  // A container is more than its directories; those without a record stay where they are.
  std::set<std::string> lost;
  for (const char* kind : {"container-files", drivers::kContainerKind.data()}) {
    std::vector<engine::Resource> found = TRY(resources.find_kind(kind)->enumerate());
    for (const engine::Resource& one : found) {
      bool known = TRY(view.contains(graph::NodeKind::container, one.name));
      if (!known) {
        lost.insert(one.name);
      } else if (!resources.get(kind, one.name)) {
        TRY(job.adopt({{kind, one.name, "container:" + one.name, ""}}));
      }
    }
  }
  for (const std::string& id : lost)
    output.not_made.push_back(
        fmt::format("container {}: its files are in {}/containers/{} and {}/{}/containers/{}", id,
                    root, id, root, daemon_.graph_driver().name(), id));
  return output;
}

}  // namespace gantry::daemon

#include <signal.h>

#include <algorithm>
#include <optional>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "daemon/containers_impl.h"
#include "daemon/filters.h"
#include "daemon/volumes.h"
#include "drivers/graph/graph_driver.h"

namespace gantry::daemon {

Containers::Impl::Removal::Removal(Impl& containers, std::string id)
    : containers_(containers), id_(std::move(id)) {
  std::lock_guard lock(containers_.removals_mutex);
  containers_.removals.insert(id_);
}

Containers::Impl::Removal::~Removal() {
  std::lock_guard lock(containers_.removals_mutex);
  containers_.removals.erase(containers_.removals.find(id_));
}

bool Containers::Impl::being_removed(const std::string& id) const {
  std::lock_guard lock(removals_mutex);
  return removals.contains(id);
}

Result<Nothing> Containers::Impl::remove(engine::JobContext& job,
                                         const ContainerRemove::Input& input) {
  std::shared_ptr<Container> container = TRY(table.find(input.container));
  std::shared_ptr<const ContainerRecord> record = container->record();
  if (record->running()) {
    if (!input.force)
      return conflict(
          "cannot remove container \"{}\": container is {}: {} before removing or force remove",
          record->name, record->state.status,
          record->state.status == "paused" ? "unpause and then stop the container"
                                           : "stop the container");
  }
  std::optional<Removal> removal;  // a restart that is under way must not undo the kill
  if (input.force) {
    removal.emplace(*this, record->id);
    TRY(end_runs(job, *container, SIGKILL, std::nullopt)
            .context("cannot remove container \"{}\": could not kill", record->name));
  }
  TRY(job.lock({{engine::LockKind::container, record->id}}));
  if (!table.by_id(record->id)) return Nothing{};  // --rm was quicker
  if (container->record()->running())
    return conflict(
        "cannot remove container \"{}\": container is running: it was started meanwhile",
        record->name);
  TRY(remove_locked(job, container, input.volumes));
  job.after_commit([this, container, record = *container->record()] {
    publish_event(record, "destroy");
    table.remove(record.id);
    container->wake_waiters(true, {record.state.exit_code, {}});
    (void)container->take_pending();
  });
  return Nothing{};
}

Status Containers::Impl::remove_locked(engine::JobContext& job,
                                       const std::shared_ptr<Container>& container, bool volumes) {
  std::shared_ptr<const ContainerRecord> record = container->record();
  TRY(failpoint("container.release"));
  TRY(job.release_owned(owner_of(record->id)));
  api::Strings dropped;
  auto anonymous = [](const MountPoint& mount) {
    return mount.type == "volume" && mount.anonymous;
  };
  if (volumes && std::any_of(record->mounts.begin(), record->mounts.end(), anonymous)) {
    graph::View view = daemon.graph().read();
    for (const MountPoint& mount : record->mounts) {
      if (!anonymous(mount)) continue;
      Result<graph::Node> node = view.get(graph::NodeKind::volume, mount.name);
      if (!node) continue;
      std::vector<graph::Edge> holders = TRY(view.in(node->id));
      if (holders.size() > 1) continue;  // another container's, by --volumes-from
      dropped.push_back(mount.name);
    }
  }
  for (const std::string& name : dropped) TRY(job.release_owned("volume:" + name));
  job.on_commit([this, id = record->id, dropped](graph::Transaction& tx) -> Status {
    graph::View view = daemon.graph().read(tx);
    graph::Node node = TRY(view.get(graph::NodeKind::container, id));
    TRY(daemon.graph().remove(tx, node.id));
    for (const std::string& name : dropped) {
      graph::Node volume = TRY(view.get(graph::NodeKind::volume, name));
      TRY(daemon.graph().remove(tx, volume.id));
    }
    return {};
  });
  job.after_commit([this, id = record->id] {
    std::lock_guard lock(exec_mutex);
    std::erase_if(execs, [&](const auto& entry) { return entry.second.container == id; });
  });
  return {};
}

Result<ContainerPrune::Output> Containers::Impl::prune(engine::JobContext& job,
                                                       const ContainerPrune::Input& input) {
  ContainerPrune::Output output;
  Filters filters(input.filters.begin(), input.filters.end());
  TRY(check_filter_keys(filters, {"label", "label!", "until"}));
  int64_t until = TRY(until_filter(filters));
  for (const std::shared_ptr<Container>& container : table.all()) {
    TRY(job.check());
    std::shared_ptr<const ContainerRecord> record = container->record();
    if (record->running() || record->state.status == "restarting") continue;
    if (until != 0 && record->created > until) continue;
    if (!matches_labels(filters, record->config.Labels)) continue;
    ContainerRemove::Input removal{record->id, false, false};
    Result<Nothing> removed = job.run<ContainerRemove>(std::move(removal));
    if (removed)
      output.ContainersDeleted.push_back(record->id);
    else
      log::warn("prune of container {}: {}", record->id, removed.error().message());
  }
  return output;
}

Result<Nothing> Containers::Impl::failed(engine::JobContext& job,
                                         const ContainerFailed::Input& input) {
  std::shared_ptr<Container> container = TRY(table.find(input.container));
  TRY(job.lock({{engine::LockKind::container, container->id()}}));
  ContainerRecord record = TRY(json::parse<ContainerRecord>(input.record));
  if (record.host_config.AutoRemove) {
    TRY(remove_locked(job, container, true));
    job.after_commit([this, container, record] {
      container->publish(record);
      publish_event(record, "destroy");
      table.remove(record.id);
    });
  } else {
    commit(job, *container, record);
  }
  return Nothing{};
}

}  // namespace gantry::daemon

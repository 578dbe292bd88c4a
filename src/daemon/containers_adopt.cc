// Start-up: what the graph remembers meets what still runs.
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "daemon/containers_impl.h"

namespace gantry::daemon {
namespace {

engine::SubmitOptions ourselves() {
  engine::SubmitOptions options;
  options.caller.name = "gantryd";
  return options;
}

}  // namespace

Status Containers::load() {
  std::vector<graph::Node> nodes =
      TRY(impl_->daemon.graph().read().list(graph::NodeKind::container));
  for (const graph::Node& node : nodes) {
    Result<ContainerRecord> record = json::parse<ContainerRecord>(node.data);
    if (!record) {
      log::error("container {}: its record cannot be read and is left alone: {}", node.key,
                 record.error().message());
      continue;
    }
    const std::string name = record->name;
    log::ignored("container " + node.key,
                 impl_->table.add(std::make_shared<Container>(record.release()), name));
  }
  return {};
}

// Takes no locks: nothing else is done to containers before this has ended.
Result<ContainerAdopt::Output> Containers::Impl::adopt(engine::JobContext& job) {
  ContainerAdopt::Output output;
  for (const std::shared_ptr<Container>& container : table.all()) {
    ContainerRecord record = *container->record();
    if (!record.running()) continue;
    TRY(job.check());
    Result<std::shared_ptr<drivers::Instance>> instance =
        daemon.exec_driver().adopt(runtime_directory_of(record));
    if (instance && (*instance)->state() != drivers::InstanceState::exited) {
      ++output.adopted;
      log::info("container {} ({}): still running, adopted", record.name, short_id(record.id));
      if (record.state.start_follows) {  // the restart that was stopping it has gone with its daemon
        record.state.start_follows = record.state.manually_stopped = false;
        job.on_commit([this, record](graph::Transaction& tx) { return store(tx, record); });
      }
      // Not after the commit: its end may be told at any moment, and is recorded by a job that
      // waits for nothing of this one.
      daemon.networks().connected(record);
      container->set_running(record, *instance);
      watch(container, record.state.run, *instance);
    } else if (instance) {  // it ended while nobody listened, and its shim wrote down how
      const drivers::ExitStatus end = (*instance)->exit_status().value_or(drivers::ExitStatus{});
      output.ended.push_back(
          {record.id, record.state.run, end.code, end.oom, end.finished_at, end.reason});
    } else if (instance.error().kind() == ErrorKind::unavailable) {
      // A shim that lives and does not answer may yet do so: its container is not taken from it.
      log::error("container {} ({}): {}; it is left alone until the next start", record.name,
                 short_id(record.id), instance.error().message());
    } else {
      log::warn("container {}: {}", record.name, instance.error().message());
      output.ended.push_back({record.id, record.state.run, 137, false, now_ns(),
                              "its shim was gone when the daemon started"});
    }
  }
  return output;
}

Status Containers::adopt() {
  engine::Engine& engine = impl_->daemon.engine();
  ContainerAdopt::Output found = TRY(engine.run<ContainerAdopt>({}, ourselves()));
  std::vector<std::shared_ptr<engine::JobHandle<Nothing>>> ends;
  for (ContainerExit::Input& ended : found.ended)
    ends.push_back(engine.submit<ContainerExit>(std::move(ended), ourselves()));
  for (const auto& end : ends) {
    Result<Nothing> recorded = end->wait();
    if (!recorded) log::error("recording the end of a container: {}", recorded.error().message());
  }
  return {};
}

void Containers::resume() {
  for (const std::shared_ptr<Container>& container : impl_->table.all()) {
    std::shared_ptr<const ContainerRecord> record = container->record();
    const std::string& policy = record->host_config.restart_policy.Name;
    bool wanted =
        record->state.status == "restarting" ||
        (record->state.status == "exited" && record->state.start_follows) ||
        (record->state.status == "exited" && record->state.started_at != 0 &&
         (policy == "always" || (policy == "unless-stopped" && !record->state.manually_stopped)));
    if (wanted)
      (void)impl_->daemon.engine().submit<ContainerStart>({record->id, {}}, ourselves());
  }
}

}  // namespace gantry::daemon

// Start-up: what the graph remembers meets what still runs.
#include <algorithm>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "daemon/containers_impl.h"
#include "daemon/name_service.h"

namespace gantry::daemon {
namespace {

constexpr int64_t kFirstRetry = 250'000'000, kLongestRetry = 16'000'000'000;

// Whether a daemon that starts owes this container a start: its policy's, or that of a restart
// whose daemon went after the stop.
bool is_owed_a_start(const ContainerRecord& record) {
  const ContainerState& state = record.state;
  if (state.between_runs()) return true;
  if (state.status != "exited") return false;
  const std::string& policy = record.host_config.restart_policy.Name;
  return state.started_at != 0 &&
         (policy == "always" || (policy == "unless-stopped" && !state.manually_stopped));
}

bool has_own_network(const ContainerRecord& record) {
  const std::string& mode = record.host_config.NetworkMode;
  return mode != "host" && !mode.starts_with("container:");
}

// What is missing may be ours (descriptors, memory), and comes back; the container may well run.
bool is_transient(const Error& error) {
  return error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::conflict ||
         (error.code() != 0 && error.kind() != ErrorKind::not_found);
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
    // Until resume() starts it, a stop finds something to call off.
    if (is_owed_a_start(*record)) record->state.status = "restarting";
    const std::string name = record->name;
    log::ignored("container " + node.key,
                 impl_->table.add(std::make_shared<Container>(record.release()), name));
  }
  return {};
}

// At start it takes no locks: nothing else is done to containers before it has ended.
Result<ContainerAdopt::Output> Containers::Impl::adopt(engine::JobContext& job,
                                                       const ContainerAdopt::Input& input) {
  ContainerAdopt::Output output;
  if (!input.container.empty()) {
    TRY(adopt_one(job, TRY(find_locked(job, input.container)), output));
    return output;
  }
  for (const std::shared_ptr<Container>& container : table.all()) {
    TRY(job.check());
    TRY(adopt_one(job, container, output));
  }
  return output;
}

Status Containers::Impl::adopt_one(engine::JobContext& job,
                                   const std::shared_ptr<Container>& container,
                                   ContainerAdopt::Output& output) {
  ContainerRecord record = *container->record();
  if (!record.running() || container->instance()) return {};
  Result<std::shared_ptr<drivers::Instance>> instance =
      daemon.exec_driver().adopt(runtime_directory_of(record));
  if (instance && (*instance)->state() != drivers::InstanceState::exited) {
    ++output.adopted;
    log::info("container {} ({}): still running, adopted", record.name, short_id(record.id));
    if (record.state.start_follows) {  // the restart that was stopping it has gone with its daemon
      record.state.start_follows = record.state.manually_stopped = false;
      job.on_commit([this, record](graph::Transaction& tx) { return store(tx, record); });
    }
    // A pause that the last daemon made and did not record, or the other way round.
    Status paused = record.state.status == "paused" ? (*instance)->pause() : (*instance)->resume();
    if (!paused && paused.error().kind() != ErrorKind::conflict)
      log::ignored("container " + record.id, paused);
    // Not after the commit: its end may be told at any moment, and is recorded by a job that
    // waits for nothing of this one.
    daemon.networks().connected(record);
    // What a change of its networks left that was interrupted.
    if (!record.sandbox_key.empty() && has_own_network(record)) {
      const std::string what = "network of container " + record.id;
      log::ignored(what, daemon.networks().settle_adopted(record, (*instance)->netns_fd()));
      log::ignored(what, daemon.networks().update_files(directory_of(record.id), record, record));
    }
    log::ignored("names of container " + record.name, daemon.names().adopt(record, **instance));
    container->set_running(record, *instance);
    watch(container, record.state.run, *instance);
    start_checks(container);
  } else if (instance) {  // it ended while nobody listened, and its shim wrote down how
    const drivers::ExitStatus end = (*instance)->exit_status().value_or(drivers::ExitStatus{});
    output.ended.push_back(
        {record.id, record.state.run, end.code, end.oom, end.finished_at, end.reason});
  } else if (is_transient(instance.error())) {
    log::error("container {} ({}): its shim cannot be reached, it is tried again: {}", record.name,
               short_id(record.id), instance.error().message());
    output.unreached.push_back(record.id);
  } else {
    log::warn("container {}: {}", record.name, instance.error().message());
    output.ended.push_back({record.id, record.state.run, 137, false, now_ns(),
                            "its shim was gone when the daemon started"});
  }
  return {};
}

void Containers::Impl::adopt_later(const std::string& id, int64_t retry_ns) {
  timer->schedule(retry_ns, [this, id, retry_ns] {
    auto job = daemon.engine().submit<ContainerAdopt>({id}, ourselves());
    // The job may end when this object has gone; the timer, which calls it, is stopped before.
    job->on_done([this, clock = timer, job, id, retry_ns] {
      Result<ContainerAdopt::Output> found = job->wait();
      if (!found) {
        if (found.error().kind() != ErrorKind::not_found)
          adopt_later(id, std::min(2 * retry_ns, kLongestRetry));
        return;
      }
      for (ContainerExit::Input& ended : found->ended) record_end(std::move(ended));
      if (!found->unreached.empty()) adopt_later(id, std::min(2 * retry_ns, kLongestRetry));
    });
  });
}

Status Containers::adopt() {
  engine::Engine& engine = impl_->daemon.engine();
  ContainerAdopt::Output found = TRY(engine.run<ContainerAdopt>({}, ourselves()));
  std::vector<std::shared_ptr<engine::JobHandle<Nothing>>> ends;
  for (const ContainerExit::Input& ended : found.ended)
    ends.push_back(engine.submit<ContainerExit>(ended, ourselves()));
  for (size_t i = 0; i < ends.size(); ++i) {
    Result<Nothing> recorded = ends[i]->wait();
    if (recorded) continue;
    log::error("recording the end of a container: {}", recorded.error().message());
    impl_->record_end(std::move(found.ended[i]));
  }
  for (const std::string& id : found.unreached) impl_->adopt_later(id, kFirstRetry);
  return {};
}

void Containers::resume() {
  for (const std::shared_ptr<Container>& container : impl_->table.all()) {
    std::shared_ptr<const ContainerRecord> record = container->record();
    // Not one that somebody stopped or removed since load().
    if (record->state.between_runs())
      (void)impl_->daemon.engine().submit<ContainerStart>({record->id, record->state.run},
                                                          ourselves());
  }
}

}  // namespace gantry::daemon

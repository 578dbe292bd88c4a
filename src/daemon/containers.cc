#include "daemon/containers.h"

#include <algorithm>

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "daemon/containers_impl.h"

namespace gantry::daemon {
namespace {

constexpr int64_t kFirstRetry = 250'000'000, kLongestRetry = 16'000'000'000;

}  // namespace

Containers::Containers(Daemon& daemon) : impl_(std::make_unique<Impl>(daemon)) {
  impl_->register_jobs();
}

Containers::~Containers() { shut_down(); }

void Containers::Impl::register_jobs() {
  using engine::JobClass;
  using engine::JobContext;
  engine::Engine& engine = daemon.engine();
  engine.add<ContainerCreate>(
      [this](JobContext& job, ContainerCreate::Input in) { return create(job, std::move(in)); },
      JobClass::container);
  engine.add<ContainerStart>(
      [this](JobContext& job, ContainerStart::Input in) { return start(job, in); },
      JobClass::container);
  engine.add<ContainerFailed>(
      [this](JobContext& job, ContainerFailed::Input in) { return failed(job, in); },
      JobClass::control);
  engine.add<ContainerExit>(
      [this](JobContext& job, ContainerExit::Input in) { return exited(job, in); },
      JobClass::control);
  engine.add<ContainerStop>(
      [this](JobContext& job, ContainerStop::Input in) { return stop(job, in); },
      JobClass::control);
  engine.add<ContainerRestart>(
      [this](JobContext& job, ContainerStop::Input in) { return restart(job, in); },
      JobClass::control);
  engine.add<ContainerMarkStopped>(
      [this](JobContext& job, ContainerMarkStopped::Input in) { return mark_stopped(job, in); },
      JobClass::control);
  engine.add<ContainerKill>(
      [this](JobContext& job, ContainerKill::Input in) { return kill(job, in); },
      JobClass::control);
  engine.add<ContainerPause>(
      [this](JobContext& job, ContainerStart::Input in) { return pause(job, in.container, true); },
      JobClass::control);
  engine.add<ContainerUnpause>(
      [this](JobContext& job, ContainerStart::Input in) { return pause(job, in.container, false); },
      JobClass::control);
  engine.add<ContainerRename>(
      [this](JobContext& job, ContainerRename::Input in) { return rename(job, in); },
      JobClass::control);
  engine.add<ContainerUpdate>(
      [this](JobContext& job, ContainerUpdate::Input in) { return update(job, in); },
      JobClass::control);
  engine.add<ContainerRemove>(
      [this](JobContext& job, ContainerRemove::Input in) { return remove(job, in); },
      JobClass::control);
  engine.add<ContainerPrune>(
      [this](JobContext& job, ContainerPrune::Input in) { return prune(job, in); },
      JobClass::maintenance);
  engine.add<ExecCreate>(
      [this](JobContext& job, ExecCreate::Input in) { return exec_create(job, in); },
      JobClass::container);
  engine.add<ExecStart>(
      [this](JobContext& job, ExecStart::Input in) { return exec_start(job, std::move(in)); },
      JobClass::container);
}

Status Containers::Impl::store(graph::Transaction& tx, const ContainerRecord& record) const {
  graph::Node node;
  node.kind = graph::NodeKind::container;
  node.key = record.id;
  node.data = json::dump(record);
  node.created_at = record.created;
  TRY(daemon.graph().put(tx, node));
  return {};
}

void Containers::Impl::commit(engine::JobContext& job, Container& container,
                              ContainerRecord record) {
  job.on_commit([this, record](graph::Transaction& tx) { return store(tx, record); });
  job.after_commit([&container, record] { container.publish(record); });
}

void Containers::Impl::publish_event(const ContainerRecord& record, const std::string& action,
                                     std::map<std::string, std::string> more) {
  Event event;
  event.type = "container";
  event.action = action;
  event.id = record.id;
  event.attributes = record.config.Labels;
  event.attributes["image"] = record.config.Image;
  event.attributes["name"] = record.name;
  event.attributes.merge(more);
  daemon.events().publish(std::move(event));
}

std::string Containers::Impl::directory_of(const std::string& id) const {
  return daemon.options().data_root + "/containers/" + id;
}
std::string Containers::Impl::runtime_directory_of(const ContainerRecord& record) const {
  return daemon.options().exec_root + "/shims/" + record.id + "-" + record.state.run;
}
std::string Containers::Impl::cgroup_of(const ContainerRecord& record) const {
  const std::string& parent = record.host_config.CgroupParent;
  if (!parent.empty())
    return (parent[0] == '/' ? parent : "/" + parent) + "/" + record.id + "-" + record.state.run;
  return "/gantry/" + daemon.instance() + "/" + record.id + "-" + record.state.run;
}

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
    auto container = std::make_shared<Container>(*record);
    log::ignored("container " + node.key, impl_->table.add(container, record->name));
    if (!record->running()) continue;
    impl_->adopt(container, Impl::Adoption::at_start, kFirstRetry);
  }
  return {};
}

void Containers::Impl::adopt(const std::shared_ptr<Container>& container, Adoption when,
                             int64_t retry_ns) {
  std::shared_ptr<const ContainerRecord> record = container->record();
  if (table.by_id(record->id) != container || !record->running() || container->instance()) return;
  Result<std::shared_ptr<drivers::Instance>> instance =
      daemon.exec_driver().adopt(runtime_directory_of(*record));
  if (instance && (*instance)->state() != drivers::InstanceState::exited) {
    daemon.networks().connected(*record);
    log::info("container {} ({}): still running, adopted", record->name, short_id(record->id));
    if (record->state.start_follows) {  // the restart that was stopping it has gone with its daemon
      ContainerRecord alone = *record;
      alone.state.start_follows = alone.state.manually_stopped = false;
      container->publish(alone);
    }
    // A pause that the last daemon made and did not record, or the other way round.
    Status paused = record->state.status == "paused" ? (*instance)->pause() : (*instance)->resume();
    if (!paused && paused.error().kind() != ErrorKind::conflict)
      log::ignored("container " + record->id, paused);
    container->set_instance(*instance);
    watch(container, record->state.run, *instance);
    return;
  }
  if (instance) {  // it ended while nobody listened, and its shim wrote down how
    const drivers::ExitStatus end = (*instance)->exit_status().value_or(drivers::ExitStatus{});
    ContainerExit::Input ended{record->id, record->state.run, end.code,
                               end.oom,    end.finished_at,   end.reason};
    if (when == Adoption::again) return record_end(std::move(ended));
    // Before the first request is answered, so that nobody is told that it runs.
    Status recorded = [&]() -> Status {
      TRY(daemon.engine().run<ContainerExit>(ended, {.caller = {.name = "gantryd"}}));
      return {};
    }();
    log::ignored("container " + record->id, recorded);
    if (!recorded) record_end(std::move(ended));
    return;
  }
  const Error& error = instance.error();
  bool transient = error.kind() == ErrorKind::conflict ||
                   (error.code() != 0 && error.kind() != ErrorKind::not_found);
  if (transient) {
    // It may well run: what is missing is ours (descriptors, memory), and comes back.
    log::error("container {}: its shim cannot be reached, it is tried again: {}", record->name,
               instance.error().message());
    timer->schedule(retry_ns, [this, container, retry_ns] {
      adopt(container, Adoption::again, std::min(2 * retry_ns, kLongestRetry));
    });
    return;
  }
  log::warn("container {}: {}", record->name, instance.error().message());
  ContainerExit::Input lost{record->id, record->state.run,
                            137,        false,
                            now_ns(),   "its shim was gone when the daemon started"};
  record_end(std::move(lost));
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
      (void)impl_->daemon.engine().submit<ContainerStart>({record->id, {}},
                                                          {.caller = {.name = "gantryd"}});
  }
}

void Containers::shut_down() { impl_->timer->stop(); }

}  // namespace gantry::daemon

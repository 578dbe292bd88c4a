#include "daemon/containers.h"

#include <algorithm>

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "daemon/containers_impl.h"

namespace gantry::daemon {
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
  engine.add<ContainerHealthCheck>(
      [this](JobContext& job, ContainerHealthCheck::Input in) { return health_check(job, in); },
      JobClass::control);
  engine.add<ContainerAdopt>(
      [this](JobContext& job, ContainerAdopt::Input in) { return adopt(job, in); },
      JobClass::control);
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
  // A tag must survive a power cut. Long, so that one which the daemon's end cut short is to be
  // found in the journal.
  engine.add<ImageCommit>(
      [this](JobContext& job, ImageCommit::Input in) { return commit_image(job, in); },
      {.job_class = JobClass::transfer,
       .journaling = engine::Journaling::at_start,
       .durability = graph::Durability::full});
  engine.add<ContainerExtract>(
      [this](JobContext& job, ContainerExtract::Input in) { return extract(job, std::move(in)); },
      JobClass::transfer);
  // On a full disk an exec is how somebody looks for what fills it.
  const engine::JobOptions exec{.job_class = JobClass::container, .space = graph::Space::reserve};
  engine.add<NetworkConnect>(
      [this](JobContext& job, NetworkConnect::Input in) { return connect(job, std::move(in)); },
      JobClass::container);
  engine.add<NetworkDisconnect>(
      [this](JobContext& job, NetworkDisconnect::Input in) {
        return disconnect(job, std::move(in));
      },
      JobClass::control);
  engine.add<ExecCreate>(
      [this](JobContext& job, ExecCreate::Input in) { return exec_create(job, in); }, exec);
  engine.add<ExecStart>(
      [this](JobContext& job, ExecStart::Input in) { return exec_start(job, std::move(in)); },
      exec);
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

void Containers::shut_down() { impl_->timer->stop(); }

}  // namespace gantry::daemon

#include <signal.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/sys.h"
#include "daemon/container_links.h"
#include "daemon/containers_impl.h"
#include "daemon/log_config.h"
#include "daemon/name_service.h"
#include "daemon/spec_builder.h"
#include "daemon/special_mounts.h"
#include "daemon/trust.h"
#include "drivers/exec/exec_driver.h"
#include "drivers/exec/resources.h"
#include "drivers/graph/graph_driver.h"

namespace gantry::daemon {
namespace {

constexpr std::string_view kNotStarted =  // Docker's words
    "failed to create task for container: failed to create shim task: OCI runtime create failed: "
    "unable to start container process";

// What a bind mount's source must be before the shim mounts it: -v makes a directory, --mount does
// not.
Status prepare_bind_sources(const ContainerRecord& record) {
  for (const MountPoint& mount : record.mounts) {
    if (mount.type != "bind" || fs::exists(mount.source)) continue;
    if (mount.mode == "exists")
      return invalid("invalid mount config for type \"bind\": bind source path does not exist: {}",
                     mount.source);
    TRY(fs::make_directories(mount.source, 0755)
            .context("error while creating mount source path '{}'", mount.source));
  }
  return {};
}

}  // namespace

int exit_code_of_failure(const Error& error) {
  const std::string& text = error.message();
  if (Trust::is_refusal(error)) return 128;
  auto has = [&](std::string_view part) { return text.find(part) != std::string::npos; };
  if (has("executable file not found") || has("no such file or directory")) return 127;
  if (has("permission denied") || has("is a directory")) return 126;
  return 128;
}

Status Containers::Impl::attach_to(drivers::Instance& instance, Container::PendingAttach attach,
                                   bool terminal) {
  drivers::AttachOptions options;
  options.standard_in = attach.query.standard_in;
  options.standard_out = attach.query.standard_out;
  options.standard_err = attach.query.standard_error;
  options.multiplexed = !terminal && !attach.query.raw;
  if (!attach.query.detach_keys.empty()) options.detach_keys = attach.query.detach_keys;
  return instance.attach(std::move(attach.client.fd), options, attach.client.leftover);
}

Status Containers::Impl::write_network_files(const ContainerRecord& record,
                                             const SandboxPlan& plan) {
  TRY(failpoint("container.network_files"));
  std::string directory = directory_of(record.id);
  TRY(fs::write_file(directory + "/hosts", plan.hosts, 0644));
  TRY(fs::write_file(directory + "/hostname", plan.hostname, 0644));
  return fs::write_file(directory + "/resolv.conf", plan.resolv_conf, 0644);
}

// With its ipc namespace, as Docker has it, goes its shared memory.
Result<UniqueFd> Containers::Impl::shared_memory_of(const std::string& reference) const {
  std::shared_ptr<Container> other = TRY(table.find(reference));
  if (other->record()->host_config.IpcMode != "shareable")
    return conflict(
        "can't join IPC of container {}: non-shareable IPC (hint: use "
        "IpcMode:shareable for the donor container)",
        reference);
  std::shared_ptr<drivers::Instance> instance = other->instance();
  if (!instance) return conflict("can't join IPC of container {}: it is not running", reference);
  UniqueFd process = TRY(instance->process());
  return open_shared_memory(process.get()).context("can't join IPC of container {}", reference);
}

Result<std::vector<std::string>> Containers::Impl::follow_links(ContainerRecord& record) const {
  std::vector<std::string> environment;
  record.link_hosts.clear();
  if (!record.networks.contains("bridge")) return environment;  // elsewhere they are names
  for (const auto& [alias, id] : record.links) {
    const std::shared_ptr<Container> other = table.by_id(id);
    const std::shared_ptr<const ContainerRecord> there = other ? other->record() : nullptr;
    if (!there || !there->running())
      return conflict("Cannot link to a non running container: /{} AS /{}/{}",
                      there ? there->name : short_id(id), record.name, alias);
    const ContainerLink link{there->name, alias};
    record.link_hosts.push_back(TRY(link_hosts_line(link, *there)));
    for (std::string& variable : link_environment(link, record.name, *there))
      environment.push_back(std::move(variable));
  }
  return environment;
}

Result<ChangeOutput> Containers::Impl::start(engine::JobContext& job,
                                             const ContainerStart::Input& input) {
  std::shared_ptr<Container> container = TRY(find_locked(job, input.container));
  std::shared_ptr<const ContainerRecord> record = container->record();
  if (!input.restart_of.empty() &&
      (record->state.run != input.restart_of || !record->state.between_runs()))
    return ChangeOutput{false};  // stopped or started by somebody meanwhile
  if (being_removed(container->id()))
    return conflict("container is marked for removal and cannot be started");
  if (record->state.status == "paused")
    return conflict("cannot start a paused container, try unpause instead");
  if (record->running()) return ChangeOutput{false};
  Status started = start_locked(job, *container);
  if (started) return ChangeOutput{true};

  // A container that could not be started says why, and is gone at once when it was to be removed.
  Error error = std::move(started).error();
  ContainerRecord failed = *container->record();
  failed.state.status = failed.state.started_at == 0 ? "created" : "exited";
  failed.state.exit_code = exit_code_of_failure(error);
  failed.state.error = error.message();
  failed.state.pid = 0;
  failed.state.start_follows = false;
  int code = failed.state.exit_code;
  ContainerFailed::Input failure{container->id(), json::dump(failed)};
  log::ignored("container.failed", [&]() -> Status {
    TRY(job.run<ContainerFailed>(std::move(failure)));
    return {};
  }());
  container->wake_waiters(failed.host_config.AutoRemove, {code, error.message()});
  for (auto& pending : container->take_pending()) (void)pending;  // closes the clients
  // A command that cannot be run is the caller's mistake.
  return code == 128 ? error : Error(ErrorKind::invalid, error.message(), error.code());
}

Status Containers::Impl::start_locked(engine::JobContext& job, Container& container) {
  ContainerRecord record = *container.record();
  const std::string owner = owner_of(record.id);
  TRY(daemon.trust().check_use(record.image_id));
  TRY(failpoint("container.prepare"));
  TRY(prepare_bind_sources(record));
  // What an earlier run still held; its names are its own, so nothing waits for the slow part.
  if (!record.state.run.empty()) TRY(job.release_owned(owner, kRunKinds));

  // None of its networks goes before it is known to be connected.
  std::vector<engine::LockName> networks;
  for (const auto& [name, settings] : record.networks)
    networks.push_back({engine::LockKind::network, name, engine::LockMode::shared});
  TRY(job.lock(std::move(networks)));
  const std::vector<std::string> link_variables = TRY(follow_links(record));
  SandboxPlan plan = TRY(daemon.networks().plan(record));
  record.state.run = random_hex(8);
  drivers::Launch launch;
  launch.id = record.id;
  launch.directory = runtime_directory_of(record);
  SpecInputs inputs;
  inputs.container_directory = directory_of(record.id);
  inputs.cgroups_path = cgroup_of(record);
  if (plan.mode == SandboxMode::host) inputs.network_namespace = "host";
  auto namespace_of = [&](const std::string& reference,
                          std::string_view type) -> Result<std::string> {
    std::shared_ptr<Container> other = TRY(table.find(reference));
    std::shared_ptr<const ContainerRecord> there = other->record();
    if (!there->running())
      return conflict("cannot join {} namespace of a non running container: container {} is {}",
                      type, short_id(there->id), there->state.status);
    if (type == "network") {
      inputs.container_directory = directory_of(there->id);
    }
    return fmt::format("/proc/{}/ns/{}", there->state.pid, type == "network" ? "net" : type);
  };
  if (plan.mode == SandboxMode::container)
    inputs.network_namespace = TRY(namespace_of(plan.shared_with, "network"));
  const std::string& pid_mode = record.host_config.PidMode;
  if (pid_mode == "host") inputs.pid_namespace = "host";
  if (pid_mode.starts_with("container:"))
    inputs.pid_namespace = TRY(namespace_of(pid_mode.substr(10), "pid"));
  const std::string& ipc_mode = record.host_config.IpcMode;
  SpecialMounts special = TRY(SpecialMounts::open(record, daemon.graph_driver()));
  if (ipc_mode == "host") inputs.ipc_namespace = "host";
  if (ipc_mode.starts_with("container:")) {
    inputs.ipc_namespace = TRY(namespace_of(ipc_mode.substr(10), "ipc"));
    UniqueFd memory = TRY(shared_memory_of(ipc_mode.substr(10)));
    special.add("/dev/shm", std::move(memory));
  }
  inputs.detached = special.sources();
  if (link_variables.empty()) {
    launch.spec = TRY(build_spec(record, inputs));
  } else {
    ContainerRecord told = record;  // its own variables come last, and so win
    told.config.Env.insert(told.config.Env.begin(), link_variables.begin(), link_variables.end());
    launch.spec = TRY(build_spec(told, inputs));
  }
  launch.user = user_of(record);
  launch.rootfs = TRY(daemon.graph_driver().recipe(record.id));
  launch.terminal = record.config.Tty;
  launch.open_stdin = record.config.OpenStdin;
  launch.stdin_once = record.config.StdinOnce;
  launch.init = record.host_config.Init.value_or(false);
  if (record.host_config.ConsoleSize && record.host_config.ConsoleSize->size() == 2) {
    launch.console.rows = static_cast<uint16_t>(record.host_config.ConsoleSize->at(0));
    launch.console.columns = static_cast<uint16_t>(record.host_config.ConsoleSize->at(1));
  }
  launch.log = shim_log_config(record.host_config.log_config, record.log_path, record.config);

  std::vector<engine::Resource> intents = drivers::launch_resources(launch, owner);
  intents.insert(intents.end(), plan.rows.begin(), plan.rows.end());
  TRY(job.take(std::move(intents)));
  plan.keep();
  TRY(failpoint("container.planned"));
  if (plan.mode != SandboxMode::container) TRY(write_network_files(record, plan));

  std::shared_ptr<drivers::Instance> instance =
      TRY(daemon.exec_driver().create(launch).context("{}", kNotStarted));
  TRY(failpoint("container.join"));
  if (plan.mode == SandboxMode::own) TRY(daemon.networks().join(plan, instance->netns_fd()));
  std::shared_ptr<NameService::Serving> serving =
      TRY(daemon.names().serve(record, plan, instance->netns_fd()));
  auto attach_pending = [instance, terminal = record.config.Tty](Container& waiting) {
    for (Container::PendingAttach& pending : waiting.take_pending())
      log::ignored("attach", attach_to(*instance, std::move(pending), terminal));
  };
  attach_pending(container);
  TRY(instance->start(serving ? serving->sockets() : std::vector<int>())
          .context("{}", kNotStarted));

  record.networks = plan.settings;
  record.ports = plan.ports;
  record.sandbox_id = random_hex(32);
  record.sandbox_key = fmt::format("/proc/{}/ns/net", instance->pid());
  ContainerState& state = record.state;
  state.status = "running";
  state.pid = instance->pid();
  state.exit_code = 0;
  state.error.clear();
  state.oom_killed = false;
  state.manually_stopped = false;
  state.start_follows = false;
  state.started_at = now_ns();
  if (!health_probe(record.config)) {
    state.health.reset();
  } else {  // the log goes on, the rest begins anew
    if (!state.health) state.health.emplace();
    state.health->status = "starting";
    state.health->failing_streak = 0;
  }
  std::shared_ptr<Container> self = table.by_id(record.id);
  job.on_commit([this, record](graph::Transaction& tx) { return store(tx, record); });
  job.after_commit([this, self, record, instance, attach_pending, serving] {
    self->set_running(record, instance);
    attach_pending(*self);  // who came while it was being started
    daemon.networks().connected(record);
    if (serving) serving->keep();
    daemon.networks().publish_events("connect", record);
    publish_event(record, "start");
    watch(self, record.state.run, instance);
    start_checks(self);
  });
  return {};
}

}  // namespace gantry::daemon

#include <signal.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "daemon/containers_impl.h"
#include "daemon/names.h"
#include "daemon/spec_builder.h"
#include "daemon/validate.h"

namespace gantry::daemon {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kDefaultStopTimeout = 10;  // seconds

int stop_signal_of(const ContainerRecord& record) {
  if (record.config.StopSignal.empty()) return SIGTERM;
  return parse_signal(record.config.StopSignal).value_or(SIGTERM);
}

std::string signal_number(int signal) { return std::to_string(signal); }

}  // namespace

// While it was waited for it may have been removed, and storing it would bring it back.
Result<std::shared_ptr<Container>> Containers::Impl::find_locked(engine::JobContext& job,
                                                                 const std::string& reference) {
  std::shared_ptr<Container> container = TRY(table.find(reference));
  TRY(job.lock({{engine::LockKind::container, container->id()}}));
  if (!table.by_id(container->id())) return not_found("No such container: {}", reference);
  return container;
}

Result<Nothing> Containers::Impl::mark_stopped(engine::JobContext& job,
                                               const ContainerMarkStopped::Input& input) {
  std::shared_ptr<Container> container = TRY(find_locked(job, input.container));
  ContainerRecord record = *container->record();
  bool between_runs = record.state.between_runs() && !input.restart;
  if (record.state.run != input.run || (!record.running() && !between_runs)) return Nothing{};
  record.state.manually_stopped = true;
  record.state.start_follows = input.restart;
  if (between_runs) {
    record.state.status = "exited";
    job.after_commit([container, code = record.state.exit_code] {
      container->wake_waiters(false, {code, {}});
    });
  }
  commit(job, *container, std::move(record));
  return Nothing{};
}

Status Containers::Impl::note_manual_stop(engine::JobContext& job, const Container& container,
                                          bool restart) {
  std::shared_ptr<const ContainerRecord> record = container.record();
  if (record->state.manually_stopped && record->state.start_follows == restart) return {};
  TRY(job.run<ContainerMarkStopped>({container.id(), record->state.run, restart}));
  return {};
}

// A container whose shim did not let itself be adopted can only be ended with its shim, which gives
// back what the run holds.
Status Containers::Impl::end_unanswering(engine::JobContext& job, const ContainerRecord& record) {
  TRY(job.run<ContainerExit>({record.id, record.state.run, 128 + SIGKILL, false, now_ns(),
                              "its shim did not answer and was killed"}));
  return {};
}

Status Containers::Impl::stop_and_wait(engine::JobContext& job, Container& container, int signal,
                                       std::optional<int> timeout_seconds) {
  std::shared_ptr<const ContainerRecord> record = container.record();
  const std::string run = record->state.run;
  std::shared_ptr<drivers::Instance> instance = container.instance();
  if (!record->running()) return {};
  if (!instance) return end_unanswering(job, *record);
  auto registration = job.cancel().on_cancel([&] { container.nudge(); });
  auto cancelled = [&] { return job.cancelled(); };
  if (record->state.status == "paused") TRY(instance->resume());

  int timeout = timeout_seconds.value_or(record->config.StopTimeout.value_or(kDefaultStopTimeout));
  if (timeout != 0 || signal == SIGKILL) {
    Status sent = instance->signal(signal);
    if (!sent && sent.error().kind() != ErrorKind::not_found &&
        sent.error().kind() != ErrorKind::conflict)
      return sent;
    publish_event(*record, "kill", {{"signal", signal_number(signal)}});
    std::optional<Clock::time_point> deadline;
    if (timeout >= 0)
      deadline = Clock::now() + std::chrono::seconds(signal == SIGKILL ? 10 : timeout);
    if (container.wait_stopped(run, deadline, cancelled)) return {};
    TRY(job.check());
  }
  Status killed = instance->signal(SIGKILL);
  if (!killed && killed.error().kind() != ErrorKind::not_found &&
      killed.error().kind() != ErrorKind::conflict)
    return killed;
  publish_event(*record, "kill", {{"signal", signal_number(SIGKILL)}});
  if (container.wait_stopped(run, Clock::now() + std::chrono::seconds(10), cancelled)) return {};
  TRY(job.check());
  return internal("container {} did not end 10 seconds after it was killed",
                  short_id(container.id()));
}

Status Containers::Impl::end_runs(engine::JobContext& job, Container& container, int signal,
                                  std::optional<int> timeout_seconds) {
  // A run that ends by itself just now may be followed by one that knows nothing of the stop.
  for (;;) {
    TRY(job.check());
    std::shared_ptr<const ContainerRecord> record = container.record();
    bool between_runs = record->state.between_runs();
    if (!record->running() && !between_runs) return {};
    // No lock is held while waiting: the container's end is a job of its own, which needs it.
    TRY(note_manual_stop(job, container));
    if (!between_runs) TRY(stop_and_wait(job, container, signal, timeout_seconds));
  }
}

Result<ChangeOutput> Containers::Impl::stop(engine::JobContext& job,
                                            const ContainerStop::Input& input) {
  std::shared_ptr<Container> container = TRY(table.find(input.container));
  std::shared_ptr<const ContainerRecord> record = container->record();
  int signal = input.signal.empty() ? stop_signal_of(*record) : TRY(parse_signal(input.signal));
  if (!record->running() && !record->state.between_runs()) return ChangeOutput{false};
  TRY(end_runs(job, *container, signal, input.timeout)
          .context("cannot stop container: {}", input.container));
  publish_event(*container->record(), "stop");
  return ChangeOutput{true};
}

Result<Nothing> Containers::Impl::restart(engine::JobContext& job,
                                          const ContainerStop::Input& input) {
  std::shared_ptr<Container> container = TRY(table.find(input.container));
  int signal =
      input.signal.empty() ? stop_signal_of(*container->record()) : TRY(parse_signal(input.signal));
  if (container->record()->running()) {
    TRY(note_manual_stop(job, *container, true));
    TRY(stop_and_wait(job, *container, signal, input.timeout)
            .context("Cannot restart container {}", input.container));
  }
  TRY(job.run<ContainerStart>({container->id(), {}})
          .context("Cannot restart container {}", input.container));
  publish_event(*container->record(), "restart");
  return Nothing{};
}

Result<Nothing> Containers::Impl::kill(engine::JobContext& job, const ContainerKill::Input& input) {
  (void)job;
  std::shared_ptr<Container> container = TRY(table.find(input.container));
  int signal = input.signal.empty() ? SIGKILL : TRY(parse_signal(input.signal));
  std::shared_ptr<const ContainerRecord> record = container->record();
  std::shared_ptr<drivers::Instance> instance = container->instance();
  if (!record->running())
    return conflict("cannot kill container: {}: container {} is not running", input.container,
                    record->id);
  if (!instance && signal != SIGKILL)
    return make_error(ErrorKind::unavailable,
                      "cannot kill container: {}: its shim does not answer; SIGKILL ends both",
                      input.container);
  if (signal == SIGKILL || signal == stop_signal_of(*record))
    TRY(note_manual_stop(job, *container));
  if (!instance) {
    TRY(end_unanswering(job, *record));
    return Nothing{};
  }
  if (signal == SIGKILL && record->state.status == "paused") TRY(instance->resume());
  TRY(instance->signal(signal).context("cannot kill container: {}", input.container));
  publish_event(*record, "kill", {{"signal", signal_number(signal)}});
  if (signal == SIGKILL) {
    auto registration = job.cancel().on_cancel([&] { container->nudge(); });
    (void)container->wait_stopped(record->state.run, Clock::now() + std::chrono::seconds(10),
                                  [&] { return job.cancelled(); });
  }
  return Nothing{};
}

Result<Nothing> Containers::Impl::pause(engine::JobContext& job, const std::string& reference,
                                        bool paused) {
  std::shared_ptr<Container> container = TRY(find_locked(job, reference));
  ContainerRecord record = *container->record();
  std::shared_ptr<drivers::Instance> instance = container->instance();
  if (!record.running() || !instance) return conflict("Container {} is not running", record.id);
  if (paused && record.state.status == "paused")
    return conflict("Container {} is already paused", record.id);
  if (!paused && record.state.status != "paused")
    return conflict("Container {} is not paused", record.id);
  Status done = paused ? instance->pause() : instance->resume();
  TRY(std::move(done).context("Cannot {} container {}", paused ? "pause" : "unpause", record.id));
  auto undo = std::make_shared<Undo>([instance, paused, id = record.id] {
    log::ignored("container " + id, paused ? instance->resume() : instance->pause());
  });
  record.state.status = paused ? "paused" : "running";
  commit(job, *container, record);
  job.after_commit([this, container, undo, record, paused] {
    undo->keep();
    if (paused)
      container->new_check_generation();
    else
      start_checks(container);
    publish_event(record, paused ? "pause" : "unpause");
  });
  return Nothing{};
}

Result<Nothing> Containers::Impl::rename(engine::JobContext& job,
                                         const ContainerRename::Input& input) {
  std::shared_ptr<Container> container = TRY(find_locked(job, input.container));
  std::string name = input.name.starts_with('/') ? input.name.substr(1) : input.name;
  if (name.empty()) return invalid("Neither old nor new names may be empty");
  if (!is_valid_name(name))
    return invalid("Invalid container name ({}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
                   input.name);
  ContainerRecord record = *container->record();
  std::string old = record.name;
  if (old == name) return invalid("Renaming a container with the same name as its current name");
  TRY(table.claim_name(name, record.id).context("Error when allocating new name"));
  auto claim = std::make_shared<NameClaim>(table, name, record.id);
  record.name = name;
  job.on_commit([this, record, old](graph::Transaction& tx) -> Status {
    TRY(daemon.graph().rename(tx, graph::NodeKind::container, old, record.name));
    return store(tx, record);
  });
  job.after_commit([this, container, claim, record, old] {
    claim->keep();
    container->publish(record);
    table.release_name(old, record.id);
    if (record.running()) daemon.networks().connected(record);  // by its new name
    publish_event(record, "rename", {{"oldName", "/" + old}});
  });
  return Nothing{};
}

Result<ContainerUpdate::Output> Containers::Impl::update(engine::JobContext& job,
                                                         const ContainerUpdate::Input& input) {
  std::shared_ptr<Container> container = TRY(find_locked(job, input.container));
  ContainerRecord record = *container->record();
  TRY(json::decode(record.host_config, json::value(input.changes)));
  api::Strings warnings = TRY(validate(record.config, record.host_config));
  for (std::string& warning : discard_unsupported(record.host_config, limit_support()))
    warnings.push_back(std::move(warning));
  std::shared_ptr<drivers::Instance> instance = container->instance();
  std::shared_ptr<Undo> undo;
  if (record.running() && instance) {
    libcontainer::Resources resources = TRY(build_resources(record.host_config));
    libcontainer::Resources former = TRY(build_resources(container->record()->host_config));
    // First: an update that fails may have written a part.
    undo = std::make_shared<Undo>([instance, former, id = record.id] {
      log::ignored("container " + id, instance->update(former));
    });
    TRY(instance->update(resources).context("Cannot update container {}", record.id));
  }
  commit(job, *container, record);
  job.after_commit([this, undo, record] {
    if (undo) undo->keep();
    publish_event(record, "update");
  });
  return ContainerUpdate::Output{std::move(warnings)};
}

}  // namespace gantry::daemon

#include <signal.h>

#include <algorithm>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/sys.h"
#include "daemon/containers_impl.h"
#include "daemon/spec_builder.h"

namespace gantry::daemon {
namespace {

std::string command_line(const api::Strings& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

}  // namespace

Result<ExecCreate::Output> Containers::Impl::exec_create(engine::JobContext& job,
                                                         const ExecCreate::Input& input) {
  std::shared_ptr<Container> container = TRY(table.find(input.container));
  std::shared_ptr<const ContainerRecord> record = container->record();
  if (record->state.status == "paused")
    return conflict("Container {} is paused, unpause the container before exec", record->id);
  if (record->state.status == "restarting")
    return conflict("Container {} is restarting, wait until the container is running", record->id);
  if (!record->running()) return conflict("container {} is not running", record->id);
  if (!input.config.Cmd.has_items()) return invalid("no exec command specified");
  for (const std::string& entry : input.config.Env)
    if (entry.empty() || entry[0] == '=') return invalid("invalid environment variable: {}", entry);
  ExecRecord exec;
  exec.id = new_id();
  exec.container = record->id;
  exec.config = input.config;
  job.after_commit([this, exec, record] {
    {
      std::lock_guard lock(exec_mutex);
      forget_ended_execs();
      execs[exec.id] = exec;
    }
    publish_event(*record, "exec_create: " + command_line(*exec.config.Cmd.items),
                  {{"execID", exec.id}});
  });
  return ExecCreate::Output{exec.id};
}

// As in Docker what has ended can be asked about for five minutes. With exec_mutex held.
void Containers::Impl::forget_ended_execs() {
  constexpr int64_t kKept = int64_t{300} * 1'000'000'000;
  const int64_t now = monotonic_ns();
  if (now - execs_looked_at < kKept / 10) return;
  execs_looked_at = now;
  std::erase_if(execs, [&](const auto& entry) {
    return entry.second.exit_code && now - entry.second.ended_at > kKept;
  });
}

Result<ExecRecord> Containers::Impl::find_exec(const std::string& id) const {
  std::lock_guard lock(exec_mutex);
  auto found = execs.find(id);
  if (found == execs.end()) return not_found("No such exec instance: {}", id);
  return found->second;
}

Result<Nothing> Containers::Impl::exec_start(engine::JobContext& job, ExecStart::Input input) {
  ExecRecord exec;
  {
    std::lock_guard lock(exec_mutex);
    auto found = execs.find(input.exec);
    if (found == execs.end()) return not_found("No such exec instance: {}", input.exec);
    if (found->second.started)
      return conflict("Error: Exec command {} is already running", input.exec);
    found->second.started = true;
    found->second.running = true;
    exec = found->second;
  }
  std::shared_ptr<Container> container = TRY(table.find(exec.container));
  std::shared_ptr<const ContainerRecord> record = container->record();
  std::shared_ptr<drivers::Instance> instance = container->instance();
  Status started = [&]() -> Status {
    if (!record->running() || !instance) return conflict("container {} is not running", record->id);
    if (record->state.status == "paused")
      return conflict("Container {} is paused, unpause the container before exec", record->id);
    const ExecConfig& config = exec.config;
    drivers::ExecRequest request;
    request.id = exec.id;
    request.process = TRY(build_exec_process(*record, *config.Cmd.items, config.Env, config.Tty,
                                             config.Privileged, config.WorkingDir));
    request.user = libcontainer::UserSpec{config.User.empty() ? record->config.User : config.User,
                                          record->host_config.GroupAdd};
    const auto& size = input.console_size ? input.console_size : config.ConsoleSize;
    if (size && size->size() == 2)
      request.console = {static_cast<uint16_t>(size->at(0)), static_cast<uint16_t>(size->at(1))};
    drivers::AttachOptions options;
    options.standard_in = config.AttachStdin;
    options.standard_out = config.AttachStdout;
    options.standard_err = config.AttachStderr;
    options.multiplexed = !config.Tty;
    if (!config.DetachKeys.empty()) options.detach_keys = config.DetachKeys;
    // The caller keeps the client's stream until the program runs: a failure is told there.
    UniqueFd client;
    std::string leftover;
    if (input.client) {
      client = TRY(sys::dup(input.client->fd.get()));
      leftover = input.client->leftover;
    }
    publish_event(*record, "exec_start: " + command_line(*config.Cmd.items), {{"execID", exec.id}});
    Result<pid_t> pid = instance->exec(request, std::move(client), options, leftover);
    if (!pid)
      return std::move(pid).error().context(
          "OCI runtime exec failed: exec failed: unable to start container process");
    auto undo = std::make_shared<Undo>([instance, id = exec.id] {
      log::ignored("exec " + id, instance->exec_signal(id, SIGKILL));
    });
    job.after_commit([undo] { undo->keep(); });
    if (input.client) input.client->fd.reset();
    std::lock_guard lock(exec_mutex);
    auto found = execs.find(exec.id);
    if (found != execs.end() && found->second.running) found->second.pid = *pid;
    return {};
  }();
  if (started) return Nothing{};
  Error error = std::move(started).error();
  const int code = exit_code_of_failure(error);
  exec_exited(exec.id, code);
  // A command that cannot be run is the caller's mistake.
  return code == 128 ? error : Error(ErrorKind::invalid, error.message(), error.code());
}

void Containers::Impl::exec_exited(const std::string& id, int exit_code) {
  std::string owner;
  {
    std::lock_guard lock(exec_mutex);
    auto found = execs.find(id);
    if (found == execs.end()) return;
    found->second.running = false;
    found->second.exit_code = exit_code;
    found->second.pid = 0;
    found->second.ended_at = monotonic_ns();
    owner = found->second.container;
  }
  exec_changed.notify_all();
  if (std::shared_ptr<Container> container = table.by_id(owner))
    publish_event(*container->record(), "exec_die",
                  {{"execID", id}, {"exitCode", std::to_string(exit_code)}});
}

Result<json::object> Containers::inspect_exec(const std::string& exec_id) const {
  ExecRecord exec = TRY(impl_->find_exec(exec_id));
  if (exec.running) {
    // Whoever saw the stream of an exec end wants its exit code, and the shim told us of the end
    // before it closed the stream; an answer to anything from the shim comes after what it told
    // before.
    std::shared_ptr<Container> container = impl_->table.by_id(exec.container);
    std::shared_ptr<drivers::Instance> instance = container ? container->instance() : nullptr;
    if (instance) (void)instance->exec_signal(exec.id, 0);
    exec = TRY(impl_->find_exec(exec_id));
  }
  json::object process;
  api::Strings words = exec.config.Cmd.items.value_or(api::Strings{});
  process["tty"] = exec.config.Tty;
  process["entrypoint"] = words.empty() ? "" : words.front();
  process["arguments"] =
      json::encode(api::Strings(words.empty() ? words.end() : words.begin() + 1, words.end()));
  process["privileged"] = exec.config.Privileged;
  if (!exec.config.User.empty()) process["user"] = exec.config.User;
  json::object out;
  out["ID"] = exec.id;
  out["Running"] = exec.running;
  out["ExitCode"] = exec.exit_code ? json::value(*exec.exit_code) : json::value(nullptr);
  out["ProcessConfig"] = std::move(process);
  out["OpenStdin"] = exec.config.AttachStdin;
  out["OpenStderr"] = exec.config.AttachStderr;
  out["OpenStdout"] = exec.config.AttachStdout;
  out["CanRemove"] = !exec.running && exec.started;
  out["ContainerID"] = exec.container;
  out["DetachKeys"] = "";
  out["Pid"] = exec.pid;
  return out;
}

bool Containers::has_terminal_exec(const std::string& exec) const {
  Result<ExecRecord> found = impl_->find_exec(exec);
  return found && found->config.Tty;
}

Status Containers::can_start_exec(const std::string& exec_id) const {
  ExecRecord exec = TRY(impl_->find_exec(exec_id));
  std::shared_ptr<Container> container = TRY(impl_->table.find(exec.container));
  std::shared_ptr<const ContainerRecord> record = container->record();
  if (exec.exit_code) return conflict("Error: Exec command {} has already run", exec_id);
  if (exec.started) return conflict("Error: Exec command {} is already running", exec_id);
  if (!record->running()) return conflict("container {} is not running", record->id);
  if (record->state.status == "paused")
    return conflict("Container {} is paused, unpause the container before exec", record->id);
  return {};
}

Status Containers::resize_exec(const std::string& exec_id, unsigned rows, unsigned columns) {
  ExecRecord exec = TRY(impl_->find_exec(exec_id));
  std::shared_ptr<Container> container = TRY(impl_->table.find(exec.container));
  std::shared_ptr<drivers::Instance> instance = container->instance();
  if (!exec.running || !instance) return conflict("exec {} is not running", exec_id);
  return instance->exec_resize(exec.id,
                               {static_cast<uint16_t>(rows), static_cast<uint16_t>(columns)});
}

}  // namespace gantry::daemon

#include "libcontainer/hooks.h"

#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"

namespace gantry::libcontainer {

json::object state_document(const State& state, std::string_view status) {
  json::object out;
  out["ociVersion"] = state.oci_version;
  out["id"] = state.id;
  out["pid"] = status == "stopped" ? 0 : state.pid;
  out["status"] = status;
  out["bundle"] = state.bundle;
  out["rootfs"] = state.rootfs;
  out["created"] = format_time(state.created);
  if (!state.annotations.empty()) out["annotations"] = json::encode(state.annotations);
  out["owner"] = "";
  return out;
}

namespace {

Status run_hook(const Hook& hook, const std::string& where, const std::string& document) {
  SpawnOptions options;
  options.program = hook.path;
  options.arguments = hook.args.empty() ? std::vector<std::string>{hook.path} : hook.args;
  options.environment = hook.env;
  int timeout_ms =
      hook.timeout ? static_cast<int>(std::min<int64_t>(*hook.timeout, 86400) * 1000) : -1;
  ProcessOutput output =
      TRY(run_process(std::move(options), document, timeout_ms).context("{}", where));
  if (output.status == 0) return {};
  std::string said = output.err.substr(0, 512);
  while (!said.empty() && said.back() == '\n') said.pop_back();
  if (!said.empty()) said = ": " + said;
  if (WIFSIGNALED(output.status))
    return internal("{}: killed by signal {}{}", where, WTERMSIG(output.status), said);
  return internal("{}: exit status {}{}", where, WEXITSTATUS(output.status), said);
}

std::string place(std::string_view kind, size_t index, const Hook& hook) {
  return fmt::format("hooks.{}[{}] {}", kind, index, hook.path);
}

}  // namespace

Status run_hooks(const std::vector<Hook>& hooks, std::string_view kind, const State& state,
                 std::string_view status) {
  if (hooks.empty()) return {};
  std::string document = json::serialize(state_document(state, status));
  for (size_t i = 0; i < hooks.size(); ++i)
    TRY(run_hook(hooks[i], place(kind, i, hooks[i]), document));
  return {};
}

void log_hooks(const std::vector<Hook>& hooks, std::string_view kind, const State& state,
               std::string_view status) {
  if (hooks.empty()) return;
  std::string document = json::serialize(state_document(state, status));
  for (size_t i = 0; i < hooks.size(); ++i)
    log::ignored(kind, run_hook(hooks[i], place(kind, i, hooks[i]), document));
}

}  // namespace gantry::libcontainer

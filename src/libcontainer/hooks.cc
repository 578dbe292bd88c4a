#include "libcontainer/hooks.h"

#include <sys/wait.h>

#include "base/clock.h"
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

Status run_hooks(const std::vector<Hook>& hooks, std::string_view kind, const State& state,
                 std::string_view status) {
  if (hooks.empty()) return {};
  std::string document = json::serialize(state_document(state, status));
  for (size_t i = 0; i < hooks.size(); ++i) {
    const Hook& hook = hooks[i];
    std::string where = fmt::format("hooks.{}[{}] {}", kind, i, hook.path);
    SpawnOptions options;
    options.program = hook.path;
    options.arguments = hook.args.empty() ? std::vector<std::string>{hook.path} : hook.args;
    options.environment = hook.env;
    int timeout_ms = hook.timeout ? static_cast<int>(std::min<int64_t>(*hook.timeout, 86400) * 1000) : -1;
    ProcessOutput output =
        TRY(run_process(std::move(options), document, timeout_ms).context("{}", where));
    if (output.status == 0) continue;
    std::string said = output.err.substr(0, 512);
    while (!said.empty() && said.back() == '\n') said.pop_back();
    if (!said.empty()) said = ": " + said;
    if (WIFSIGNALED(output.status))
      return internal("{}: killed by signal {}{}", where, WTERMSIG(output.status), said);
    return internal("{}: exit status {}{}", where, WEXITSTATUS(output.status), said);
  }
  return {};
}

}  // namespace gantry::libcontainer

#include "libcontainer/notify.h"

#include <span>

#include "base/sys.h"
#include "libcontainer/hooks.h"

namespace gantry::libcontainer {

Status hand_over_notify(const Spec& spec, const State& state, pid_t pid, int descriptor) {
  const Seccomp& seccomp = *spec.linux_section->seccomp;
  json::object message;
  message["ociVersion"] = state.oci_version;
  message["fds"] = json::array{"seccompFd"};
  message["pid"] = pid;
  if (!seccomp.listener_metadata.empty()) message["metadata"] = seccomp.listener_metadata;
  message["state"] = state_document(state, pid == state.pid ? "creating" : "running");
  UniqueFd socket =
      TRY(sys::connect_unix(seccomp.listener_path).context("linux.seccomp.listenerPath"));
  return sys::send_with_fds(socket.get(), json::serialize(message),
                            std::span<const int>(&descriptor, 1))
      .context("linux.seccomp.listenerPath");
}

}  // namespace gantry::libcontainer

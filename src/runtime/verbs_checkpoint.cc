#include "libcontainer/checkpoint.h"
#include "runtime/foreground.h"
#include "runtime/verbs.h"

namespace gantry::runtime {
namespace {

using libcontainer::CheckpointOptions;
using libcontainer::Container;
using libcontainer::CreateOptions;
using libcontainer::CriuOptions;
using libcontainer::RestoreOptions;

Status take_options(const Arguments& arguments, CriuOptions& out) {
  // criu is a process of its own, with a working directory that may be another.
  out.image_path = absolute_path(arguments.get("image-path", "checkpoint"));
  out.work_path = absolute_path(arguments.get("work-path"));
  out.tcp_established = arguments.has("tcp-established");
  out.ext_unix_sk = arguments.has("ext-unix-sk");
  out.shell_job = arguments.has("shell-job");
  out.file_locks = arguments.has("file-locks");
  out.link_remap = arguments.has("link-remap");
  out.auto_dedup = arguments.has("auto-dedup");
  out.manage_cgroups = arguments.get("manage-cgroups-mode");
  for (const std::string& name : arguments.all("empty-ns")) {
    if (name != "network") return invalid("--empty-ns: only network can be left empty");
    out.empty_network = true;
  }
  return {};
}

}  // namespace

Result<int> verb_checkpoint(const Globals& globals, const Arguments& arguments) {
  CheckpointOptions options;
  TRY(take_options(arguments, options));
  options.parent_path = arguments.get("parent-path");
  options.leave_running = arguments.has("leave-running");
  options.pre_dump = arguments.has("pre-dump");
  options.tcp_skip_in_flight = arguments.has("tcp-skip-in-flight");
  if (options.parent_path.starts_with('/'))
    return invalid("--parent-path: must be relative to --image-path");
  Container container = TRY(load_container(globals, arguments));
  TRY(container.checkpoint(options));
  return 0;
}

Result<int> verb_restore(const Globals& globals, const Arguments& arguments) {
  RestoreOptions restore;
  TRY(take_options(arguments, restore));
  restore.lsm_profile = arguments.get("lsm-profile");
  CreateOptions options = TRY(create_options(globals, arguments, libcontainer::Gate::in_process));
  bool detach = arguments.has("detach");
  TRY(check_console(options, arguments, detach));
  std::optional<Foreground> foreground;
  if (!detach) foreground = TRY(Foreground::create());
  Container container = TRY(Container::restore(std::move(options), restore));
  UniqueFd console;
  TRY(publish(container, arguments, console));
  if (detach) return 0;
  int status = TRY(foreground->run(container.pid(), container.pidfd(), std::move(console)));
  TRY(container.destroy());
  return status;
}

}  // namespace gantry::runtime

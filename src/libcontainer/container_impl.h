// What a Container is made of: for the parts of its implementation (container*.cc) and nobody else.
#pragma once

#include <memory>
#include <optional>

#include "libcontainer/cgroup.h"
#include "libcontainer/container.h"
#include "libcontainer/init.h"
#include "libcontainer/seccomp.h"
#include "libcontainer/state.h"
#include "libcontainer/sync.h"
#include "libcontainer/systemd_scope.h"

namespace gantry::libcontainer {

struct Container::Impl {
  CreateOptions options;  // after load(): spec and directories only
  State state;
  UniqueFd directory;
  UniqueFd pidfd;
  UniqueFd console;
  SyncSocket sync;  // in-process gate
  std::optional<SeccompFilter> filter;
  bool waiting = false;  // wait_created() has not been called yet
  bool ours = false;     // init is our child
  bool started = false;  // by launch()
  bool hooked = false;   // hooks have been run: poststop is owed to them

  // Found once: looking through the mounts takes longer than what is then done with it.
  mutable std::optional<Cgroup> cgroup;
  Scope scope;  // until init is in it

  // Checked, named and dated; nothing has been taken yet.
  static Result<std::unique_ptr<Impl>> make(CreateOptions options);

  bool has_gate() const;
  Result<Cgroup*> open_cgroup() const;
  Status take_directory();
  Status take_cgroup();
  Status keep_config();
  Status take_rdt();
  // For a child: where it writes "0" to be in the container's cgroups and RDT class.
  Result<std::vector<UniqueFd>> process_entries(const std::string& below = "") const;
  Result<Clone> clone_init(InitPlan& plan, int group);
  // Everything up to init's clone; what has been taken is for undo().
  Result<std::unique_ptr<InitPlan>> prepare();
  Status clone(std::unique_ptr<InitPlan> plan);
  Status note_pid();
  // container_launch.cc. `undo_command` as in Container::launch().
  bool can_launch() const;
  Status launch(std::unique_ptr<InitPlan> plan, const char* const* undo_command);
  Result<UniqueFd> netns_of(pid_t pid) const;
  Status finish_start(const SyncSocket& socket);
  Error end_for_hook(Error reason);
  void run_poststop();
  Status destroy();
  Status restore(const RestoreOptions& restore);
  Status adopt_time_namespace();
  // Ends a container that did not come to be, and gives back what it took.
  Error undo(Error reason);
};

}  // namespace gantry::libcontainer

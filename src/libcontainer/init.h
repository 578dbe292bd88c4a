// What runs in a child between clone and exec: container init, and a process that joins a
// container. Everything it needs was opened by the parent; it never returns.
#pragma once

#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/rootfs_source.h"
#include "libcontainer/container.h"
#include "libcontainer/namespaces.h"
#include "libcontainer/process.h"
#include "libcontainer/procfs.h"
#include "libcontainer/state.h"
#include "libcontainer/sync.h"

namespace gantry::libcontainer {

// Between a maker that stands still and an init in its memory (container_launch.cc).
struct Launch {
  Status (*note)(void* context) = nullptr;  // init's first step; `context` is the container
  void* context = nullptr;
  bool executing = false;  // the last thing before execve(2)
  std::optional<Error> failure;
};

struct InitPlan {
  const CreateOptions& options;
  State state;  // for hooks
  ProcessPlan process;
  ProcFs proc;
  SyncSocket sync;  // the child's end
  UniqueFd gate;    // a listening socket, or invalid: the gate is `sync`
  std::vector<UniqueFd> cgroup_entries;
  std::vector<std::pair<std::string, std::string>> cgroup_mounts;
  NamespacePlan namespaces;
  uid_t made_by = ::geteuid();         // before a user namespace hides it
  std::vector<UniqueFd> bind_sources;  // bind_sources.h
  bool prepared = false;               // prepare_init() has been done
  std::unique_ptr<Launch> launch;      // in place of `sync` and the gate: init goes straight on
};
// For a process in between (namespaces.h): into the cgroups, with the host's privileges still.
Status prepare_init(InitPlan& plan);
[[noreturn]] void run_init(InitPlan& plan);

struct ExecPlan {
  const ExecOptions& options;
  ProcessPlan process;
  ProcFs proc;
  SyncSocket sync;
  std::vector<UniqueFd> cgroup_entries;
  int init_pidfd = -1;
  bool prepared = false;
  int join_flags = 0;  // all but the pid namespace, which the clone has entered
  UniqueFd root;       // of init, when the mount namespace is the host's; else invalid
};
// As prepare_init().
Status prepare_exec(ExecPlan& plan);
[[noreturn]] void run_exec(ExecPlan& plan);

}  // namespace gantry::libcontainer

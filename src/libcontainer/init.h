// What runs in a child between clone and exec: container init, and a process that joins a
// container. Everything it needs was opened by the parent; it never returns.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/rootfs_source.h"
#include "libcontainer/container.h"
#include "libcontainer/process.h"
#include "libcontainer/procfs.h"
#include "libcontainer/state.h"
#include "libcontainer/sync.h"

namespace gantry::libcontainer {

struct JoinedNamespace {
  UniqueFd fd;
  int flag = 0;  // CLONE_NEW*
  std::string name;
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
  std::vector<JoinedNamespace> joined;  // in the order to join them
  int unshare_flags = 0;                // after the cgroup was entered
  bool user_namespace = false;
  bool own_network = false;
};
[[noreturn]] void run_init(InitPlan& plan);

struct ExecPlan {
  const ExecOptions& options;
  ProcessPlan process;
  ProcFs proc;
  SyncSocket sync;
  std::vector<UniqueFd> cgroup_entries;
  int init_pidfd = -1;
  int join_flags = 0;  // all but the pid namespace, which the clone has entered
};
[[noreturn]] void run_exec(ExecPlan& plan);

}  // namespace gantry::libcontainer

// The last stretch of a process's way into a container, the same for init and for exec: limits,
// labels, user, capabilities, seccomp, exec. Child-only code; the process is in all its namespaces.
#pragma once

#include "base/result.h"
#include "libcontainer/procfs.h"
#include "libcontainer/seccomp.h"
#include "libcontainer/spec.h"
#include "libcontainer/sync.h"
#include "libcontainer/user.h"

namespace gantry::libcontainer {

struct ProcessPlan {
  Process process;
  std::optional<UserSpec> user;  // in place of process.user
  std::optional<SeccompFilter> filter;
  int preserve_fds = 0;
  bool new_keyring = true;
  bool die_with_parent = false;
  bool user_namespace = false;
  std::optional<MemoryPolicy> memory_policy;
  std::optional<std::string> cpus;  // execCPUAffinity.final
  int init_program = -1;            // becomes pid 1 and runs the program (init_protocol.h)
};

// Where `name` leads: itself with a slash, else the first program of that name in the environment's
// PATH. The error is what Go's exec package says: `exec: "x": executable file not found in $PATH`.
Result<std::string> find_program(const std::string& name,
                                 const std::vector<std::string>& environment);
// The same for an execve(2) that failed.
Error exec_error(const std::string& program, int code);

class ProcessSetup {
 public:
  // Both are borrowed and outlive it. `sync` carries the seccomp notify descriptor.
  ProcessSetup(ProcessPlan& plan, const ProcFs& proc, const SyncSocket& sync)
      : plan_(plan), proc_(proc), sync_(sync) {}

  // With the runtime's privileges: keyring, limits, scheduling, labels, user lookup. Then closes
  // every descriptor but the standard streams, those to preserve, `sync`, the log's and `gate`.
  Status prepare(int gate = -1);
  // Whether enter() may run before the gate: the filter allows what is left to do afterwards.
  bool early() const;
  // Gives the privileges away: seccomp, capabilities, groups, user, directory; finds the program.
  Status enter();
  // Returns only on failure.
  Error exec();

 private:
  Status resolve();
  Status apply_limits();
  Status apply_scheduling();
  Status apply_labels();
  Status change_directory();
  Status load_filter();
  void close_others(int gate);
  Error exec_init(int program, std::vector<char*>& environment);

  ProcessPlan& plan_;
  const ProcFs& proc_;
  const SyncSocket& sync_;
  std::string program_;
};

}  // namespace gantry::libcontainer

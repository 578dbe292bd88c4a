// A container: created up to its gate, started, entered, stopped and taken down.
//
//   begin() ── clone ──▶ wait_created() ──▶ [created, init waits at its gate] ── start() ──▶
//   [running]
//
// The caller is a single-threaded process (gantry-runtime) and the parent of init; it reaps init
// and every exec'd process itself (their pids are waitable with waitpid or their pidfds). Whatever
// fails before start() returns has been undone: init killed and reaped, cgroups and state removed.
// Errors read "field: reason" in one line.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/rootfs_source.h"
#include "base/unique_fd.h"
#include "libcontainer/spec.h"
#include "libcontainer/user.h"

namespace gantry::libcontainer {

// Where start() comes from.
enum class Gate {
  in_process,  // from this process, over the socket pair the set-up already uses
  socket,      // from any process that can open the state directory (`create`, then `start`)
};

enum class CgroupDriver { cgroupfs, systemd };

// Descriptors for 0, 1 and 2 of the process; borrowed until begin() or exec() returns. Not used
// with a terminal.
struct Stdio {
  int in = 0;
  int out = 1;
  int err = 2;
};

struct CreateOptions {
  std::string id;
  Spec spec;
  // In place of spec.process->user: resolved by init in the container's root file system (user.h),
  // which also sets HOME when the environment has none.
  std::optional<UserSpec> user;
  std::string bundle;  // absolute; a relative root.path or bind source starts here
  std::optional<RootfsSource>
      rootfs;  // in place of spec.root->path; mounted in the container's namespace
  // Absolute; made here (0711) and removed by destroy(). Holds state.json, config.json and the
  // gate's socket. "" keeps no state on disk; only Gate::in_process is possible then.
  std::string state_directory;
  Gate gate = Gate::in_process;
  // As an ordinary user: a cgroup is made where one has been delegated, or not at all.
  bool rootless = false;
  CgroupDriver cgroup_driver = CgroupDriver::cgroupfs;
  Stdio stdio;
  int preserve_fds = 0;   // descriptors 3 … 2+n go on into the container
  bool no_pivot = false;  // MS_MOVE and chroot in place of pivot_root (initramfs)
  bool no_new_keyring = false;
  bool die_with_parent = false;  // SIGKILL to init when the calling process dies
  // An open program (borrowed until begin() returns) that becomes pid 1 in place of process.args
  // and runs them as its child: init_protocol.h says what it is given. -1: none. Not with
  // preserve_fds.
  int init_program = -1;
  std::string seccomp_cache;  // directory for compiled filters; "" compiles every time
};

struct ExecOptions {
  std::optional<UserSpec> user;  // in place of process.user, as in CreateOptions
  Process process;  // capabilities absent: those of the container; the same for labels and rlimits
  Stdio stdio;
  int preserve_fds = 0;
  std::string cgroup;          // below the container's cgroup; "" is the container's own
  bool ignore_paused = false;  // else a paused container is `conflict`
  bool no_new_keyring = false;
  bool die_with_parent = false;
};

// A process that runs in the container; the caller reaps it.
struct ContainerProcess {
  pid_t pid = -1;
  UniqueFd pidfd;
  UniqueFd console;  // the terminal's master when process.terminal, else invalid
};

enum class ContainerStatus { creating, created, running, paused, stopped };
std::string_view to_string(ContainerStatus status);

enum class KillScope { init, all };  // all: every process of the cgroup

struct Stats;              // stats.h
struct State;              // state.h: what state.json holds
struct CheckpointOptions;  // checkpoint.h
struct RestoreOptions;

class Container {
 public:
  // Checks the spec, takes cgroup and state directory and clones init. pid(), pidfd() and
  // netns_fd() are there afterwards, while init still builds its file system: whoever wires the
  // network starts now.
  static Result<Container> begin(CreateOptions options);
  // Waits until init has reached its gate (createRuntime and createContainer hooks have run then).
  Status wait_created();
  // begin() and wait_created().
  static Result<Container> create(CreateOptions options);
  // create(), and start() with it where nothing has to be done in between: no hooks, no terminal,
  // no user namespace and the like. started() says which it was. If init is killed half-way
  // through, this process's heap is not to be trusted any more; it then executes itself with the
  // arguments `undo_command` (as argv, ended by null; borrowed), says so on standard error and
  // exits with 1.
  static Result<Container> launch(CreateOptions options, const char* const* undo_command);
  bool started() const;
  // A container from its state directory, made by another process. `not_found` when there is none.
  static Result<Container> load(const std::string& state_directory);

  Container(Container&&) noexcept;
  Container& operator=(Container&&) noexcept;
  ~Container();  // closes descriptors; the container lives on

  const std::string& id() const;
  const State& state() const;
  pid_t pid() const;
  int pidfd() const;  // borrowed; -1 when init is gone
  // The container's network namespace (new, joined or the host's). When init has ended before it
  // could be opened, the error is what init said, and the container has been undone.
  Result<UniqueFd> netns_fd();
  // The terminal's master, once, after wait_created(), when process.terminal.
  UniqueFd take_console();
  // The seccomp notify descriptor goes to linux.seccomp.listenerPath by itself.

  // Opens the gate and waits until the program has been exec'd (an error tells why it was not),
  // then runs the poststart hooks. `conflict` unless created. After an error init is gone,
  // destroy() cleans up; it has been called when a hook has failed and init is not the caller's
  // child.
  Status start();

  // Starts a process in all namespaces and cgroups of the container; returns once it has been
  // exec'd.
  Result<ContainerProcess> exec(const ExecOptions& options);

  Result<ContainerStatus> status() const;
  // not_found when init is gone.
  Status signal(int number, KillScope scope = KillScope::init) const;
  Status pause();
  Status resume();
  Status update(const Resources& resources);
  // Limits of cpu, cpuset and pids for some threads (host ids) of the container's processes, in a
  // group `below` the container's (cgroup.h).
  Status limit_threads(const std::string& below, const std::vector<pid_t>& threads,
                       const Resources& resources);
  Result<Stats> stats() const;
  Result<std::vector<pid_t>> processes() const;  // of the cgroup and those below, host pids

  // Writes the processes to images by CRIU and ends the container, unless it is to go on
  // (checkpoint.h). After an error it runs on as before. `unsupported` where there is no CRIU or
  // its check fails, with what is missing. One at a time; another process must not restore there.
  Status checkpoint(const CheckpointOptions& options);
  // A running container from such images, as create() and start() would make it. `options.spec` and
  // the root file system are those it was dumped with; a terminal is there for take_console().
  static Result<Container> restore(CreateOptions options, const RestoreOptions& restore);

  // Kills what is left, removes cgroups and state directory, runs the poststop hooks (failures are
  // logged). Repeatable. Does not reap: init belongs to its parent. A caller that must not wait
  // gives `removal` to somebody else: kill_all() then remove_cgroup() below.
  Status destroy();

 private:
  struct Impl;
  explicit Container(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Kills every process in the container cgroup `cgroups_path` (linux.cgroupsPath) of every hierarchy
// and removes the directories, waiting for dying processes at most `timeout_ms`. What is not there
// is success: the release function of a cgroup resource.
Status remove_cgroup(const std::string& cgroups_path, int timeout_ms = 5000);
// True when the cgroup exists in any hierarchy: the probe.
// Makes the directory of that name, and its parents, in each hierarchy; success when it is there
// already.
Status make_cgroup(const std::string& cgroups_path);
// Removes the directory of that name from each hierarchy where nothing is in it, neither processes
// nor groups. Never fails: what is used stays.
void remove_cgroup_if_unused(const std::string& cgroups_path);
bool cgroup_exists(const std::string& cgroups_path);

}  // namespace gantry::libcontainer

// What runs a container's processes.
//
// Vocabulary. A *launch* describes one run of a container. An *instance* is that run: from
// `create`, which makes everything up to the program (namespaces, root file system, cgroup,
// terminal) and leaves it at its *gate*, over `start`, which opens the gate, to the *exited*
// notice. An *exec* is a further process in a running instance. The *runtime directory* is where an
// instance keeps what a daemon needs to find it again
// (*adopt*). A *notice* is something that happened to an instance by itself.
//
// Life cycle. create → [network is wired, clients are attached] → start → … → exited. An instance
// that is dropped before start() is undone by its shim, which then removes what create() made. A
// started instance lives on when the driver or the whole daemon goes away; adopt() gives it back,
// running or ended.
//
// The runtime directory and the cgroup belong to one run: the next run of the same container takes
// them anew, after they have been released.
//
// Resources. What create() takes is named by launch_resources() in resources.h; the caller writes
// those rows before it calls create().
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/rootfs_source.h"
#include "base/unique_fd.h"
#include "libcontainer/spec.h"
#include "libcontainer/stats.h"
#include "runtime/shim/protocol.h"

namespace gantry::drivers {

using shim::AttachOptions;
using shim::ExitStatus;
using shim::LogConfig;
using shim::TerminalSize;

struct Launch {
  std::string id;         // the container's, 64 hexadecimal digits
  std::string directory;  // the runtime directory: made by create(); its parent exists
  libcontainer::Spec spec;
  libcontainer::UserSpec
      user;             // in place of spec.process->user: names are looked up in the container
  RootfsSource rootfs;  // empty type: spec.root is a directory, used as it is
  bool terminal = false;
  bool open_stdin = false;
  bool stdin_once = false;
  bool init = false;  // a reaping pid 1 runs the program as its child (`--init`)
  TerminalSize console;
  LogConfig log;
};

// A further process in a running instance. `process` is complete: arguments, environment, working
// directory, user, capabilities, terminal flag (libcontainer does not merge it with the container's
// own).
struct ExecRequest {
  std::string id;  // the caller's name for it, unique in the instance
  libcontainer::Process process;
  std::optional<libcontainer::UserSpec>
      user;  // in place of process.user; absent: process.user as it is
  TerminalSize console;
};

// Something that happened to an instance. `exited` is the last one an instance gives.
struct Notice {
  enum class Type { exited, exec_exited, oom, detached };
  Type type = Type::exited;
  std::string exec_id;  // exec_exited; detached: "" for the container's own process
  ExitStatus status;    // exited, exec_exited
};

// Called on the driver's monitor thread, one at a time per instance and in order; must not block,
// and may call of the instance only what does not talk to the shim (state, exit_status, signal).
// Notices that came before a listener was set are given to it first. `exited` of a quick program
// may overtake start(). set_listener() and the end of an instance wait for a call that is running:
// not under a lock that a listener takes.
using Listener = std::function<void(const Notice&)>;

enum class InstanceState { created, running, exited };

// Thread-safe. Calls that talk to the shim block for its answer (well under a millisecond), never
// for the container. Errors: `conflict` when the state forbids the call, `unavailable` when the
// shim is gone.
class Instance {
 public:
  virtual ~Instance() = default;

  virtual const std::string& id() const = 0;
  virtual const std::string& directory() const = 0;
  virtual InstanceState state() const = 0;
  virtual pid_t pid() const = 0;  // of the first process, in the daemon's pid namespace
  // A pidfd of the first process, the caller's own: names nobody else once that has ended.
  virtual Result<UniqueFd> process() const = 0;
  virtual int64_t started_at() const = 0;  // ns since the epoch; 0 before start()
  virtual std::optional<ExitStatus> exit_status() const = 0;  // set once `exited`
  // The network namespace; borrowed, valid while the instance is held; -1 after an adopted one has
  // ended.
  virtual int netns_fd() const = 0;
  virtual void set_listener(Listener listener) = 0;

  // Waits until the container is at its gate and opens it. The error of a program that cannot be
  // started is the container's ("exec: "x": executable file not found in $PATH", kind not_found →
  // 127, permission → 126, others 128: exit_status() has it). The instance has been undone and is
  // `exited` then, without a notice.
  // Copies of `kept` stay with the shim, until the container ends, for the next daemon that adopts
  // the instance.
  virtual Status start(const std::vector<int>& kept = {}) = 0;
  // The same for one that runs, in place of what was kept before.
  virtual Status keep(const std::vector<int>& kept) = 0;
  // Of an adopted instance: what an earlier daemon has given into keeping. Once.
  virtual std::vector<UniqueFd> take_kept() = 0;
  // To the first process, at once and without the shim: works however busy the shim is.
  virtual Status signal(int signal) = 0;
  virtual Status resize(TerminalSize size) = 0;
  // Hands a client's connection over, before start() or later. From here on the shim owns it: it
  // carries output from now on (history is the log reader's) until the container has ended or the
  // client detaches, then it is closed. `leftover`: input already read from it.
  virtual Status attach(UniqueFd client, const AttachOptions& options,
                        std::string_view leftover) = 0;

  // Starts a further process. With a client its input and output go there; without one input is
  // empty and output is dropped. Gives its pid; the exec_exited notice of a quick one may overtake
  // the return of this call.
  virtual Result<pid_t> exec(const ExecRequest& request, UniqueFd client = {},
                             const AttachOptions& options = {}, std::string_view leftover = {}) = 0;
  virtual Status exec_resize(const std::string& exec_id, TerminalSize size) = 0;
  virtual Status exec_signal(const std::string& exec_id, int signal) = 0;

  virtual Status pause() = 0;
  virtual Status resume() = 0;
  virtual Status update(const libcontainer::Resources& resources) = 0;
  // The pids of all its processes, in the daemon's pid namespace.
  virtual Result<std::vector<pid_t>> processes() const = 0;
  virtual Result<libcontainer::Stats> stats() const = 0;
};

// Thread-safe. Outlives its instances; containers that run go on when it ends.
class ExecDriver {
 public:
  virtual ~ExecDriver() = default;

  virtual std::string_view name() const = 0;
  // Makes an instance whose namespaces exist (network can be wired); it goes on to its gate by
  // itself. On failure nothing is left but what resource rows name, and usually not that. A program
  // that cannot be started fails here already when its init was quicker than the look at its
  // namespaces, with the error that start() would give.
  virtual Result<std::shared_ptr<Instance>> create(const Launch& launch) = 0;
  // Finds an instance again by its runtime directory. One whose shim is gone without a record is
  // cleaned up after, and comes back as exited with code 137 and the reason. `not_found`: it never
  // got to its gate. `unavailable`: its shim lives and does not answer in time.
  virtual Result<std::shared_ptr<Instance>> adopt(const std::string& directory) = 0;
};

// The driver whose shim is `gantry-runtime shim`.
struct NativeOptions {
  std::string runtime;  // path of gantry-runtime
  // Group of all shims, below the daemon's own root on every hierarchy; "": they stay with the
  // daemon.
  std::string shims_cgroup = "/gantry/shims";
  std::string seccomp_cache;  // directory for compiled filters, made by the caller; "": none
};
Result<std::unique_ptr<ExecDriver>> make_native_driver(const NativeOptions& options);

}  // namespace gantry::drivers

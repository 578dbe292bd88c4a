// Containers as the daemon knows them: the queries and subscriptions that front ends use, and the
// handlers of the jobs in container_jobs.h. Thread-safe. Queries never wait for a job: they read an
// immutable snapshot of each container.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/byte_source.h"
#include "base/channel.h"
#include "base/json.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "daemon/container_jobs.h"

namespace gantry::drivers {
class Instance;
}

namespace gantry::daemon {

class Daemon;

using Filters = std::map<std::string, std::vector<std::string>>;

struct ListQuery {
  bool all = false;
  int limit = 0;  // > 0: the last N created, whatever their state
  bool size = false;
  Filters filters;
};

enum class WaitCondition { not_running, next_exit, removed };
struct WaitResult {
  int exit_code = 0;
  std::string error;  // why the container could not be started or waited for
};
using WaitChannel = Channel<WaitResult>;  // gets one item, then is closed

struct LogsQuery {
  bool standard_out = false, standard_error = false, follow = false, timestamps = false;
  bool details = false;
  int64_t since_ns = 0, until_ns = 0;  // 0: no bound
  int64_t tail = -1;                   // -1: all
};
// What is left of a log: bytes ready to be sent (framed unless the container has a terminal). Read
// on an I/O pool thread: next() blocks while following, until cancel() or the container's end.
class LogStream {
 public:
  virtual ~LogStream() = default;
  virtual bool framed() const = 0;
  // Nothing when the log ends.
  virtual Result<std::optional<std::string>> next() = 0;
  virtual void cancel() = 0;  // from any thread
};

struct AttachQuery {
  bool logs = false, stream = false, standard_in = false, standard_out = false,
       standard_error = false;
  std::string detach_keys;
  bool raw = false;  // without frames, as over a WebSocket
};

class Containers {
 public:
  explicit Containers(Daemon& daemon);
  ~Containers();

  // ---- queries (any thread, short)
  // Writes the JSON array that GET /containers/json gives, piece by piece. An error of `write` ends
  // it; one of its own comes before the first piece.
  Status list(const ListQuery& query, const std::function<Status(std::string_view)>& write) const;
  Result<json::object> inspect(const std::string& container, bool size) const;
  // {"Titles": […], "Processes": [[…]…]}, by ps(1)'s columns.
  Result<json::object> top(const std::string& container, const std::string& ps_args) const;
  // What it changed in its image's file system, as GET /containers/{id}/changes has it. Walks its
  // layer: not for an I/O thread.
  Result<json::array> changes(const std::string& container) const;
  // What is at a path of it, for GET and HEAD /containers/{id}/archive. Mounts: not for an I/O
  // thread.
  struct PathRead {
    std::string stat;                        // of X-Docker-Container-Path-Stat, JSON
    std::string container;                   // full id
    std::function<Status(ByteSink&)> write;  // the archive; whenever
  };
  Result<PathRead> open_path(const std::string& container, const std::string& path) const;
  void path_was_read(const std::string& id) const;  // tells of it
  // Writes all of its files as an archive; the same.
  Result<std::function<Status(ByteSink&)>> open_export(const std::string& container) const;
  // What the container uses now, as GET /containers/{id}/stats has it. `previous` is the sample
  // before this one, empty for the first. A container that does not run gives its name and zeros.
  // Reads two dozen small files: not for an I/O thread.
  Result<json::object> stats(const std::string& container, const json::object& previous) const;
  // May wait for the container's shim (well under a millisecond): not for an I/O thread.
  Result<json::object> inspect_exec(const std::string& exec) const;
  bool has_terminal_exec(const std::string& exec) const;
  Result<std::string> full_id(const std::string& container) const;

  // ---- for jobs that hold the locks of these containers
  // Those of them that run are kept still while `work` is done.
  Status hold_still(const api::Strings& ids, const std::function<Status()>& work);
  bool is_running(const std::string& id) const;

  // ---- subscriptions and streams
  Result<std::shared_ptr<WaitChannel>> wait(const std::string& container, WaitCondition condition);
  Result<std::unique_ptr<LogStream>> logs(const std::string& container, const LogsQuery& query);
  // Whether the container may be attached to now, and how its stream is framed; to be asked before
  // the connection is hijacked, since afterwards no status can be sent.
  struct AttachInfo {
    bool terminal = false;
  };
  Result<AttachInfo> can_attach(const std::string& container, const AttachQuery& query) const;
  // Takes over the client's connection; short. A container that does not run yet keeps it for its
  // shim. A client that has seen the head of the answer may ask for the start at once, and a short
  // container is over soon: the I/O thread calls this right after hijack(), before it can read
  // another request. For a container that runs, what is left is finish_attach().
  struct RunningAttach {
    std::shared_ptr<drivers::Instance> instance;
    AttachQuery query;
    ClientStream client;
    bool terminal = false;
  };
  Result<std::optional<RunningAttach>> attach(const std::string& container,
                                              const AttachQuery& query, ClientStream client);
  // Waits for the container's shim: not for an I/O thread.
  Status finish_attach(RunningAttach attach);
  // Whether the exec may be started now; to be asked before hijacking.
  Status can_start_exec(const std::string& exec) const;
  Status resize(const std::string& container, unsigned rows, unsigned columns);
  Status resize_exec(const std::string& exec, unsigned rows, unsigned columns);

  struct Counts {
    int64_t running = 0, paused = 0, stopped = 0;
  };
  Counts counts() const;
  // Healthchecks that were run since the daemon began, and that failed.
  struct CheckCounts {
    int64_t run = 0, failed = 0;
  };
  CheckCounts check_counts() const;

  // ---- start-up, each once and in this order, before any other job of a container
  // Reads what the graph remembers into memory.
  Status load();
  // Takes over the shims that run, records the ends that nobody saw.
  Status adopt();
  // Starts what the restart policies say.
  void resume();
  void shut_down();

  class Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace gantry::daemon

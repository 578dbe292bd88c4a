// What the handlers of container jobs share. Private to daemon/containers*.cc.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "daemon/container.h"
#include "daemon/containers.h"
#include "daemon/daemon.h"
#include "daemon/events.h"
#include "daemon/health.h"
#include "daemon/image_jobs.h"
#include "daemon/networks.h"
#include "engine/engine.h"
#include "graph/graph.h"

namespace gantry::daemon {

// For jobs that nobody asked for.
inline engine::SubmitOptions ourselves() {
  engine::SubmitOptions options;
  options.caller.name = "gantryd";
  return options;
}

// The resources of one run of a container, in any order; what it keeps between runs is not among
// them.
inline const std::vector<std::string_view> kRunKinds = {"net.port", "net.veth", "net.address",
                                                        "shim",     "cgroup",   "rundir"};

// A process started by `docker exec`. Kept in memory until its container is removed.
struct ExecRecord {
  std::string id;
  std::string container;  // full id
  ExecConfig config;
  bool started = false;
  bool running = false;
  std::optional<int> exit_code;
  int64_t ended_at = 0;  // monotonic ns
  int pid = 0;
};

// Of a program that could not be started, as a shell has it: 127 when there is no such program, 126
// when it cannot be run, 128 for every other failure.
int exit_code_of_failure(const Error& error);

// Undoes a change of a running container, which the kernel keeps and no row tells of, unless the
// job that made it has been committed. Held by the job's after_commit function.
class Undo {
 public:
  explicit Undo(std::function<void()> undo) : undo_(std::move(undo)) {}
  Undo(const Undo&) = delete;
  ~Undo() {
    if (undo_) undo_();
  }
  void keep() { undo_ = nullptr; }

 private:
  std::function<void()> undo_;
};

// Gives a claimed name back unless the job that claimed it has been committed.
class NameClaim {
 public:
  NameClaim(ContainerTable& table, std::string name, std::string id)
      : table_(table), name_(std::move(name)), id_(std::move(id)) {}
  NameClaim(const NameClaim&) = delete;
  ~NameClaim() {
    if (!kept_) table_.release_name(name_, id_);
  }
  void keep() { kept_ = true; }

 private:
  ContainerTable& table_;
  std::string name_, id_;
  bool kept_ = false;
};

// Calls what is due on a thread of its own, which must not wait long. Thread-safe.
class Timer {
 public:
  Timer() : thread_([this] { loop(); }) {}
  ~Timer() { stop(); }
  void schedule(int64_t delay_ns, std::function<void()> call);  // nothing once it is stopped
  void stop();

 private:
  void loop();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<int64_t, std::function<void()>> due_;  // by monotonic time
  bool stopping_ = false;
  std::thread thread_;  // last: it uses the others
};

class Containers::Impl {
 public:
  explicit Impl(Daemon& owner) : daemon(owner) {}
  void register_jobs();

  // ---- containers_create.cc
  Result<ContainerCreate::Output> create(engine::JobContext& job, ContainerCreate::Input input);

  // ---- containers_start.cc
  Result<Nothing> failed(engine::JobContext& job, const ContainerFailed::Input& input);
  Result<ChangeOutput> start(engine::JobContext& job, const ContainerStart::Input& input);
  // With the container's lock held. `record` becomes what is stored.
  Status start_locked(engine::JobContext& job, Container& container);
  // What its links tell it, in `record` (/etc/hosts) and as environment. Those that it is linked to
  // must be running.
  Result<std::vector<std::string>> follow_links(ContainerRecord& record) const;
  // Makes the files of the container directory that are mounted over /etc/hosts and so on.
  Status write_network_files(const ContainerRecord& record, const SandboxPlan& plan);

  Result<UniqueFd> shared_memory_of(const std::string& reference) const;
  static Status attach_to(drivers::Instance& instance, Container::PendingAttach attach,
                          bool terminal);

  // ---- containers_adopt.cc
  Result<ContainerAdopt::Output> adopt(engine::JobContext& job, const ContainerAdopt::Input& input);
  Status adopt_one(engine::JobContext& job, const std::shared_ptr<Container>& container,
                   ContainerAdopt::Output& output);
  void adopt_later(const std::string& id, int64_t retry_ns);

  // ---- containers_exit.cc
  Result<Nothing> exited(engine::JobContext& job, const ContainerExit::Input& input);
  // Listens to an instance: its end becomes a container.exit job.
  void watch(const std::shared_ptr<Container>& container, const std::string& run,
             const std::shared_ptr<drivers::Instance>& instance);
  // Runs container.exit; when it fails, again after `retry_ns`, and so on: nobody tells of it
  // twice.
  void record_end(ContainerExit::Input input, int64_t retry_ns = 250'000'000);
  void schedule_restart(const std::string& id, const std::string& run, int64_t delay_ns);
  static bool should_restart(const ContainerRecord& record);

  // ---- containers_stop.cc
  Result<ChangeOutput> stop(engine::JobContext& job, const ContainerStop::Input& input);
  Result<Nothing> kill(engine::JobContext& job, const ContainerKill::Input& input);
  Result<Nothing> restart(engine::JobContext& job, const ContainerStop::Input& input);
  Result<Nothing> pause(engine::JobContext& job, const std::string& reference, bool paused);
  Result<Nothing> rename(engine::JobContext& job, const ContainerRename::Input& input);
  Result<ContainerUpdate::Output> update(engine::JobContext& job,
                                         const ContainerUpdate::Input& input);
  // Stops a running container and returns when its end has been recorded.
  Status stop_and_wait(engine::JobContext& job, Container& container, int signal,
                       std::optional<int> timeout_seconds);
  Status end_unanswering(engine::JobContext& job, const ContainerRecord& record);
  // Marks it as stopped by its user, and returns when no run is left and none follows.
  Status end_runs(engine::JobContext& job, Container& container, int signal,
                  std::optional<int> timeout_seconds);
  Result<Nothing> mark_stopped(engine::JobContext& job, const ContainerMarkStopped::Input& input);
  Status note_manual_stop(engine::JobContext& job, const Container& container,
                          bool restart = false);

  // ---- containers_remove.cc
  Result<Nothing> remove(engine::JobContext& job, const ContainerRemove::Input& input);
  Result<ContainerPrune::Output> prune(engine::JobContext& job, const ContainerPrune::Input& input);
  // With the lock held, not running: everything of it goes with this job.
  Status remove_locked(engine::JobContext& job, const std::shared_ptr<Container>& container,
                       bool volumes);

  // ---- containers_networks.cc
  Result<NetworkConnect::Output> connect(engine::JobContext& job, NetworkConnect::Input input);
  Result<NetworkDisconnect::Output> disconnect(engine::JobContext& job,
                                               NetworkDisconnect::Input input);
  // Of a running one, with its lock held.
  Status change_networks(engine::JobContext& job, const std::shared_ptr<Container>& container,
                         const ContainerRecord& before, NetworkChange change);

  // ---- containers_exec.cc
  Result<ExecCreate::Output> exec_create(engine::JobContext& job, const ExecCreate::Input& input);
  Result<Nothing> exec_start(engine::JobContext& job, ExecStart::Input input);
  Result<ExecRecord> find_exec(const std::string& id) const;
  void exec_exited(const std::string& id, int exit_code);
  void forget_ended_execs();

  // ---- containers_health.cc
  // From now on its healthcheck, if it has one, is run; once it runs, or goes on after a pause.
  // new_check_generation() stops that.
  void start_checks(const std::shared_ptr<Container>& container);
  void schedule_check(const std::shared_ptr<Timer>& clock,
                      const std::shared_ptr<Container>& container, uint64_t generation);
  Result<Nothing> health_check(engine::JobContext& job, const ContainerHealthCheck::Input& input);
  HealthResult run_check(engine::JobContext& job, const ContainerRecord& record,
                         const HealthProbe& probe);
  // False when it has not ended by then, or the job was cancelled.
  bool wait_for_exec(engine::JobContext& job, const std::string& id,
                     std::chrono::steady_clock::time_point deadline, int& exit_code);

  // ---- containers_copy.cc
  Result<Nothing> extract(engine::JobContext& job, ContainerExtract::Input input);

  // ---- containers_commit.cc
  Result<ImageCommit::Output> commit_image(engine::JobContext& job,
                                           const ImageCommit::Input& input);

  // ---- containers_list.cc
  int64_t changed_bytes(const std::string& id) const;  // of the regular files it changed or added

  // ---- shared
  // Finds it, takes its lock, and finds that it is still there.
  Result<std::shared_ptr<Container>> find_locked(engine::JobContext& job,
                                                 const std::string& reference);
  Status store(graph::Transaction& tx, const ContainerRecord& record) const;
  // Stores and publishes by the job's closing transaction.
  void commit(engine::JobContext& job, Container& container, ContainerRecord record);
  void publish_event(const ContainerRecord& record, const std::string& action,
                     std::map<std::string, std::string> more = {});
  std::string directory_of(const std::string& id) const;  // <data root>/containers/<id>
  // Of the run record.state.run: a name of its own, so that a start never meets what an earlier run
  // still gives back in the background. <exec root>/shims/<id>-<run>, and <cgroup
  // parent>/<id>-<run>.
  std::string runtime_directory_of(const ContainerRecord& record) const;
  std::string cgroup_of(const ContainerRecord& record) const;
  static std::string owner_of(const std::string& id) { return "container:" + id; }

  Daemon& daemon;
  ContainerTable table;

  // Containers that are being removed by force, which nothing may start again meanwhile.
  class Removal {
   public:
    Removal(Impl& containers, std::string id);
    Removal(const Removal&) = delete;
    ~Removal();

   private:
    Impl& containers_;
    std::string id_;
  };
  bool being_removed(const std::string& id) const;
  mutable std::mutex removals_mutex;
  std::multiset<std::string> removals;

  mutable std::mutex exec_mutex;
  std::condition_variable exec_changed;  // one has ended
  std::map<std::string, ExecRecord> execs;
  int64_t execs_looked_at = 0;  // monotonic ns
  std::atomic<int64_t> checks_run = 0, checks_failed = 0;

  std::shared_ptr<Timer> timer = std::make_shared<Timer>();
};

}  // namespace gantry::daemon

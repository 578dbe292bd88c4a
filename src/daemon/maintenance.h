// Looks after the whole: checks what the database says against the kernel and the disk, and
// collects what nothing holds.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/result.h"
#include "daemon/maintenance_jobs.h"

namespace gantry::engine {
class JobContext;
}

namespace gantry::daemon {

class Daemon;

// Thread-safe. A thread of its own waits for the next collection to be due (Options::gc_interval).
class Maintenance {
 public:
  // Registers the jobs of maintenance_jobs.h. `daemon` must outlive this.
  explicit Maintenance(Daemon& daemon);
  ~Maintenance();

  // Begins to collect by itself, unless Options::gc is off: now, and then every interval.
  void start();
  // No collection begins any more; the one that runs ends when the engine stops its job.
  void stop();
  void shut_down();  // and waits for its end

 private:
  Result<SystemCheck::Output> check(engine::JobContext& job, const SystemCheck::Input& input);
  Result<SystemRebuild::Output> rebuild(engine::JobContext& job);
  Result<SystemCollect::Output> collect(engine::JobContext& job, const SystemCollect::Input& input);
  Result<std::vector<graph::Node>> collect_step(engine::JobContext& job,
                                                const CollectStep::Input& input);
  Result<bool> rebase(engine::JobContext& job, const ContainerRebase::Input& input);
  void loop();

  Daemon& daemon_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace gantry::daemon

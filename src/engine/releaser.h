// Giving resources back: the one function that does it, and the background thread that does it for
// rows marked `releasing` (kinds the kernel tears down slowly, and releases that failed).
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "engine/resource.h"
#include "graph/database.h"

namespace gantry::engine {

// Calls the kind's release between its failpoints (resource.release.KIND before,
// resource.released.KIND after). A kind that is not registered is an error.
Status release_resource(const Resources& resources, const Resource& resource);

// Thread-safe. The thread is started by the first wake().
class Releaser {
 public:
  Releaser(graph::Database& database, Resources& resources, std::chrono::milliseconds retry);
  ~Releaser();

  // Called before each round of work with the database unlocked: marks what else is to be released.
  void set_source(std::function<Status()> source) { source_ = std::move(source); }

  // There is (or may be) a row marked `releasing`.
  void wake();
  // Forgets the back-off of failed rows and wakes.
  void retry_now();
  // Releases one row now, on this thread, waiting for the background thread if that is at it; the
  // row is gone after success. For a job that wants the name.
  Status finish(const ResourceRow& row);
  bool drain(std::chrono::milliseconds timeout);
  // What the kernel is slow at nobody waits for, until there is too much of it: then a job that is
  // about to take more waits until there is less, two seconds at most.
  void wait_for_room();
  bool has_failed(int64_t row);
  void stop();

 private:
  using Clock = std::chrono::steady_clock;
  struct Failure {
    Clock::time_point next;
    std::chrono::milliseconds delay;
  };
  void loop();
  Result<std::vector<ResourceRow>> due();
  void work(std::vector<ResourceRow> rows);
  std::vector<int64_t> work_through(const std::vector<ResourceRow>& rows);
  void forget(std::vector<int64_t> done);
  bool claim(int64_t id, bool wait);
  void unclaim(int64_t id);
  bool was_finished(int64_t id);
  Result<bool> still_there(const ResourceRow& row);
  void note_failure(int64_t id);

  graph::Database* database_;
  Resources* resources_;
  const std::chrono::milliseconds retry_;
  std::function<Status()> source_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool wanted_ = false;
  bool working_ = false;
  bool stopping_ = false;
  int64_t rounds_ = 0;  // completed since the start
  size_t behind_ = 0;   // rows of the round under way that are still to be done
  std::set<int64_t> claimed_;
  std::set<int64_t>
      finished_;  // by finish() since the round under way began: its list may still have them
  std::map<int64_t, Failure> failures_;
  Clock::time_point source_retry_{};  // when the source or the database failed
  std::thread thread_;
};

}  // namespace gantry::engine

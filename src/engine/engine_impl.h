// The inside of the engine, for its own files only.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>

#include "engine/deadlines.h"
#include "engine/engine.h"
#include "engine/releaser.h"
#include "engine/threads.h"

namespace gantry::engine {

// One submitted job, from submit() until its last handle is gone. Thread-safe except where noted.
class JobState {
 public:
  // Set before it is shared, constant from then on.
  Engine* engine = nullptr;
  std::shared_ptr<const Engine::JobType> type;
  std::shared_ptr<CancelSource> cancel;
  std::optional<std::chrono::steady_clock::time_point> deadline;
  Engine::DigestFunction digest = nullptr;
  std::shared_ptr<Channel<json::value>> channel;  // null: the submitter does not listen
  JobId id = 0;
  Caller caller;

  // Of the thread that runs it.
  std::shared_ptr<void> input;
  bool counted = false;    // in the running jobs of its class (under the engine's mutex)
  bool unsettled = false;  // its closing transaction failed: rows are left

  JobInfo info() const;
  void update(const std::function<void(JobInfo&)>& change);
  void finish(Result<std::shared_ptr<void>> result);
  bool finished() const;
  void on_done(std::function<void()> fn);
  Result<std::shared_ptr<void>> take_result();

  // Moves a queued job out of its queue, closes the channel. Destroyed first.
  std::vector<CancelSource::Registration> registrations;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  JobInfo info_;
  bool finished_ = false;
  std::optional<Result<std::shared_ptr<void>>> result_;
  std::vector<std::function<void()>> done_;
};

struct Engine::Impl {
  Impl(Engine* engine, graph::Database& db, EngineOptions given)
      : self(engine),
        database(&db),
        graph(db),
        resources(db),
        options(std::move(given)),
        releaser(db, resources, options.retry_interval),
        threads(options.stack_size, options.idle_thread_time) {}

  struct ClassState {
    int running = 0;
    std::deque<std::shared_ptr<JobState>> queue;
  };
  // Which jobs may still change their rows: `ids`, and every job from `next` on.
  struct Active {
    std::set<JobId> ids;
    JobId next = 0;
    bool contains(JobId id) const { return id >= next || ids.contains(id); }
  };

  Active active_jobs();
  std::shared_ptr<JobState> make_state(std::shared_ptr<const JobType> type,
                                       std::shared_ptr<void> input, DigestFunction digest,
                                       Caller caller, std::shared_ptr<CancelSource> cancel,
                                       JobId parent);
  Status admit(const std::shared_ptr<JobState>& state);
  bool has_room(JobClass job_class) const;
  void leave_queue(JobState* state);
  void run(std::shared_ptr<JobState> state);  // on a thread of `threads`
  std::shared_ptr<JobState> ended(const std::shared_ptr<JobState>& state);
  void emit(const JobInfo& info);
  // Marks what jobs left that are not active: their rows as interrupted, their intents as
  // releasing.
  Status settle(const Active& active);
  // Forgets ended jobs that the journal need not keep when `newest` is the last one's id.
  Status trim_journal(graph::Transaction& tx, JobId newest) const;
  static graph::Space space_of(const JobOptions& options) {
    return options.job_class == JobClass::control || options.job_class == JobClass::maintenance
               ? graph::Space::reserve
               : options.space;
  }

  Engine* self = nullptr;
  graph::Database* database;
  graph::Graph graph;
  Resources resources;
  EngineOptions options;
  std::string boot_id;
  LockTable locks;

  mutable std::mutex mutex;
  std::condition_variable idle;
  std::condition_variable quiet;  // no job of class `container` runs
  std::map<std::string, std::shared_ptr<const JobType>, std::less<>> types;
  std::map<JobId, std::shared_ptr<JobState>> active;
  std::map<JobClass, ClassState> classes;
  JobId next_id = 1;
  bool stopping = false;

  std::atomic<int> watcher_count{0};
  std::mutex watch_mutex;
  std::vector<std::pair<JobId, std::weak_ptr<Channel<JobInfo>>>> watchers;

  // Rows of an ended job are left (JobState::unsettled).
  std::atomic<bool> unsettled{false};

  // Threads last: destroyed (joined) first.
  Releaser releaser;
  Deadlines deadlines;
  Threads threads;
};

struct JobContext::Impl {
  struct Taken {
    Resource resource;
    int64_t row = 0;
  };
  // A change of a resource's row that waits for the next transaction of the job.
  struct Pending {
    enum class What { erase, release_later, set_data } what;
    int64_t row = 0;
    std::string data;
    // Of what was held before this job, and nothing was done yet: a failure of the job undoes it.
    bool undone_by_failure = false;
  };

  std::vector<Taken> taken;  // in order; not yet held
  std::vector<Pending> pending;
  std::vector<ResourceRow> leaving;  // of release_after_commit(), in the order asked for
  std::vector<std::function<Status(graph::Transaction&)>> commit_functions;
  std::vector<std::function<void()>> after_functions;
  std::vector<LockTable::Held> locks;
  std::vector<std::string> names;  // "kind name" of all it took
  bool journaled = false;
  bool leased = false;  // there may be a lease node of this job
};

// The key of the lease node of a job, and the reverse (0: not a job's).
std::string lease_key(JobId id);
JobId job_of_lease(std::string_view key);
// Removes the leases of jobs that are not active.
Status expire_leases(const graph::Graph& graph, graph::Transaction& tx,
                     const std::function<bool(JobId)>& active);

// Carries jobs from their first to their last transaction.
class Runner {
 public:
  // The handler, and what goes before and after it. The context's locks are still held on return.
  static Result<std::shared_ptr<void>> execute(JobContext& job);
  static Status write(JobContext& job, graph::Durability durability, graph::Space space,
                      const std::function<Status(graph::Transaction&)>& body);
  // Runs `job`'s pending row changes inside a transaction.
  static Status flush(JobContext& job, graph::Transaction& tx);
  static Status put_row(JobContext& job, graph::Transaction& tx, JobInfo info);
  static Status drop_lease(JobContext& job, graph::Transaction& tx);
  // `whose`: taken by this job, or held before it.
  enum class Whose { own, held };
  static void give_back(JobContext& job, const Resource& resource, int64_t row, Whose whose);
  // leave.h
  static Status release_after_commit(JobContext& job, std::string_view kind, std::string_view name);
  static Status set_data_on_commit(JobContext& job, std::string_view kind, std::string_view name,
                                   std::string data);

 private:
  static Result<std::shared_ptr<void>> call(JobContext& job);
  static Status commit(JobContext& job);
  static void roll_back(JobContext& job, const Error& error);
  static Status trim(const Engine::Impl& engine, JobId id, graph::Transaction& tx);
};

}  // namespace gantry::engine

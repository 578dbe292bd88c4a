// The engine: admits jobs, gives each running one a thread, keeps the journal, and makes sure that
// what a job took is either owned by something or given back, whenever the process dies.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "engine/job.h"
#include "engine/lock.h"
#include "engine/reconcile.h"
#include "engine/resource.h"
#include "graph/database.h"
#include "graph/graph.h"

namespace gantry::engine {

struct EngineOptions {
  // Jobs that run at once, per class; 0: no bound. `control` is never bounded.
  std::map<JobClass, int> concurrency = {{JobClass::container, 64},
                                         {JobClass::transfer, 8},
                                         {JobClass::build, 4},
                                         {JobClass::maintenance, 4}};
  // Jobs of one class that may wait; one more is refused (`unavailable`).
  size_t queue_limit = 4096;
  // The journal keeps the newest N ended jobs, of those the ones that ended in the last
  // `journal_age` (0: of any age). What is over goes with every 64th job, and when reconciling.
  int64_t journal_limit = 2000;
  std::chrono::seconds journal_age{0};
  // Bytes of stack of a job's thread; sanitizer builds use more.
  size_t stack_size = 256 << 10;
  std::chrono::milliseconds idle_thread_time{5000};
  // Releases that failed are tried again after this, doubled each time up to 64 times.
  std::chrono::milliseconds retry_interval{250};
  // Does the owner of a resource still exist? By default "kind:key" is looked up in the graph; an
  // owner whose word before ':' is no node kind is taken to exist.
  std::function<Result<bool>(std::string_view owner)> owner_exists;
};

// A subscription to what happens to jobs: one event per change of status and per progress event, as
// JobInfo. A listener that does not keep up misses events (the latest status is in inspect()).
using JobWatch = std::shared_ptr<Channel<JobInfo>>;

// Which jobs to list. Empty: all; several values of one kind are alternatives.
struct JobFilter {
  std::vector<std::string> names;  // "container.start", or what is before a dot: "container"
  std::vector<JobStatus> statuses;
  bool matches(const JobInfo& job) const;
};

struct EngineStats {
  int64_t running = 0;
  int64_t queued = 0;
  int64_t threads = 0;
  int64_t releasing = 0;  // rows the background releaser has still to do
};

// Thread-safe. Outlives every JobHandle's use of it; shutdown() before the kinds' and handlers'
// state goes.
class Engine {
 public:
  // `database` must outlive the engine. Nothing runs before the first submit(); call reconcile()
  // once the resource kinds are registered.
  static Result<std::unique_ptr<Engine>> create(graph::Database& database,
                                                EngineOptions options = {});
  ~Engine();
  Engine(const Engine&) = delete;

  graph::Database& database();
  graph::Graph& graph();
  Resources& resources();

  // Registers the handler of a job type; before the first submit of it. A second one replaces the
  // first.
  template <typename Job>
  void add(std::function<Result<typename Job::Output>(JobContext&, typename Job::Input)> handler,
           JobOptions options = {});
  template <typename Job>
  void add(std::function<Result<typename Job::Output>(JobContext&, typename Job::Input)> handler,
           JobClass job_class) {
    add<Job>(std::move(handler), JobOptions{.job_class = job_class});
  }

  // Never blocks. A job that could not be admitted is a handle that is finished with the error.
  template <typename Job>
  std::shared_ptr<JobHandle<typename Job::Output>> submit(typename Job::Input input,
                                                          SubmitOptions options = {});
  // submit + wait. Not from inside a job: that is JobContext::run.
  template <typename Job>
  Result<typename Job::Output> run(typename Job::Input input, SubmitOptions options = {}) {
    return submit<Job>(std::move(input), std::move(options))->wait();
  }
  std::vector<std::string> job_names() const;

  // The journal and the running jobs, newest first; `limit` counts those that match.
  Result<std::vector<JobInfo>> list(size_t limit = 100, const JobFilter& filter = {}) const;
  Result<JobInfo> inspect(JobId id) const;  // not_found
  Status cancel(JobId id);                  // not_found; conflict when it has ended
  // Of one job, or of all (0). Closed when that job ends; drop it to unsubscribe.
  JobWatch watch(JobId id = 0);
  EngineStats stats() const;

  // Compares rows with the kernel and the disk in both directions, and repairs. At start-up it also
  // settles the jobs that were running when the last process died; safe to run at any time beside
  // jobs: it leaves alone what running jobs took.
  Result<ReconcileReport> reconcile(ReconcileMode mode);

  // For a transaction that removes an owner without a job's own closing one: what it holds is
  // marked for release in `tx`, all kinds by the background releaser, which wake_releaser() tells
  // of it.
  Status release_owned(graph::Transaction& tx, std::string_view owner);
  void wake_releaser();

  // Waits until the background releaser has nothing to do, or everything left has failed at least
  // once since the call. False on timeout.
  bool drain_releases(std::chrono::milliseconds timeout);

  // No job is admitted from now on; running ones get `grace` to end, then are cancelled and waited
  // for. What is given back in the background then gets `drain`; what is left after it is for the
  // next start.
  void shutdown(std::chrono::milliseconds grace, std::chrono::milliseconds drain = {});

 private:
  friend class JobContext;
  friend class JobHandleBase;
  friend class Runner;
  friend class JobState;

  using ErasedHandler =
      std::function<Result<std::shared_ptr<void>>(JobContext&, std::shared_ptr<void>)>;
  struct JobType {
    std::string name;
    JobOptions options;
    ErasedHandler handler;
  };
  // The input's digest is computed only when there is a row to write it to.
  using DigestFunction = std::string (*)(const void* input);

  Engine();
  void add_type(JobType type);
  std::shared_ptr<JobState> submit_erased(std::string_view name, std::shared_ptr<void> input,
                                          DigestFunction digest, SubmitOptions options);
  Result<std::shared_ptr<void>> run_child(JobContext& parent, std::string_view name,
                                          std::shared_ptr<void> input, DigestFunction digest);

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::string digest_text(std::string_view text);  // "sha256:…"

template <typename Input>
std::string input_digest(const void* input) {
  if constexpr (json::HasSchema<Input>)
    return digest_text(json::dump(*static_cast<const Input*>(input)));
  else
    return {};
}

template <typename Job>
void Engine::add(
    std::function<Result<typename Job::Output>(JobContext&, typename Job::Input)> handler,
    JobOptions options) {
  add_type({std::string(Job::kName), options,
            [handler = std::move(handler)](
                JobContext& job, std::shared_ptr<void> input) -> Result<std::shared_ptr<void>> {
              auto& typed = *static_cast<typename Job::Input*>(input.get());
              auto output = TRY(handler(job, std::move(typed)));
              return std::shared_ptr<void>(
                  std::make_shared<typename Job::Output>(std::move(output)));
            }});
}

template <typename Job>
std::shared_ptr<JobHandle<typename Job::Output>> Engine::submit(typename Job::Input input,
                                                                SubmitOptions options) {
  auto erased = std::make_shared<typename Job::Input>(std::move(input));
  return std::make_shared<JobHandle<typename Job::Output>>(submit_erased(
      Job::kName, std::move(erased), &input_digest<typename Job::Input>, std::move(options)));
}

template <typename Output>
Result<Output> JobHandle<Output>::wait() {
  std::shared_ptr<void> output = TRY(take_result());
  return std::move(*static_cast<Output*>(output.get()));
}

template <typename Job>
Result<typename Job::Output> JobContext::run(typename Job::Input input) {
  auto erased = std::make_shared<typename Job::Input>(std::move(input));
  std::shared_ptr<void> output = TRY(
      engine_->run_child(*this, Job::kName, std::move(erased), &input_digest<typename Job::Input>));
  return std::move(*static_cast<typename Job::Output*>(output.get()));
}

// The Output of jobs that have none.
struct Nothing {};

}  // namespace gantry::engine

template <>
struct gantry::json::Schema<gantry::engine::Caller> {
  using C = gantry::engine::Caller;
  static constexpr Field fields[] = {field<&C::name>("Name"), field<&C::uid>("Uid"),
                                     field<&C::pid>("Pid")};
};

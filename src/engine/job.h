// Jobs: the smallest unit of work, and the only thing that changes state.
//
//   struct ContainerCreate {
//     static constexpr std::string_view kName = "container.create";
//     using Input = ContainerCreateInput;    // with a json::Schema: its digest goes into the
//     journal using Output = ContainerCreateOutput;
//   };
//   engine.add<ContainerCreate>([&](JobContext& job, Input in) -> Result<Output> {
//     TRY(job.lock({{LockKind::image, in.image, LockMode::shared}}));
//     TRY(job.take({{.kind = "layer", .name = id, .owner = "container:" + id}}));  // row first …
//     TRY(driver.create_container(id, chain));                                     // … then the
//     thing job.on_commit([=](graph::Transaction& tx) -> Status { … }); return Output{id};
//   });
//   Result<Output> output = engine.run<ContainerCreate>(input, options);
//
// When the handler returns an error, is cancelled, or its closing transaction fails, the engine
// releases everything the job took, in reverse; the handler has no clean-up of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/channel.h"
#include "base/json.h"
#include "base/result.h"
#include "engine/cancel.h"
#include "engine/lock.h"
#include "engine/resource.h"
#include "graph/graph.h"

namespace gantry::engine {

class Engine;
class JobState;

using JobId = int64_t;  // ascending; unique among the jobs of a data root

// Admission is bounded per class; a class never waits behind another. Jobs of `control` (kill,
// stop, rm, cancel, exit handling) are never queued.
enum class JobClass { control, container, transfer, build, maintenance };
std::string_view to_string(JobClass job_class);

enum class JobStatus {
  queued = 1,
  running = 2,
  done = 3,
  failed = 4,
  cancelled = 5,
  interrupted = 6
};
std::string_view to_string(JobStatus status);
Result<JobStatus> job_status_from(std::string_view word);  // invalid

// When the journal row is written: with the first intents, or at the end when there were none (one
// transaction in all); or before the handler starts, for long jobs whose interruption must be
// known.
enum class Journaling { with_first_take, at_start };

struct JobOptions {
  JobClass job_class = JobClass::container;
  Journaling journaling = Journaling::with_first_take;
  graph::Durability durability = graph::Durability::normal;  // of the closing transaction
  // On a full disk. `reserve` is for what gives space back, and for what one gives it back with; it
  // is what jobs of `control` and `maintenance` have anyhow.
  graph::Space space = graph::Space::ordinary;
};

// Who asked: peer credentials of the socket, a name from TLS, or the daemon itself.
struct Caller {
  std::string name;  // "uid:0", "tls:alice", "gantryd"
  int64_t uid = -1;
  int64_t pid = 0;
};

struct SubmitOptions {
  Caller caller;
  std::optional<std::chrono::steady_clock::time_point> deadline;
  // Receives progress from the first event on, and is closed when the job ends. Taken from the
  // handle by progress(). Without it, events go to watchers only.
  bool want_progress = false;
};

// What the journal and the running jobs tell; also the answer of GET /gantry/jobs.
struct JobInfo {
  JobId id = 0;
  std::string name;
  JobStatus status = JobStatus::queued;
  JobClass job_class = JobClass::container;
  JobId parent = 0;
  Caller caller;
  int64_t queued_at = 0;  // ns since the epoch; 0: not yet
  int64_t started_at = 0;
  int64_t finished_at = 0;
  std::string input_digest;
  std::string error;                   // of failed, cancelled and interrupted jobs
  std::vector<std::string> resources;  // "kind name" of what it took, in order
  json::value progress;                // the latest event; null when none or ended
};

// A listener's end of a job's progress. Destroying it closes the channel, and the job goes on
// without.
using ProgressChannel = std::shared_ptr<Channel<json::value>>;

// Everything a handler may ask of the engine. Belongs to the job's thread; cancel() parts excepted.
class JobContext {
 public:
  JobContext(Engine& engine, JobState& state, JobContext* parent);
  ~JobContext();
  JobContext(const JobContext&) = delete;

  JobId id() const;
  const Caller& caller() const;
  Engine& engine() { return *engine_; }
  std::optional<std::chrono::steady_clock::time_point> deadline() const;

  // Cancellation: asked by the caller, the deadline or shutdown. Long loops call check(), blocking
  // calls poll cancel().fd() beside their own descriptor.
  CancelSource& cancel();
  bool cancelled() { return cancel().cancelled(); }
  Status check() { return cancel().check(); }
  // For work that nobody waits for, between two steps and with no lock held: returns as soon as no
  // job of class `container` runs, after `at_most` at the latest.
  void give_way(std::chrono::nanoseconds at_most);

  // Tells whoever listens. Waits while the submitter's channel is full, but not past its closing or
  // a cancellation; watchers that are slow miss events. The latest is kept for inspect().
  void progress(json::value event);
  bool has_listener() const;

  // Takes the locks, in the fixed order, and holds them until the job has ended (after the closing
  // transaction). Names held already, by this job or a parent, are fine. `internal` when the order
  // of lock.h is broken by an earlier lock().
  Status lock(std::vector<LockName> names);

  // Writes the intents in one transaction; only then may the things be taken. `also` joins it.
  // conflict when someone has the (kind, name); one that is just being released is finished first.
  Status take(std::vector<Resource> resources,
              const std::function<Status(graph::Transaction&)>& also = {});
  // Rows of things that are there already and whose rows were lost (a database that was made
  // again), as held by their owners, which exist or are made by `also` in the same transaction.
  // Unlike take(), nothing is given back when the job fails or is killed. conflict when there is a
  // row.
  Status adopt(std::vector<Resource> resources,
               const std::function<Status(graph::Transaction&)>& also = {});
  // New data for a resource of this job (a pid, once known), stored by the next transaction of the
  // job.
  void set_data(std::string_view kind, std::string_view name, std::string data);
  // Gives a resource back. Its row goes with the next transaction of the job: a release is not
  // undone by a later failure. Deferred kinds are only marked then, and what was held before the
  // job stays held when it fails first. Absent is success. When
  // releasing fails, the row stays as `releasing` for the background releaser, and that is success
  // too (logged).
  Status release(std::string_view kind, std::string_view name);
  // Everything an owner has, in reverse order of taking; only of `kinds` unless empty.
  Status release_owned(std::string_view owner, const std::vector<std::string_view>& kinds = {});

  // Joins the closing transaction: called in order, with this job's resources turning to held in
  // the same transaction. An error fails the job.
  void on_commit(std::function<Status(graph::Transaction&)> fn);
  // Called after the closing transaction of a successful job, before its waiters wake; must not
  // fail.
  void after_commit(std::function<void()> fn);
  // The work so far becomes final now: resources turn to held, on_commit() functions run (once),
  // `also` joins. A later failure does not undo it (a pull keeps the blobs it has). Functions given
  // to on_commit() and here may be called a second time when the disk was full: no effect but on
  // `tx`.
  Status commit_now(const std::function<Status(graph::Transaction&)>& also = {});

  // Keeps a node, and what it holds, from collection until this job has ended: for what was found
  // in the graph and is to be linked by the closing transaction. Lease first, then look whether
  // content is there.
  Status lease(graph::Transaction& tx, graph::NodeId node);

  // Runs another job on this thread, as a child: with this caller, cancellation, deadline and
  // locks. It has a journal row of its own; what it did is final when it returns.
  template <typename Job>
  Result<typename Job::Output> run(typename Job::Input input);

 private:
  friend class Engine;
  friend class Runner;

  Engine* engine_;
  JobState* state_;
  JobContext* parent_;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The part of a job's handle that does not know its output. Thread-safe.
class JobHandleBase {
 public:
  JobId id() const;
  // Asks the job to stop; it ends with `cancelled` when it heeds that in time.
  void cancel(CancelReason reason = CancelReason::requested);
  bool finished() const;
  // Calls `fn` once when the job has ended, from its thread (at once when it has). Does not block.
  void on_done(std::function<void()> fn);
  // The channel asked for by want_progress, once; null otherwise. Not taking it is not listening.
  ProgressChannel progress();

 protected:
  explicit JobHandleBase(std::shared_ptr<JobState> state);
  Result<std::shared_ptr<void>> take_result();  // blocks until finished

  std::shared_ptr<JobState> state_;
  ProgressChannel listener_;  // until progress() takes it
};

template <typename Output>
class JobHandle : public JobHandleBase {
 public:
  explicit JobHandle(std::shared_ptr<JobState> state) : JobHandleBase(std::move(state)) {}
  // Blocks until the job has ended and moves its output out; to be called once. Dropping the handle
  // without it lets the job go on.
  Result<Output> wait();
};

}  // namespace gantry::engine

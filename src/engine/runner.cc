// A job from its first to its last transaction.
#include <charconv>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/journal.h"

namespace gantry::engine {
namespace {

JobStatus status_of(const Error& error) {
  return error.kind() == ErrorKind::cancelled ? JobStatus::cancelled : JobStatus::failed;
}

}  // namespace

// The transaction of a job: pending row changes first, `body`, and after a commit the releaser is
// told.
Status Runner::write(JobContext& job, graph::Durability durability, graph::Space space,
                     const std::function<Status(graph::Transaction&)>& body) {
  JobContext::Impl& inside = *job.impl_;
  Engine::Impl& engine = *job.engine_->impl_;
  auto flush_first = [&](graph::Transaction& tx) -> Status {
    TRY(flush(job, tx));
    return body(tx);
  };
  TRY(engine.database->write(durability, space, flush_first));
  bool wake = false;
  for (const auto& change : inside.pending)
    wake |= change.what == JobContext::Impl::Pending::What::release_later;
  inside.pending.clear();
  if (wake) engine.releaser.wake();
  return {};
}

Status Runner::flush(JobContext& job, graph::Transaction& tx) {
  using What = JobContext::Impl::Pending::What;
  for (const auto& change : job.impl_->pending) {
    switch (change.what) {
      case What::erase:
        TRY(journal::erase(tx.connection(), change.row));
        break;
      case What::release_later:
        TRY(journal::set_state(tx.connection(), change.row, ResourceState::releasing));
        break;
      case What::set_data:
        TRY(journal::set_data(tx.connection(), change.row, change.data));
        break;
    }
  }
  return {};
}

Status Runner::put_row(JobContext& job, graph::Transaction& tx, JobInfo info) {
  info.resources = job.impl_->names;
  return journal::put(tx.connection(), info);
}

std::string lease_key(JobId id) { return fmt::format("job:{}", id); }

JobId job_of_lease(std::string_view key) {
  JobId id = 0;
  if (!key.starts_with("job:")) return 0;
  auto [end, error] = std::from_chars(key.data() + 4, key.data() + key.size(), id);
  return error == std::errc() && end == key.data() + key.size() ? id : 0;
}

Status expire_leases(const graph::Graph& graph, graph::Transaction& tx,
                     const std::function<bool(JobId)>& active) {
  std::vector<graph::Node> leases = TRY(graph.read(tx).list(graph::NodeKind::lease));
  for (const graph::Node& lease : leases) {
    JobId job = job_of_lease(lease.key);
    if (job != 0 && !active(job)) TRY(graph.remove(tx, lease.id));
  }
  return {};
}

Status Runner::drop_lease(JobContext& job, graph::Transaction& tx) {
  if (!job.impl_->leased) return {};
  const graph::Graph& graph = job.engine_->impl_->graph;
  Result<graph::Node> lease = graph.read(tx).get(graph::NodeKind::lease, lease_key(job.id()));
  if (!lease)
    return lease.error().kind() == ErrorKind::not_found ? Status()
                                                        : Status(std::move(lease).error());
  return graph.remove(tx, lease->id);
}

// Once in a while, in a transaction that is made anyway.
Status Runner::trim(const Engine::Impl& engine, JobId id, graph::Transaction& tx) {
  return id % 64 == 0 ? engine.trim_journal(tx, id) : Status();
}

// Releases at once, or notes that the releaser is to. Never fails: what cannot be released now is
// left to the releaser, which tries again.
void Runner::give_back(JobContext& job, const Resource& resource, int64_t row, Whose whose) {
  using Pending = JobContext::Impl::Pending;
  Engine::Impl& engine = *job.engine_->impl_;
  const ResourceKind* kind = engine.resources.find_kind(resource.kind);
  bool later = kind && kind->mode == Release::deferred;
  bool undone = later && whose == Whose::held;
  if (!later) {
    Status released = release_resource(engine.resources, resource);
    later = !released;
    if (!released) log::warn("{}; it is tried again", released.error().message());
  }
  job.impl_->pending.push_back(
      {later ? Pending::What::release_later : Pending::What::erase, row, {}, undone});
}

Result<std::shared_ptr<void>> Runner::call(JobContext& job) {
  JobState& state = *job.state_;
  TRY(state.cancel->check());
  if (state.type->options.journaling == Journaling::at_start) {
    TRY(failpoint("engine.journal"));
    TRY(write(job, graph::Durability::normal, Engine::Impl::space_of(state.type->options),
              [&](graph::Transaction& tx) { return put_row(job, tx, state.info()); }));
    job.impl_->journaled = true;
  }
  try {
    return state.type->handler(job, std::move(state.input));
  } catch (const std::exception& e) {
    return internal("job {}: {}", state.type->name, e.what());
  }
}

Status Runner::commit(JobContext& job) {
  JobContext::Impl& inside = *job.impl_;
  JobState& state = *job.state_;
  Engine::Impl& engine = *job.engine_->impl_;
  // What belongs to the job alone ends with it.
  for (size_t i = inside.taken.size(); i-- > 0;) {
    if (!inside.taken[i].resource.owner.empty()) continue;
    JobContext::Impl::Taken own = std::move(inside.taken[i]);
    inside.taken.erase(inside.taken.begin() + static_cast<ptrdiff_t>(i));
    give_back(job, own.resource, own.row, Whose::own);
  }
  JobInfo done = state.info();
  done.status = JobStatus::done;
  done.finished_at = now_ns();
  done.progress = nullptr;
  const JobOptions& options = state.type->options;
  auto close = [&](graph::Transaction& tx) -> Status {
    for (const auto& taken : inside.taken)
      TRY(journal::set_state(tx.connection(), taken.row, ResourceState::held));
    for (const auto& function : inside.commit_functions) TRY(function(tx));
    TRY(drop_lease(job, tx));
    TRY(put_row(job, tx, done));
    return trim(engine, state.id, tx);
  };
  // A job that has changed nothing (an image that is up to date) has nothing to lose.
  const bool changed =
      !inside.commit_functions.empty() || !inside.taken.empty() || !inside.pending.empty();
  const graph::Durability durability = changed ? options.durability : graph::Durability::normal;
  TRY(failpoint("engine.commit"));
  TRY(write(job, durability, Engine::Impl::space_of(options), close));
  (void)failpoint("engine.committed");
  inside.taken.clear();
  for (const ResourceRow& row : std::exchange(inside.leaving, {}))
    log::ignored("giving back " + row.kind + " " + row.name, engine.releaser.finish(row));
  done.resources = inside.names;
  state.update([&](JobInfo& info) { info = std::move(done); });
  return {};
}

void Runner::roll_back(JobContext& job, const Error& error) {
  JobContext::Impl& inside = *job.impl_;
  JobState& state = *job.state_;
  (void)failpoint("engine.rollback");
  std::erase_if(inside.pending, [](const auto& change) { return change.undone_by_failure; });
  for (; !inside.taken.empty(); inside.taken.pop_back())
    give_back(job, inside.taken.back().resource, inside.taken.back().row, Whose::own);
  JobInfo failed = state.info();
  failed.status = status_of(error);
  failed.finished_at = now_ns();
  failed.error = error.message();
  failed.progress = nullptr;
  auto close = [&](graph::Transaction& tx) -> Status {
    TRY(drop_lease(job, tx));
    TRY(put_row(job, tx, failed));
    return trim(*job.engine_->impl_, state.id, tx);
  };
  Status closed = failpoint("engine.rolled_back");
  if (closed) closed = write(job, graph::Durability::normal, graph::Space::reserve, close);
  failed.resources = inside.names;
  state.update([&](JobInfo& info) { info = std::move(failed); });
  if (!closed) {
    // Its rows still say what may exist; the releaser settles them as after a crash.
    log::warn("closing job {} {}: {}", state.id, state.type->name, closed.error().message());
    state.unsettled = true;
  }
  inside.after_functions.clear();  // with the locks still held: they may own what is to be undone
}

Result<std::shared_ptr<void>> Runner::execute(JobContext& job) {
  JobState& state = *job.state_;
  FailpointScope scope(state.type->name);
  state.update([&](JobInfo& info) {
    info.status = JobStatus::running;
    info.started_at = now_ns();
    if (state.digest && state.input) info.input_digest = state.digest(state.input.get());
  });
  job.engine_->impl_->emit(state.info());
  Result<std::shared_ptr<void>> result = call(job);
  if (result) {
    Status committed = commit(job);
    if (committed) {
      for (const auto& function : job.impl_->after_functions) function();
      return result;
    }
    result = std::move(committed).error();
  }
  roll_back(job, result.error());
  return result;
}

}  // namespace gantry::engine

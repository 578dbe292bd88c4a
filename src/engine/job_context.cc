// What a handler may ask for.
#include <algorithm>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/journal.h"
#include "engine/leave.h"
#include "graph/transaction_guard.h"

namespace gantry::engine {
namespace {

// A lock asked for against the rules is a mistake in a handler, which could become a deadlock:
// builds that check themselves (with failpoints, or sanitized) end here, others fail the job.
Error broken_lock_rule(const JobInfo& job, std::string rule) {
#ifdef GANTRY_FAILPOINTS
  fmt::print(stderr, "job {} {}: {}\n", job.id, job.name, rule);
  ::abort();
#else
  return internal("{} {}: {}", job.name, job.id, rule);
#endif
}

}  // namespace

JobContext::JobContext(Engine& engine, JobState& state, JobContext* parent)
    : engine_(&engine), state_(&state), parent_(parent), impl_(std::make_unique<Impl>()) {}

JobContext::~JobContext() {
  // Locks go in reverse order of taking.
  while (!impl_->locks.empty()) impl_->locks.pop_back();
}

JobId JobContext::id() const { return state_->id; }
const Caller& JobContext::caller() const { return state_->caller; }
std::optional<std::chrono::steady_clock::time_point> JobContext::deadline() const {
  return state_->deadline;
}
CancelSource& JobContext::cancel() { return *state_->cancel; }

bool JobContext::has_listener() const {
  return (state_->channel && !state_->channel->finished()) || engine_->impl_->watcher_count > 0;
}

void JobContext::progress(json::value event) {
  state_->update([&](JobInfo& info) { info.progress = event; });
  if (engine_->impl_->watcher_count > 0) engine_->impl_->emit(state_->info());
  if (state_->channel) state_->channel->push(std::move(event));
}

void JobContext::give_way(std::chrono::nanoseconds at_most) {
  Engine::Impl& engine = *engine_->impl_;
  std::unique_lock lock(engine.mutex);
  engine.quiet.wait_for(lock, at_most,
                        [&] { return engine.classes[JobClass::container].running == 0; });
}

Status JobContext::lock(std::vector<LockName> names) {
  // Whoever holds a lock may need a transaction to end, and there is one at a time.
  if (graph::in_transaction())
    return broken_lock_rule(state_->info(), "lock order: a lock is wanted inside a transaction");
  auto key = [](const LockName& name) { return std::pair(name.kind, std::string_view(name.name)); };
  // Exclusive before shared, so that of two requests for one name the stronger stays.
  std::sort(names.begin(), names.end(), [&](const LockName& a, const LockName& b) {
    return key(a) != key(b) ? key(a) < key(b) : a.mode < b.mode;
  });
  names.erase(std::unique(names.begin(), names.end(),
                          [&](const LockName& a, const LockName& b) { return key(a) == key(b); }),
              names.end());
  const LockName* last = nullptr;
  auto held = [&](const LockName& wanted) -> const LockName* {
    const LockName* found = nullptr;
    for (JobContext* job = this; job; job = job->parent_)
      for (const LockTable::Held& lock : job->impl_->locks) {
        if (!last || key(*last) < key(lock.name())) last = &lock.name();
        if (key(lock.name()) == key(wanted)) found = &lock.name();
      }
    return found;
  };
  for (LockName& name : names) {
    last = nullptr;
    if (const LockName* have = held(name)) {
      if (have->mode == LockMode::shared && name.mode == LockMode::exclusive)
        return broken_lock_rule(
            state_->info(),
            fmt::format("lock order: {} {} is held as shared and wanted as exclusive",
                        to_string(name.kind), name.name));
      continue;
    }
    if (last && key(name) < key(*last))
      return broken_lock_rule(state_->info(), fmt::format("lock order: {} {} is wanted after {} {}",
                                                          to_string(name.kind), name.name,
                                                          to_string(last->kind), last->name));
    impl_->locks.push_back(TRY(engine_->impl_->locks.acquire(std::move(name), cancel())));
  }
  return {};
}

Status JobContext::take(std::vector<Resource> resources,
                        const std::function<Status(graph::Transaction&)>& also) {
  Engine::Impl& engine = *engine_->impl_;
  for (const Resource& resource : resources)
    if (!engine.resources.find_kind(resource.kind))
      return internal("resource kind {} is not registered", resource.kind);
  TRY(check());
  if (state_->type->options.job_class != JobClass::control) engine.releaser.wait_for_room();
  std::vector<int64_t> ids;
  std::vector<ResourceRow> leaving;
  std::optional<Engine::Impl::Active> active;  // known only when it matters
  bool ask_for_active = false;
  auto intend = [&](graph::Transaction& tx) -> Status {
    ids.clear();
    leaving.clear();
    if (!impl_->journaled) TRY(Runner::put_row(*this, tx, state_->info()));
    for (const Resource& resource : resources) {
      ResourceRow row;
      static_cast<Resource&>(row) = resource;
      row.job = id();
      row.boot_id = engine.boot_id;
      row.created_at = now_ns();
      Result<int64_t> inserted = journal::intend(tx.connection(), row);
      if (inserted) {
        ids.push_back(*inserted);
        continue;
      }
      if (inserted.error().kind() != ErrorKind::conflict) return std::move(inserted).error();
      std::optional<ResourceRow> other =
          TRY(journal::find(tx.connection(), resource.kind, resource.name));
      if (!other) return std::move(inserted).error();
      bool intended = other->state == ResourceState::intended;
      ask_for_active |= intended && !active;
      // The intent of a job that was dead before this transaction began is there to be undone.
      bool dead = intended && active && !active->contains(other->job);
      if (other->state != ResourceState::releasing && !dead)
        return conflict("{} {} is in use{}{}", resource.kind, resource.name,
                        other->owner.empty() ? "" : " by ", other->owner);
      leaving.push_back(std::move(*other));
    }
    if (!leaving.empty())
      return conflict("{} {} is being released", leaving[0].kind, leaving[0].name);
    return also ? also(tx) : Status();
  };
  TRY(failpoint("engine.intend"));
  const graph::Space space = Engine::Impl::space_of(state_->type->options);
  Status written = Runner::write(*this, graph::Durability::normal, space, intend);
  if (!written && ask_for_active) {
    active = engine.active_jobs();
    written = Runner::write(*this, graph::Durability::normal, space, intend);
  }
  for (int round = 0; !written && !leaving.empty() && round < 4; ++round) {
    std::vector<ResourceRow> rows = std::move(leaving);
    leaving.clear();
    for (const ResourceRow& row : rows) TRY(engine.releaser.finish(row));
    written = Runner::write(*this, graph::Durability::normal, space, intend);
  }
  TRY(std::move(written));
  impl_->journaled = true;
  for (size_t i = 0; i < resources.size(); ++i) {
    impl_->names.push_back(resources[i].kind + " " + resources[i].name);
    impl_->taken.push_back({std::move(resources[i]), ids[i]});
  }
  return failpoint("engine.intended");
}

Status JobContext::adopt(std::vector<Resource> resources,
                         const std::function<Status(graph::Transaction&)>& also) {
  Engine::Impl& engine = *engine_->impl_;
  TRY(check());
  auto hold = [&](graph::Transaction& tx) -> Status {
    if (!impl_->journaled) TRY(Runner::put_row(*this, tx, state_->info()));
    for (const Resource& resource : resources) {
      ResourceRow row;
      static_cast<Resource&>(row) = resource;
      row.job = id();
      row.state = ResourceState::held;
      row.boot_id = engine.boot_id;
      row.created_at = now_ns();
      TRY(journal::intend(tx.connection(), row));
    }
    return also ? also(tx) : Status();
  };
  TRY(failpoint("engine.adopt"));
  TRY(Runner::write(*this, state_->type->options.durability,
                    Engine::Impl::space_of(state_->type->options), hold));
  impl_->journaled = true;
  for (const Resource& resource : resources)
    impl_->names.push_back(resource.kind + " " + resource.name);
  return failpoint("engine.adopted");
}

void JobContext::set_data(std::string_view kind, std::string_view name, std::string data) {
  for (Impl::Taken& taken : impl_->taken) {
    if (taken.resource.kind != kind || taken.resource.name != name) continue;
    taken.resource.data = data;
    impl_->pending.push_back({Impl::Pending::What::set_data, taken.row, std::move(data)});
    return;
  }
  Result<ResourceRow> row = engine_->resources().get(kind, name);
  if (row) impl_->pending.push_back({Impl::Pending::What::set_data, row->id, std::move(data)});
}

Status release_after_commit(JobContext& job, std::string_view kind, std::string_view name) {
  return Runner::release_after_commit(job, kind, name);
}

Status set_data_on_commit(JobContext& job, std::string_view kind, std::string_view name,
                          std::string data) {
  return Runner::set_data_on_commit(job, kind, name, std::move(data));
}

Status Runner::release_after_commit(JobContext& job, std::string_view kind, std::string_view name) {
  auto row = job.engine_->resources().get(kind, name);
  if (!row)
    return row.error().kind() == ErrorKind::not_found ? Status() : Status(std::move(row).error());
  if (row->state == ResourceState::releasing) return {};
  using Pending = JobContext::Impl::Pending;
  job.impl_->pending.push_back({Pending::What::release_later, row->id, {}, true});
  job.impl_->leaving.push_back(std::move(*row));
  return {};
}

Status Runner::set_data_on_commit(JobContext& job, std::string_view kind, std::string_view name,
                                  std::string data) {
  const ResourceRow row = TRY(job.engine_->resources().get(kind, name));
  job.impl_->pending.push_back(
      {JobContext::Impl::Pending::What::set_data, row.id, std::move(data), true});
  return {};
}

Status JobContext::release(std::string_view kind, std::string_view name) {
  for (size_t i = impl_->taken.size(); i-- > 0;) {
    if (impl_->taken[i].resource.kind != kind || impl_->taken[i].resource.name != name) continue;
    Impl::Taken taken = std::move(impl_->taken[i]);
    impl_->taken.erase(impl_->taken.begin() + static_cast<ptrdiff_t>(i));
    Runner::give_back(*this, taken.resource, taken.row, Runner::Whose::own);
    return {};
  }
  Result<ResourceRow> row = engine_->resources().get(kind, name);
  if (!row)
    return row.error().kind() == ErrorKind::not_found ? Status() : Status(std::move(row).error());
  if (row->state == ResourceState::releasing) return {};
  for (const Impl::Pending& change : impl_->pending)
    if (change.row == row->id && change.what != Impl::Pending::What::set_data) return {};
  Runner::give_back(*this, *row, row->id, Runner::Whose::held);
  return {};
}

Status JobContext::release_owned(std::string_view owner,
                                 const std::vector<std::string_view>& kinds) {
  std::vector<ResourceRow> rows;
  {
    graph::Snapshot snapshot = TRY(engine_->database().read());
    rows = TRY(journal::by_owner(snapshot.connection(), owner, journal::Order::releasing));
  }
  for (const ResourceRow& row : rows) {
    if (!kinds.empty() && std::find(kinds.begin(), kinds.end(), row.kind) == kinds.end()) continue;
    if (row.state == ResourceState::releasing) continue;
    auto same = [&](const Impl::Taken& taken) { return taken.row == row.id; };
    auto own = std::find_if(impl_->taken.begin(), impl_->taken.end(), same);
    // Another running job's intent is its own affair (it holds no lock on this owner then).
    if (row.state == ResourceState::intended && own == impl_->taken.end()) continue;
    bool already =
        std::any_of(impl_->pending.begin(), impl_->pending.end(), [&](const auto& change) {
          return change.row == row.id && change.what != Impl::Pending::What::set_data;
        });
    if (already) continue;
    Resource resource =
        own != impl_->taken.end() ? own->resource : static_cast<const Resource&>(row);
    Runner::Whose whose = own != impl_->taken.end() ? Runner::Whose::own : Runner::Whose::held;
    if (own != impl_->taken.end()) impl_->taken.erase(own);
    Runner::give_back(*this, resource, row.id, whose);
  }
  return {};
}

void JobContext::on_commit(std::function<Status(graph::Transaction&)> fn) {
  impl_->commit_functions.push_back(std::move(fn));
}

void JobContext::after_commit(std::function<void()> fn) {
  impl_->after_functions.push_back(std::move(fn));
}

Status JobContext::commit_now(const std::function<Status(graph::Transaction&)>& also) {
  const JobOptions& options = state_->type->options;
  auto settle = [&](graph::Transaction& tx) -> Status {
    if (!impl_->journaled) TRY(Runner::put_row(*this, tx, state_->info()));
    for (const Impl::Taken& taken : impl_->taken)
      if (!taken.resource.owner.empty())
        TRY(journal::set_state(tx.connection(), taken.row, ResourceState::held));
    for (const auto& function : impl_->commit_functions) TRY(function(tx));
    return also ? also(tx) : Status();
  };
  TRY(failpoint("engine.commit_now"));
  TRY(Runner::write(*this, options.durability, Engine::Impl::space_of(options), settle));
  impl_->journaled = true;
  impl_->commit_functions.clear();
  std::erase_if(impl_->taken,
                [](const Impl::Taken& taken) { return !taken.resource.owner.empty(); });
  return {};
}

Status JobContext::lease(graph::Transaction& tx, graph::NodeId node) {
  graph::Graph& graph = engine_->graph();
  graph::NodeId lease =
      TRY(graph.put(tx, {.kind = graph::NodeKind::lease, .key = lease_key(id()), .data = {}}));
  TRY(graph.link(tx, lease, graph::EdgeKind::uses, node));
  impl_->leased = true;
  return {};
}

}  // namespace gantry::engine

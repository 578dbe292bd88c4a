#include "engine/engine.h"

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/journal.h"

namespace gantry::engine {

Engine::Engine() = default;

Result<std::unique_ptr<Engine>> Engine::create(graph::Database& database, EngineOptions options) {
  std::unique_ptr<Engine> engine(new Engine);
  engine->impl_ = std::make_unique<Impl>(engine.get(), database, std::move(options));
  Impl& impl = *engine->impl_;
  impl.boot_id = TRY(boot_id());
  {
    graph::Snapshot snapshot = TRY(database.read());
    impl.next_id = TRY(journal::highest_id(snapshot.connection())) + 1;
  }
  if (!impl.options.owner_exists)
    impl.options.owner_exists = [graph = &impl.graph](std::string_view owner) -> Result<bool> {
      size_t colon = owner.find(':');
      Result<graph::NodeKind> kind = graph::node_kind_from(owner.substr(0, colon));
      if (!kind || colon == std::string_view::npos) return true;
      return graph->read().contains(*kind, owner.substr(colon + 1));
    };
  impl.releaser.set_source([&impl]() -> Status {
    if (!impl.unsettled.exchange(false)) return {};
    Status settled = impl.settle(impl.active_jobs());
    if (!settled) impl.unsettled = true;
    return settled;
  });
  return engine;
}

Engine::~Engine() {
  if (impl_) shutdown(std::chrono::milliseconds(0));
}

graph::Database& Engine::database() { return *impl_->database; }
graph::Graph& Engine::graph() { return impl_->graph; }
Resources& Engine::resources() { return impl_->resources; }

void Engine::add_type(JobType type) {
  std::lock_guard lock(impl_->mutex);
  std::string name = type.name;
  impl_->types.insert_or_assign(std::move(name), std::make_shared<const JobType>(std::move(type)));
}

std::vector<std::string> Engine::job_names() const {
  std::lock_guard lock(impl_->mutex);
  std::vector<std::string> names;
  for (const auto& [name, type] : impl_->types) names.push_back(name);
  return names;
}

std::shared_ptr<JobState> Engine::Impl::make_state(std::shared_ptr<const JobType> type,
                                                   std::shared_ptr<void> input,
                                                   DigestFunction digest, Caller caller,
                                                   std::shared_ptr<CancelSource> cancel,
                                                   JobId parent) {
  auto state = std::make_shared<JobState>();
  state->engine = self;
  state->type = std::move(type);
  state->input = std::move(input);
  state->digest = digest;
  state->caller = std::move(caller);
  state->cancel = std::move(cancel);
  std::lock_guard lock(mutex);
  state->id = next_id++;
  state->update([&](JobInfo& info) {
    info.id = state->id;
    info.name = state->type->name;
    info.job_class = state->type->options.job_class;
    info.parent = parent;
    info.caller = state->caller;
    info.queued_at = now_ns();
  });
  active.emplace(state->id, state);
  return state;
}

std::shared_ptr<JobState> Engine::submit_erased(std::string_view name, std::shared_ptr<void> input,
                                                DigestFunction digest, SubmitOptions options) {
  std::shared_ptr<const JobType> type;
  bool stopping = false;
  {
    std::lock_guard lock(impl_->mutex);
    auto found = impl_->types.find(name);
    if (found != impl_->types.end()) type = found->second;
    stopping = impl_->stopping;
  }
  if (!type || stopping) {
    auto refused = std::make_shared<JobState>();
    refused->cancel = std::make_shared<CancelSource>();
    if (!type)
      refused->finish(internal("no handler for job {}", name));
    else
      refused->finish(Error(ErrorKind::unavailable, "the daemon is shutting down"));
    return refused;
  }
  std::shared_ptr<JobState> state =
      impl_->make_state(type, std::move(input), digest, std::move(options.caller),
                        std::make_shared<CancelSource>(), 0);
  state->deadline = options.deadline;
  if (options.want_progress) {
    state->channel = std::make_shared<Channel<json::value>>();
    // A push that waits for the listener must not outwait a cancellation.
    state->registrations.push_back(
        state->cancel->on_cancel([channel = state->channel] { channel->close(); }));
  }
  if (state->deadline) impl_->deadlines.add(*state->deadline, state->cancel);
  Status admitted = impl_->admit(state);
  if (!admitted) {
    impl_->ended(state);
    if (state->channel) state->channel->close();
    state->finish(std::move(admitted).error());
  }
  return state;
}

bool Engine::Impl::has_room(JobClass job_class) const {
  if (job_class == JobClass::control) return true;
  auto limit = options.concurrency.find(job_class);
  if (limit == options.concurrency.end() || limit->second == 0) return true;
  auto running = classes.find(job_class);
  return running == classes.end() || running->second.running < limit->second;
}

Status Engine::Impl::admit(const std::shared_ptr<JobState>& state) {
  JobClass job_class = state->type->options.job_class;
  {
    std::lock_guard lock(mutex);
    ClassState& own = classes[job_class];
    if (!has_room(job_class)) {
      if (own.queue.size() >= options.queue_limit)
        return Error(
            ErrorKind::unavailable,
            fmt::format("too many {} jobs are waiting; try again later", to_string(job_class)));
      own.queue.push_back(state);
    } else {
      ++own.running;
      state->counted = true;
    }
  }
  if (state->counted) return threads.run([this, state] { run(state); });
  emit(state->info());
  // The raw pointer is safe: the registration is the state's own and waits for its call.
  CancelSource::Registration waiting =
      state->cancel->on_cancel([this, raw = state.get()] { leave_queue(raw); });
  state->update([&](JobInfo&) { state->registrations.push_back(std::move(waiting)); });
  return {};
}

// A cancelled job does not wait for its turn to say so.
void Engine::Impl::leave_queue(JobState* wanted) {
  std::shared_ptr<JobState> state;
  {
    std::lock_guard lock(mutex);
    auto& queue = classes[wanted->type->options.job_class].queue;
    auto at = std::find_if(queue.begin(), queue.end(),
                           [&](const auto& item) { return item.get() == wanted; });
    if (at == queue.end()) return;
    state = *at;
    queue.erase(at);
  }
  if (threads.run([this, state] { run(state); })) return;
  ended(state);
  state->finish(state->cancel->check().error());
}

void Engine::Impl::run(std::shared_ptr<JobState> state) {
  while (state) {
    Result<std::shared_ptr<void>> result = internal("not run");
    {
      JobContext context(*state->engine, *state, nullptr);
      result = Runner::execute(context);
    }
    std::shared_ptr<JobState> next = ended(state);
    if (state->channel) state->channel->close();
    state->finish(std::move(result));
    state = std::move(next);  // on this thread, which needs no new one
  }
}

// Takes the job out of the running ones; gives the next of its class that may run now.
std::shared_ptr<JobState> Engine::Impl::ended(const std::shared_ptr<JobState>& state) {
  std::shared_ptr<JobState> next;
  {
    std::lock_guard lock(mutex);
    active.erase(state->id);
    if (state->counted) {
      JobClass job_class = state->type->options.job_class;
      ClassState& own = classes[job_class];
      --own.running;
      if (!own.queue.empty() && has_room(job_class)) {
        next = std::move(own.queue.front());
        own.queue.pop_front();
        next->counted = true;
        ++own.running;
      }
      if (job_class == JobClass::container && own.running == 0) quiet.notify_all();
    }
    if (active.empty()) idle.notify_all();
  }
  // Only now: what settles it leaves the rows of active jobs alone.
  if (state->unsettled) unsettled = true;
  if (unsettled) releaser.wake();
  emit(state->info());
  return next;
}

Result<std::shared_ptr<void>> Engine::run_child(JobContext& parent, std::string_view name,
                                                std::shared_ptr<void> input,
                                                DigestFunction digest) {
  std::shared_ptr<const JobType> type;
  {
    std::lock_guard lock(impl_->mutex);
    auto found = impl_->types.find(name);
    if (found == impl_->types.end()) return internal("no handler for job {}", name);
    type = found->second;
  }
  std::shared_ptr<JobState> state = impl_->make_state(
      type, std::move(input), digest, parent.caller(), parent.state_->cancel, parent.id());
  state->deadline = parent.state_->deadline;
  state->channel = parent.state_->channel;
  Result<std::shared_ptr<void>> result = internal("not run");
  {
    JobContext context(*this, *state, &parent);
    result = Runner::execute(context);
  }
  impl_->ended(state);
  return result;
}

Engine::Impl::Active Engine::Impl::active_jobs() {
  std::lock_guard lock(mutex);
  Active result;
  for (const auto& [id, state] : active) result.ids.insert(id);
  result.next = next_id;
  return result;
}

void Engine::shutdown(std::chrono::milliseconds grace, std::chrono::milliseconds drain) {
  std::unique_lock lock(impl_->mutex);
  impl_->stopping = true;
  if (!impl_->idle.wait_for(lock, grace, [&] { return impl_->active.empty(); })) {
    std::vector<std::shared_ptr<JobState>> running;
    for (const auto& [id, state] : impl_->active) running.push_back(state);
    lock.unlock();
    for (const auto& state : running) state->cancel->cancel(CancelReason::shutdown);
    running.clear();
    lock.lock();
    impl_->idle.wait(lock, [&] { return impl_->active.empty(); });
  }
  lock.unlock();
  if (drain.count() > 0 && !impl_->releaser.drain(drain))
    log::warn("something is still being given back; the next start goes on with it");
  impl_->releaser.stop();
}

}  // namespace gantry::engine

// What is known about jobs: the running ones, the journal, subscriptions.
#include <algorithm>

#include "engine/engine_impl.h"
#include "engine/journal.h"

namespace gantry::engine {

bool JobFilter::matches(const JobInfo& job) const {
  auto named = [&](const std::string& name) {
    return job.name == name || (job.name.starts_with(name) && job.name[name.size()] == '.');
  };
  return (names.empty() || std::any_of(names.begin(), names.end(), named)) &&
         (statuses.empty() ||
          std::find(statuses.begin(), statuses.end(), job.status) != statuses.end());
}

Result<std::vector<JobInfo>> Engine::list(size_t limit, const JobFilter& filter) const {
  std::vector<std::shared_ptr<JobState>> states;
  {
    std::lock_guard lock(impl_->mutex);
    for (const auto& [id, state] : impl_->active) states.push_back(state);
  }
  std::map<JobId, JobInfo, std::greater<>> by_id;
  {
    graph::Snapshot snapshot = TRY(impl_->database->read());
    // A row that says `running` is of a job whose state is looked at below.
    auto wanted = [&](const JobInfo& job) {
      return job.status <= JobStatus::running || filter.matches(job);
    };
    std::vector<JobInfo> rows =
        TRY(journal::newest(snapshot.connection(), limit + states.size(), wanted));
    for (JobInfo& job : rows) by_id.emplace(job.id, std::move(job));
  }
  // A job that ended between the two looks has the better row.
  for (const auto& state : states) {
    JobInfo info = state->info();
    auto [at, added] = by_id.try_emplace(info.id, info);
    if (!added && at->second.status <= JobStatus::running) at->second = std::move(info);
  }
  std::vector<JobInfo> jobs;
  for (auto& [id, info] : by_id) {
    if (jobs.size() >= limit) break;
    if (!filter.matches(info)) continue;
    jobs.push_back(std::move(info));
  }
  return jobs;
}

Result<JobInfo> Engine::inspect(JobId id) const {
  {
    std::unique_lock lock(impl_->mutex);
    auto found = impl_->active.find(id);
    if (found != impl_->active.end()) {
      std::shared_ptr<JobState> state = found->second;
      lock.unlock();
      return state->info();
    }
  }
  graph::Snapshot snapshot = TRY(impl_->database->read());
  std::optional<JobInfo> row = TRY(journal::get(snapshot.connection(), id));
  if (!row) return not_found("no such job: {}", id);
  return std::move(*row);
}

Status Engine::cancel(JobId id) {
  std::shared_ptr<JobState> state;
  {
    std::lock_guard lock(impl_->mutex);
    auto found = impl_->active.find(id);
    if (found != impl_->active.end()) state = found->second;
  }
  if (!state) {
    TRY(inspect(id));
    return conflict("job {} has ended", id);
  }
  state->cancel->cancel();
  return {};
}

JobWatch Engine::watch(JobId id) {
  auto channel = std::make_shared<Channel<JobInfo>>(256);
  {
    std::lock_guard lock(impl_->watch_mutex);
    impl_->watchers.emplace_back(id, channel);
    impl_->watcher_count = static_cast<int>(impl_->watchers.size());
  }
  if (id != 0) {
    // It may have ended before the subscription: there would never be an event.
    std::lock_guard lock(impl_->mutex);
    if (!impl_->active.contains(id)) channel->close();
  }
  return channel;
}

void Engine::Impl::emit(const JobInfo& info) {
  if (watcher_count == 0) return;
  std::vector<std::pair<JobId, std::shared_ptr<Channel<JobInfo>>>> listening;
  {
    std::lock_guard lock(watch_mutex);
    std::erase_if(watchers, [](const auto& watcher) { return watcher.second.expired(); });
    watcher_count = static_cast<int>(watchers.size());
    for (const auto& [id, weak] : watchers)
      if (id == 0 || id == info.id)
        if (auto channel = weak.lock()) listening.emplace_back(id, std::move(channel));
  }
  for (const auto& [id, channel] : listening) {
    channel->try_push(info);
    if (id != 0 && info.status > JobStatus::running) channel->close();
  }
}

EngineStats Engine::stats() const {
  EngineStats stats;
  {
    std::lock_guard lock(impl_->mutex);
    for (const auto& [job_class, own] : impl_->classes) {
      stats.running += own.running;
      stats.queued += static_cast<int64_t>(own.queue.size());
    }
  }
  stats.threads = impl_->threads.count();
  if (auto snapshot = impl_->database->read()) {
    auto rows =
        journal::by_state(snapshot->connection(), ResourceState::releasing, journal::Order::taking);
    if (rows) stats.releasing = static_cast<int64_t>(rows->size());
  }
  return stats;
}

Status Engine::release_owned(graph::Transaction& tx, std::string_view owner) {
  std::vector<ResourceRow> rows =
      TRY(journal::by_owner(tx.connection(), owner, journal::Order::releasing));
  for (const ResourceRow& row : rows)
    TRY(journal::move_state(tx.connection(), row.id, ResourceState::held,
                            ResourceState::releasing));
  return {};
}

void Engine::wake_releaser() { impl_->releaser.wake(); }

bool Engine::drain_releases(std::chrono::milliseconds timeout) {
  return impl_->releaser.drain(timeout);
}

}  // namespace gantry::engine

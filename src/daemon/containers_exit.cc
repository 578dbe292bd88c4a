#include <algorithm>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "base/log.h"
#include "daemon/containers_impl.h"
#include "daemon/name_service.h"

namespace gantry::daemon {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

// Docker's back-off: 100 ms, doubled at every restart up to a minute; a run of ten seconds starts
// it over.
int64_t restart_delay(const ContainerState& state) {
  int64_t delay = kSecond / 10;
  for (int i = 1; i < state.restart_count && delay < 60 * kSecond; ++i) delay *= 2;
  return std::min(delay, 60 * kSecond);
}

}  // namespace

bool Containers::Impl::should_restart(const ContainerRecord& record) {
  const api::RestartPolicy& policy = record.host_config.restart_policy;
  if (record.state.manually_stopped) return false;
  if (policy.Name == "always" || policy.Name == "unless-stopped") return true;
  if (policy.Name != "on-failure" || record.state.exit_code == 0) return false;
  return policy.MaximumRetryCount == 0 || record.state.restart_count < policy.MaximumRetryCount;
}

void Containers::Impl::watch(const std::shared_ptr<Container>& container, const std::string& run,
                             const std::shared_ptr<drivers::Instance>& instance) {
  std::weak_ptr<Container> weak = container;
  instance->set_listener([this, weak, run](const drivers::Notice& notice) {
    std::shared_ptr<Container> alive = weak.lock();
    if (!alive) return;
    switch (notice.type) {
      case drivers::Notice::Type::exited: {
        ContainerExit::Input input{alive->id(),
                                   run,
                                   notice.status.code,
                                   notice.status.oom,
                                   notice.status.finished_at,
                                   notice.status.reason};
        record_end(std::move(input));
        break;
      }
      case drivers::Notice::Type::exec_exited:
        exec_exited(notice.exec_id, notice.status.code);
        break;
      case drivers::Notice::Type::oom:
        publish_event(*alive->record(), "oom");
        break;
      case drivers::Notice::Type::detached:
        publish_event(*alive->record(), notice.exec_id.empty() ? "detach" : "exec_detach",
                      notice.exec_id.empty()
                          ? std::map<std::string, std::string>{}
                          : std::map<std::string, std::string>{{"execID", notice.exec_id}});
        break;
    }
  });
}

Result<Nothing> Containers::Impl::exited(engine::JobContext& job,
                                         const ContainerExit::Input& input) {
  std::shared_ptr<Container> container = table.by_id(input.container);
  if (!container) return Nothing{};
  TRY(job.lock({{engine::LockKind::container, container->id()}}));
  ContainerRecord record = *container->record();
  if (record.state.run != input.run || !record.running()) return Nothing{};

  ContainerState& state = record.state;
  int64_t ran_for = input.finished_at - state.started_at;
  state.status = "exited";
  state.pid = 0;
  state.exit_code = input.exit_code;
  state.oom_killed = input.oom_killed;
  state.error = input.reason;
  state.finished_at = input.finished_at != 0 ? input.finished_at : now_ns();
  if (state.health) state.health->status = "unhealthy";  // as Docker has it
  ContainerRecord before = record;                       // with its addresses, for disconnected()
  record.ports.clear();
  record.sandbox_id.clear();
  record.sandbox_key.clear();
  if (ran_for > 10 * kSecond) state.restart_count = 0;
  bool restart = should_restart(record);
  if (restart) {
    state.status = "restarting";
    ++state.restart_count;
  }

  TRY(failpoint("container.exited"));
  bool remove = record.host_config.AutoRemove && !restart && !state.start_follows;
  if (remove) {
    TRY(remove_locked(job, container, true));
  } else {
    TRY(job.release_owned(owner_of(record.id), kRunKinds));
    job.on_commit([this, record](graph::Transaction& tx) { return store(tx, record); });
  }
  job.after_commit([this, container, record, before, restart, remove] {
    container->new_check_generation();
    container->publish(record);
    container->set_instance(nullptr);
    daemon.names().end(record.id);
    daemon.networks().disconnected(before);
    publish_event(
        record, "die",
        {{"exitCode", std::to_string(record.state.exit_code)},
         {"execDuration",
          std::to_string((record.state.finished_at - record.state.started_at) / kSecond)}});
    daemon.networks().publish_events("disconnect", before);
    if (remove) {
      publish_event(record, "destroy");
      table.remove(record.id);
    }
    container->wake_waiters(remove, {record.state.exit_code, {}});
    if (restart) schedule_restart(record.id, record.state.run, restart_delay(record.state));
  });
  return Nothing{};
}

void Containers::Impl::schedule_restart(const std::string& id, const std::string& run,
                                        int64_t delay_ns) {
  timer->schedule(delay_ns, [this, id, run] {
    (void)daemon.engine().submit<ContainerStart>({id, run}, {.caller = {.name = "gantryd"}});
  });
}

void Containers::Impl::record_end(ContainerExit::Input input, int64_t retry_ns) {
  auto job = daemon.engine().submit<ContainerExit>(input, {.caller = {.name = "gantryd"}});
  // The job may end when this object has gone; the timer, which calls it, is stopped before.
  job->on_done([this, clock = timer, job, input = std::move(input), retry_ns] {
    Result<Nothing> recorded = job->wait();
    if (recorded) return;
    log::warn("container {}: its end is recorded later: {}", short_id(input.container),
              recorded.error().message());
    clock->schedule(retry_ns, [this, input, retry_ns] {
      record_end(input, std::min(2 * retry_ns, 16 * kSecond));
    });
  });
}

void Timer::schedule(int64_t delay_ns, std::function<void()> call) {
  std::lock_guard lock(mutex_);
  if (stopping_) return;
  due_.emplace(monotonic_ns() + delay_ns, std::move(call));
  changed_.notify_one();
}

void Timer::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void Timer::loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (due_.empty()) {
      changed_.wait(lock);
      continue;
    }
    int64_t left = due_.begin()->first - monotonic_ns();
    if (left > 0) {
      changed_.wait_for(lock, std::chrono::nanoseconds(left));
      continue;
    }
    std::function<void()> call = std::move(due_.begin()->second);
    due_.erase(due_.begin());
    lock.unlock();
    call();
    lock.lock();
  }
}

}  // namespace gantry::daemon

#include "engine/releaser.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <system_error>

#include "base/failpoint.h"
#include "base/log.h"
#include "engine/journal.h"

namespace gantry::engine {
namespace {

constexpr int kMostDoublings = 64;
constexpr size_t kMostBehind = 256;
constexpr size_t kAtOnce = 32;  // forgotten in one transaction
constexpr size_t kFew = 8;
constexpr std::chrono::seconds kWaitForRoom{2};

bool of_network(const ResourceRow& row) { return row.kind.starts_with("net."); }

}  // namespace

Status release_resource(const Resources& resources, const Resource& resource) {
  const ResourceKind* kind = resources.find_kind(resource.kind);
  if (!kind) return internal("releasing {} {}: unknown kind", resource.kind, resource.name);
#ifdef GANTRY_FAILPOINTS
  TRY(failpoint("resource.release." + resource.kind));
#endif
  try {
    TRY(kind->release(resource).context("releasing {} {}", resource.kind, resource.name));
  } catch (const std::exception& e) {
    return internal("releasing {} {}: {}", resource.kind, resource.name, e.what());
  }
#ifdef GANTRY_FAILPOINTS
  TRY(failpoint("resource.released." + resource.kind));
#endif
  return {};
}

Releaser::Releaser(graph::Database& database, Resources& resources, std::chrono::milliseconds retry)
    : database_(&database), resources_(&resources), retry_(retry) {}

Releaser::~Releaser() { stop(); }

void Releaser::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Releaser::wake() {
  std::lock_guard lock(mutex_);
  if (stopping_) return;
  wanted_ = true;
  if (!thread_.joinable()) {
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { loop(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  changed_.notify_all();
}

void Releaser::retry_now() {
  {
    std::lock_guard lock(mutex_);
    failures_.clear();
    source_retry_ = {};
  }
  wake();
}

bool Releaser::has_failed(int64_t row) {
  std::lock_guard lock(mutex_);
  return failures_.contains(row);
}

bool Releaser::claim(int64_t id, bool wait) {
  std::unique_lock lock(mutex_);
  if (wait) changed_.wait(lock, [&] { return !claimed_.contains(id); });
  return claimed_.insert(id).second;
}

bool Releaser::was_finished(int64_t id) {
  std::lock_guard lock(mutex_);
  return finished_.contains(id);
}

void Releaser::unclaim(int64_t id) {
  {
    std::lock_guard lock(mutex_);
    claimed_.erase(id);
  }
  changed_.notify_all();
}

void Releaser::note_failure(int64_t id) {
  std::lock_guard lock(mutex_);
  auto [at, first] = failures_.try_emplace(id, Failure{{}, retry_});
  if (!first) at->second.delay = std::min(at->second.delay * 2, retry_ * kMostDoublings);
  at->second.next = Clock::now() + at->second.delay;
}

Result<bool> Releaser::still_there(const ResourceRow& row) {
  graph::Snapshot snapshot = TRY(database_->read());
  std::optional<ResourceRow> now = TRY(journal::find(snapshot.connection(), row.kind, row.name));
  return now && now->id == row.id;
}

Status Releaser::finish(const ResourceRow& row) {
  claim(row.id, true);
  // Whoever held the claim may have released it, and the name may be somebody else's by now.
  Result<bool> there = still_there(row);
  if (!there || !*there) {
    unclaim(row.id);
    return there ? Status() : Status(std::move(there).error());
  }
  Status status = release_resource(*resources_, row);
  if (status)
    status = database_->write(
        graph::Durability::normal, graph::Space::reserve,
        [&](graph::Transaction& tx) { return journal::erase(tx.connection(), row.id); });
  if (status) {
    std::lock_guard lock(mutex_);
    finished_.insert(row.id);
  }
  unclaim(row.id);
  return status;
}

Result<std::vector<ResourceRow>> Releaser::due() {
  if (source_) TRY(source_());
  {
    std::lock_guard lock(mutex_);
    finished_.clear();  // what was finished before now is not in the list below
  }
  graph::Snapshot snapshot = TRY(database_->read());
  std::vector<ResourceRow> rows = TRY(journal::by_state(
      snapshot.connection(), ResourceState::releasing, journal::Order::releasing));
  std::lock_guard lock(mutex_);
  // Rows that somebody else finished take their failures with them.
  std::set<int64_t> ids;
  for (const ResourceRow& row : rows) ids.insert(row.id);
  std::erase_if(failures_, [&](const auto& entry) { return !ids.contains(entry.first); });
  Clock::time_point now = Clock::now();
  std::erase_if(rows, [&](const ResourceRow& row) {
    auto failure = failures_.find(row.id);
    return failure != failures_.end() && failure->second.next > now;
  });
  return rows;
}

// What waits for the kernel's network (an RCU grace period for each link) and what waits for disk
// and cgroups do not wait for one another; the order within an owner is kept in both. Bridges come
// first: as long as they are there their subnets are taken.
void Releaser::work(std::vector<ResourceRow> rows) {
  {
    std::lock_guard lock(mutex_);
    behind_ = rows.size();
  }
  const auto rest = std::stable_partition(rows.begin(), rows.end(), of_network);
  std::vector<ResourceRow> others(std::make_move_iterator(rest),
                                  std::make_move_iterator(rows.end()));
  rows.erase(rest, rows.end());
  std::stable_partition(rows.begin(), rows.end(),
                        [](const ResourceRow& row) { return row.kind == "net.bridge"; });
  std::thread beside;
  std::vector<int64_t> done, done_beside;
  if (!rows.empty() && !others.empty()) {
    try {
      beside = std::thread([&] {
        ::pthread_setname_np(::pthread_self(), "releaser-net");
        FailpointScope scope("releaser");
        done_beside = work_through(rows);
      });
    } catch (const std::system_error&) {  // no thread to be had: one after the other
    }
  }
  done = work_through(others);
  if (beside.joinable())
    beside.join();
  else
    done_beside = work_through(rows);
  done.insert(done.end(), done_beside.begin(), done_beside.end());
  forget(std::move(done));
  {
    std::lock_guard lock(mutex_);
    behind_ = 0;
  }
  changed_.notify_all();
}

void Releaser::wait_for_room() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kWaitForRoom, [&] { return stopping_ || behind_ <= kMostBehind; });
}

void Releaser::forget(std::vector<int64_t> done) {
  if (done.empty()) return;
  auto erase = [&](graph::Transaction& tx) -> Status {
    for (int64_t id : done) TRY(journal::erase(tx.connection(), id));
    return {};
  };
  Status erased = database_->write(graph::Durability::normal, graph::Space::reserve, erase);
  for (int64_t id : done) {
    if (!erased) note_failure(id);
    unclaim(id);
  }
  log::ignored("forgetting released resources", erased);
}

// Gives what is released and not yet forgotten: the little that a container leaves is one
// transaction for both threads, while a name is not kept for the rest of a long round.
std::vector<int64_t> Releaser::work_through(const std::vector<ResourceRow>& rows) {
  std::vector<int64_t> done;
  for (const ResourceRow& row : rows) {
    {
      std::lock_guard lock(mutex_);
      if (stopping_) break;
      if (behind_ > 0) behind_--;
    }
    if (!claim(row.id, false)) continue;
    if (was_finished(row.id)) {  // its name may be taken anew by now
      unclaim(row.id);
      continue;
    }
    Status released = release_resource(*resources_, row);
    if (released) {
      done.push_back(row.id);
    } else {
      log::warn("{}; it is tried again", released.error().message());
      note_failure(row.id);
      unclaim(row.id);
    }
    if (done.size() >= kAtOnce) forget(std::exchange(done, {}));
  }
  bool more = false;
  {
    std::lock_guard lock(mutex_);
    more = behind_ > kFew;
  }
  if (more) forget(std::exchange(done, {}));
  return done;
}

void Releaser::loop() {
  ::pthread_setname_np(::pthread_self(), "releaser");
  FailpointScope scope("releaser");
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    auto ready = [&] { return wanted_ || stopping_; };
    Clock::time_point next = Clock::time_point::max();
    for (const auto& [id, failure] : failures_) next = std::min(next, failure.next);
    if (source_retry_ != Clock::time_point{}) next = std::min(next, source_retry_);
    if (next == Clock::time_point::max())
      changed_.wait(lock, ready);
    else
      changed_.wait_until(lock, next, ready);
    if (stopping_) return;
    wanted_ = false;
    working_ = true;
    source_retry_ = {};
    lock.unlock();
    Result<std::vector<ResourceRow>> rows = due();
    bool read = rows.has_value();
    if (read)
      work(rows.release());
    else
      log::warn("releasing resources: {}", rows.error().message());
    lock.lock();
    if (!read) source_retry_ = Clock::now() + retry_;
    working_ = false;
    ++rounds_;
    changed_.notify_all();
  }
}

bool Releaser::drain(std::chrono::milliseconds timeout) {
  int64_t before = 0;
  {
    std::lock_guard lock(mutex_);
    before = rounds_ + (working_ ? 1 : 0);  // a round under way may have looked too early
  }
  wake();
  std::unique_lock lock(mutex_);
  return changed_.wait_for(
      lock, timeout, [&] { return stopping_ || (rounds_ > before && !wanted_ && !working_); });
}

}  // namespace gantry::engine

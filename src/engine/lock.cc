#include "engine/lock.h"

#include <algorithm>

namespace gantry::engine {

LockTable::Held::~Held() {
  if (table_) table_->release(name_);
}

Result<LockTable::Held> LockTable::acquire(LockName name, CancelSource& cancel) {
  Waiter waiter{.mode = name.mode};
  Key key(name.kind, name.name);
  {
    std::lock_guard lock(mutex_);
    Entry& entry = entries_[key];
    entry.waiters.push_back(&waiter);
    grant(entry);
    if (waiter.granted) return Held(this, std::move(name));
  }
  // Not under mutex_: the callback may run at once, and takes it.
  CancelSource::Registration registration = cancel.on_cancel([&] {
    std::lock_guard lock(mutex_);
    waiter.cancelled = true;
    waiter.changed.notify_all();
  });
  {
    std::unique_lock lock(mutex_);
    waiter.changed.wait(lock, [&] { return waiter.granted || waiter.cancelled; });
    if (!waiter.granted) {
      Entry& entry = entries_[key];
      entry.waiters.remove(&waiter);
      grant(entry);  // those behind may be compatible with the holders
      if (!entry.exclusive && entry.shared == 0 && entry.waiters.empty()) entries_.erase(key);
      lock.unlock();
      TRY(cancel.check().context("waiting for {} {}", to_string(name.kind), name.name));
      return internal("a lock was given up without a cancellation");
    }
  }
  return Held(this, std::move(name));
}

void LockTable::release(const LockName& name) {
  std::lock_guard lock(mutex_);
  auto found = entries_.find(Key(name.kind, name.name));
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  if (name.mode == LockMode::exclusive)
    entry.exclusive = false;
  else
    --entry.shared;
  grant(entry);
  if (!entry.exclusive && entry.shared == 0 && entry.waiters.empty()) entries_.erase(found);
}

// Lets waiters in, in their order, up to the first that the holders exclude.
void LockTable::grant(Entry& entry) {
  while (!entry.waiters.empty()) {
    Waiter* first = entry.waiters.front();
    bool wants_all = first->mode == LockMode::exclusive;
    if (entry.exclusive || (wants_all && entry.shared > 0)) return;
    if (wants_all)
      entry.exclusive = true;
    else
      ++entry.shared;
    entry.waiters.pop_front();
    first->granted = true;
    first->changed.notify_all();
  }
}

}  // namespace gantry::engine

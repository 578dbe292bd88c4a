// Locks by name that jobs hold to their end. Deadlock-free because every job takes them in one
// order: by kind (container, image, volume, network), then by name; a job that asks for one that
// comes before one it holds is refused, not blocked.
#pragma once

#include <compare>
#include <condition_variable>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/cancel.h"

namespace gantry::engine {

enum class LockKind { container, image, volume, network };
enum class LockMode { exclusive, shared };
std::string_view to_string(LockKind kind);

struct LockName {
  LockKind kind;
  std::string name;
  LockMode mode = LockMode::exclusive;
};

// First come, first served on each name; a shared request does not overtake a waiting exclusive
// one. Thread-safe.
class LockTable {
 public:
  // A lock held. Released on destruction.
  class Held {
   public:
    Held(LockTable* table, LockName name) : table_(table), name_(std::move(name)) {}
    Held(Held&& other) noexcept
        : table_(std::exchange(other.table_, nullptr)), name_(std::move(other.name_)) {}
    Held& operator=(Held&&) = delete;
    ~Held();
    const LockName& name() const { return name_; }

   private:
    LockTable* table_;
    LockName name_;
  };

  // Blocks until the lock is had or `cancel` fires (its error then).
  Result<Held> acquire(LockName name, CancelSource& cancel);

 private:
  using Key = std::pair<LockKind, std::string>;
  struct Waiter {
    LockMode mode;
    std::condition_variable changed = {};
    bool granted = false;
    bool cancelled = false;
  };
  struct Entry {
    int shared = 0;
    bool exclusive = false;
    std::list<Waiter*> waiters;
  };
  void release(const LockName& name);
  void grant(Entry& entry);

  std::mutex mutex_;
  std::map<Key, Entry> entries_;
};

}  // namespace gantry::engine

// Threads for jobs: made on demand, with small stacks, kept for a while after their job.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

#include "base/result.h"

namespace gantry::engine {

// Thread-safe. Every task gets a thread at once (admission is the engine's affair).
class Threads {
 public:
  Threads(size_t stack_size, std::chrono::milliseconds idle_time)
      : stack_size_(stack_size), idle_time_(idle_time) {}
  ~Threads();  // waits for all tasks

  Status run(std::function<void()> task);
  int64_t count() const;

 private:
  static void* entry(void* self);
  void loop();
  Status spawn();

  const size_t stack_size_;
  const std::chrono::milliseconds idle_time_;
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable gone_;
  std::deque<std::function<void()>> tasks_;
  int64_t threads_ = 0;
  int64_t idle_ = 0;
  bool stopping_ = false;
};

}  // namespace gantry::engine

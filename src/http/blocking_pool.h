// Threads for tasks that block: made when no idle one is there, gone after some idle time.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

namespace gantry::http {

// Thread-safe. The destructor waits for running tasks and drops queued ones.
class BlockingPool {
 public:
  explicit BlockingPool(size_t max_threads);
  ~BlockingPool();
  BlockingPool(const BlockingPool&) = delete;

  // Runs `task` on some thread; queues it when max_threads are busy. Tasks must not throw.
  void submit(std::function<void()> task);

 private:
  void start_thread();  // with mutex_ held
  void work();

  const size_t max_threads_;
  std::mutex mutex_;
  std::condition_variable work_there_;
  std::condition_variable thread_gone_;
  std::deque<std::function<void()>> tasks_;
  size_t threads_ = 0;
  size_t idle_ = 0;
  bool stopping_ = false;
};

}  // namespace gantry::http

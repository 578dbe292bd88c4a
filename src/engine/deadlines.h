// Cancels jobs whose time is up.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "engine/cancel.h"

namespace gantry::engine {

// Thread-safe. The thread is started by the first deadline.
class Deadlines {
 public:
  using Clock = std::chrono::steady_clock;
  ~Deadlines();
  void add(Clock::time_point when, std::weak_ptr<CancelSource> source);

 private:
  void loop();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<Clock::time_point, std::weak_ptr<CancelSource>> waiting_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace gantry::engine

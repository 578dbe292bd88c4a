#include "engine/deadlines.h"

#include <pthread.h>
#include <signal.h>

namespace gantry::engine {

Deadlines::~Deadlines() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Deadlines::add(Clock::time_point when, std::weak_ptr<CancelSource> source) {
  std::lock_guard lock(mutex_);
  // Those whose job has ended would pile up until their time.
  std::erase_if(waiting_, [](const auto& entry) { return entry.second.expired(); });
  waiting_.emplace(when, std::move(source));
  if (!thread_.joinable()) {
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { loop(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  changed_.notify_all();
}

void Deadlines::loop() {
  ::pthread_setname_np(::pthread_self(), "deadlines");
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (waiting_.empty()) {
      changed_.wait(lock);
      continue;
    }
    auto first = waiting_.begin();
    if (first->first > Clock::now()) {
      Clock::time_point when = first->first;
      changed_.wait_until(lock, when);
      continue;
    }
    std::shared_ptr<CancelSource> source = first->second.lock();
    waiting_.erase(first);
    lock.unlock();
    if (source) source->cancel(CancelReason::deadline);
    source.reset();
    lock.lock();
  }
}

}  // namespace gantry::engine

#include "http/blocking_pool.h"

#include <pthread.h>
#include <signal.h>

#include <chrono>

namespace gantry::http {
namespace {

constexpr auto kIdleTime = std::chrono::seconds(5);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kStackSize = 2u << 20;
#else
constexpr size_t kStackSize = 256u << 10;
#endif

}  // namespace

BlockingPool::BlockingPool(size_t max_threads) : max_threads_(max_threads) {
  std::lock_guard lock(mutex_);
  start_thread();
}

BlockingPool::~BlockingPool() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  tasks_.clear();
  work_there_.notify_all();
  thread_gone_.wait(lock, [&] { return threads_ == 0; });
}

void BlockingPool::submit(std::function<void()> task) {
  std::unique_lock lock(mutex_);
  if (stopping_) return;
  tasks_.push_back(std::move(task));
  if (tasks_.size() > idle_ && threads_ < max_threads_) start_thread();
  work_there_.notify_one();
}

void BlockingPool::start_thread() {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, kStackSize);
  // Signals are the main thread's: a thread inherits the mask it is made with.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  auto main = [](void* self) -> void* {
    ::pthread_setname_np(::pthread_self(), "io-pool");
    static_cast<BlockingPool*>(self)->work();
    return nullptr;
  };
  // When no thread can be made, a running one takes the task later.
  if (pthread_create(&thread, &attributes, main, this) == 0) ++threads_;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
}

void BlockingPool::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    ++idle_;
    auto ready = [&] { return !tasks_.empty() || stopping_; };
    if (threads_ == 1)
      work_there_.wait(lock, ready);
    else
      work_there_.wait_for(lock, kIdleTime, ready);
    --idle_;
    if (stopping_) break;
    if (tasks_.empty()) {
      if (threads_ == 1) continue;  // the last one stays: there may be no memory for another
      break;
    }
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr;
    lock.lock();
  }
  --threads_;
  thread_gone_.notify_all();
}

}  // namespace gantry::http

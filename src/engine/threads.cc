#include "engine/threads.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>

namespace gantry::engine {
namespace {

// Instrumented frames are several times larger.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kLeastStack = 2 << 20;
#else
constexpr size_t kLeastStack = 128 << 10;
#endif

}  // namespace

Threads::~Threads() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  work_.notify_all();
  gone_.wait(lock, [&] { return threads_ == 0; });
}

Status Threads::run(std::function<void()> task) {
  std::unique_lock lock(mutex_);
  tasks_.push_back(std::move(task));
  if (static_cast<int64_t>(tasks_.size()) <= idle_) {
    work_.notify_one();
    return {};
  }
  Status spawned = spawn();
  if (!spawned) tasks_.pop_back();
  return spawned;
}

int64_t Threads::count() const {
  std::lock_guard lock(mutex_);
  return threads_;
}

// Called with mutex_ held.
Status Threads::spawn() {
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  ::pthread_attr_setstacksize(&attributes, std::max(stack_size_, kLeastStack));
  // Signals of the process are for its main thread; a new thread inherits the mask.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  int code = ::pthread_create(&thread, &attributes, &Threads::entry, this);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_attr_destroy(&attributes);
  if (code != 0) return errno_error(code, "starting a thread").with_kind(ErrorKind::unavailable);
  ++threads_;
  return {};
}

void* Threads::entry(void* self) {
  ::pthread_setname_np(::pthread_self(), "job");
  static_cast<Threads*>(self)->loop();
  return nullptr;
}

void Threads::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (tasks_.empty()) {
      ++idle_;
      bool woken = work_.wait_for(lock, idle_time_, [&] { return !tasks_.empty() || stopping_; });
      --idle_;
      if (!woken || tasks_.empty()) break;
    }
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr;
    lock.lock();
  }
  --threads_;
  // Under the mutex: the destructor may free it as soon as the count is zero and the lock is free.
  gone_.notify_all();
}

}  // namespace gantry::engine

// A bounded queue between a job's thread and whoever listens: where blocking code and coroutines
// meet.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>

namespace gantry {

// Many producers, one consumer; thread-safe. The producer blocks while the queue is full; after
// close() push() is refused and pop() drains what is left. A consumer that cannot block (a
// coroutine on the I/O thread) sets a waker, which is called from the producer's thread, outside
// the lock, whenever try_pop() may give something new or the channel was closed.
template <typename T>
class Channel {
 public:
  explicit Channel(size_t capacity = 64) : capacity_(capacity) {}

  // False when the channel is closed; `item` is dropped then.
  bool push(T item) {
    std::function<void()> wake;
    {
      std::unique_lock lock(mutex_);
      writable_.wait(lock, [&] { return items_.size() < capacity_ || closed_; });
      if (closed_) return false;
      items_.push_back(std::move(item));
      wake = waker_;
    }
    readable_.notify_one();
    if (wake) wake();
    return true;
  }
  // As push, but gives up (false) when the queue is full.
  bool try_push(T item) {
    std::function<void()> wake;
    {
      std::unique_lock lock(mutex_);
      if (closed_ || items_.size() >= capacity_) return false;
      items_.push_back(std::move(item));
      wake = waker_;
    }
    readable_.notify_one();
    if (wake) wake();
    return true;
  }
  // Blocks for an item; nothing when the channel is closed and empty.
  std::optional<T> pop() {
    std::unique_lock lock(mutex_);
    readable_.wait(lock, [&] { return !items_.empty() || closed_; });
    return take(lock);
  }
  std::optional<T> pop_for(std::chrono::nanoseconds timeout) {
    std::unique_lock lock(mutex_);
    readable_.wait_for(lock, timeout, [&] { return !items_.empty() || closed_; });
    return take(lock);
  }
  std::optional<T> try_pop() {
    std::unique_lock lock(mutex_);
    return take(lock);
  }
  void close() {
    std::function<void()> wake;
    {
      std::unique_lock lock(mutex_);
      closed_ = true;
      wake = waker_;
    }
    readable_.notify_all();
    writable_.notify_all();
    if (wake) wake();
  }
  // Closed and drained: nothing will come any more.
  bool finished() const {
    std::unique_lock lock(mutex_);
    return closed_ && items_.empty();
  }
  void set_waker(std::function<void()> waker) {
    std::unique_lock lock(mutex_);
    waker_ = std::move(waker);
  }

 private:
  std::optional<T> take(std::unique_lock<std::mutex>& lock) {
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    lock.unlock();
    writable_.notify_one();
    return item;
  }

  mutable std::mutex mutex_;
  std::condition_variable readable_;
  std::condition_variable writable_;
  std::deque<T> items_;
  std::function<void()> waker_;
  const size_t capacity_;
  bool closed_ = false;
};

}  // namespace gantry

// Asking a job to stop, in the three forms blocking code can notice: a flag, a descriptor, a
// callback.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry::engine {

enum class CancelReason { none, requested, deadline, shutdown };

// Thread-safe; shared by the job, its children, its handle and the engine. Cancelling is final.
class CancelSource : public std::enable_shared_from_this<CancelSource> {
 public:
  // Calls `fn` once on cancellation, from the cancelling thread (at once when already cancelled);
  // never after the registration is destroyed, whose destructor waits for a running call.
  class Registration {
   public:
    Registration() = default;
    Registration(Registration&& other) noexcept;
    Registration& operator=(Registration&& other) noexcept;
    ~Registration();

   private:
    friend class CancelSource;
    std::shared_ptr<CancelSource> source_;
    uint64_t id_ = 0;
  };

  void cancel(CancelReason reason = CancelReason::requested);
  bool cancelled() const { return reason_.load(std::memory_order_acquire) != CancelReason::none; }
  CancelReason reason() const { return reason_.load(std::memory_order_acquire); }
  // Ok, or the error a cancelled job ends with (`cancelled`; `unavailable` after a deadline).
  Status check() const;
  // Readable from cancellation on (an eventfd, made on first use), for poll(2). Borrowed.
  Result<int> fd();
  [[nodiscard]] Registration on_cancel(std::function<void()> fn);

 private:
  std::atomic<CancelReason> reason_{CancelReason::none};
  std::recursive_mutex mutex_;
  UniqueFd event_;
  uint64_t next_ = 1;
  std::map<uint64_t, std::function<void()>> callbacks_;
};

}  // namespace gantry::engine

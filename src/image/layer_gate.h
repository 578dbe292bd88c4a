// How many layers may be on their way at a time, over all pulls: what each holds in memory is the
// daemon's.
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/result.h"
#include "engine/cancel.h"

namespace gantry::image {

// Thread-safe.
class LayerGate {
 public:
  explicit LayerGate(int room) : room_(room) {}

  // Given back when it goes.
  class Pass {
   public:
    Pass(LayerGate& gate, int weight) : gate_(&gate), weight_(weight) {}
    Pass(Pass&& other) noexcept
        : gate_(std::exchange(other.gate_, nullptr)), weight_(other.weight_) {}
    ~Pass() {
      if (gate_ == nullptr) return;
      std::lock_guard lock(gate_->mutex_);
      gate_->room_ += weight_;
      gate_->changed_.notify_all();
    }

   private:
    LayerGate* gate_;
    int weight_;
  };

  // Waits for room; `weight` is at most what there is in all. Errors: cancelled.
  Result<Pass> enter(int weight, engine::CancelSource& cancel) {
    auto wake = cancel.on_cancel([this] {
      std::lock_guard lock(mutex_);
      changed_.notify_all();
    });
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return room_ >= weight || cancel.cancelled(); });
    if (cancel.cancelled()) {
      lock.unlock();
      TRY(cancel.check());
    }
    room_ -= weight;
    return Pass(*this, weight);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int room_;
};

}  // namespace gantry::image

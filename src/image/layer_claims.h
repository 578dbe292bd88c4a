// Which pull fetches which layer: what one is fetching, another waits for. Claims are made for a
// whole chain at once and kept until the pull's changes are final, so that pulls wait for earlier
// ones only and never in a circle.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "engine/cancel.h"

namespace gantry::image {

// Thread-safe.
class LayerClaims {
 public:
  // A layer on its way; how far it is, for those who wait.
  struct Flight {
    int64_t current = 0;
    int64_t total = 0;
    bool ended = false;
  };
  using FlightPtr = std::shared_ptr<Flight>;

  // For each layer: null when it is the caller's now, else the flight to wait for.
  std::vector<FlightPtr> claim(const std::vector<Digest>& layers) {
    std::lock_guard lock(mutex_);
    std::vector<FlightPtr> out;
    for (const Digest& layer : layers) {
      auto [entry, fresh] = flights_.try_emplace(layer.text());
      if (fresh) entry->second = std::make_shared<Flight>();
      out.push_back(fresh ? nullptr : entry->second);
    }
    return out;
  }
  void release(const std::vector<Digest>& layers) {
    std::lock_guard lock(mutex_);
    for (const Digest& layer : layers) {
      auto found = flights_.find(layer.text());
      if (found == flights_.end()) continue;
      found->second->ended = true;
      flights_.erase(found);
    }
    changed_.notify_all();
  }
  void progress(const Digest& layer, int64_t current, int64_t total) {
    std::lock_guard lock(mutex_);
    auto found = flights_.find(layer.text());
    if (found == flights_.end()) return;
    found->second->current = current;
    found->second->total = total;
    changed_.notify_all();
  }
  // Waits until the flight has ended or has come on from `seen`; gives where it is.
  Result<Flight> wait(const FlightPtr& flight, int64_t seen, engine::CancelSource& cancel) {
    auto wake = cancel.on_cancel([this] {
      std::lock_guard lock(mutex_);
      changed_.notify_all();
    });
    std::unique_lock lock(mutex_);
    changed_.wait(lock,
                  [&] { return flight->ended || flight->current != seen || cancel.cancelled(); });
    if (cancel.cancelled()) {
      lock.unlock();
      TRY(cancel.check());
    }
    return Flight(*flight);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, FlightPtr> flights_;  // by chain id
};

}  // namespace gantry::image

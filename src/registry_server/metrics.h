// Counters of the registry, in Prometheus' text form. Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace gantry::registry_server {

class Metrics {
 public:
  void request(std::string_view resource, std::string_view method, int status, double seconds,
               uint64_t bytes_in, uint64_t bytes_out);

  std::atomic<int64_t> in_flight{0};
  std::atomic<uint64_t> login_failures{0}, quota_refusals{0}, uploads_started{0}, mounts{0};
  std::atomic<uint64_t> cache_hits{0}, cache_misses{0}, cache_stale{0}, cache_failures{0};
  std::atomic<uint64_t> gc_runs{0}, gc_blobs{0}, gc_bytes{0};

  struct Gauges {
    uint64_t bytes = 0, blobs = 0, uploads = 0, connections = 0;
    bool read_only = false;
  };
  std::string text(const Gauges& gauges) const;

 private:
  static constexpr std::array<double, 8> kBounds = {0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60};
  struct Series {
    std::map<std::string, uint64_t> by_status;
    std::array<uint64_t, kBounds.size() + 1> buckets{};
    double seconds = 0;
    uint64_t count = 0;
  };
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, Series> series_;  // resource, method
  std::atomic<uint64_t> bytes_in_{0}, bytes_out_{0};
};

}  // namespace gantry::registry_server

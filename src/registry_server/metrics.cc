#include "registry_server/metrics.h"

#include <fmt/core.h>

#include "base/fs.h"

namespace gantry::registry_server {
namespace {

void header(std::string& out, std::string_view name, std::string_view kind, std::string_view help) {
  out += fmt::format("# HELP gantry_registry_{} {}\n# TYPE gantry_registry_{} {}\n", name, help,
                     name, kind);
}

void single(std::string& out, std::string_view name, std::string_view kind, std::string_view help,
            uint64_t value) {
  header(out, name, kind, help);
  out += fmt::format("gantry_registry_{} {}\n", name, value);
}

uint64_t resident_bytes() {
  auto text = fs::read_file("/proc/self/statm", 4096);
  unsigned long long size = 0, resident = 0;
  if (!text || ::sscanf(text->c_str(), "%llu %llu", &size, &resident) != 2) return 0;
  return resident * 4096;
}

// Methods that are none of the registry's are one series, whatever a client makes up.
std::string_view known_method(std::string_view method) {
  for (std::string_view one : {"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"})
    if (method == one) return one;
  return "other";
}

}  // namespace

void Metrics::request(std::string_view resource, std::string_view method, int status,
                      double seconds, uint64_t bytes_in, uint64_t bytes_out) {
  bytes_in_ += bytes_in;
  bytes_out_ += bytes_out;
  std::lock_guard lock(mutex_);
  Series& series = series_[{std::string(resource), std::string(known_method(method))}];
  ++series.by_status[std::to_string(status)];
  size_t bucket = 0;
  while (bucket < kBounds.size() && seconds > kBounds[bucket]) ++bucket;
  ++series.buckets[bucket];
  series.seconds += seconds;
  ++series.count;
}

std::string Metrics::text(const Gauges& gauges) const {
  std::string out;
  std::lock_guard lock(mutex_);
  header(out, "requests_total", "counter", "Requests that were answered.");
  for (const auto& [key, series] : series_)
    for (const auto& [status, count] : series.by_status)
      out += fmt::format(
          "gantry_registry_requests_total{{resource=\"{}\",method=\"{}\",status=\"{}\"}} {}\n",
          key.first, key.second, status, count);
  header(out, "request_seconds", "histogram", "Time from a request's head to its answer's end.");
  for (const auto& [key, series] : series_) {
    std::string labels = fmt::format("resource=\"{}\",method=\"{}\"", key.first, key.second);
    uint64_t sum = 0;
    for (size_t i = 0; i <= kBounds.size(); ++i) {
      sum += series.buckets[i];
      std::string bound = i < kBounds.size() ? fmt::format("{}", kBounds[i]) : "+Inf";
      out += fmt::format("gantry_registry_request_seconds_bucket{{{},le=\"{}\"}} {}\n", labels,
                         bound, sum);
    }
    out +=
        fmt::format("gantry_registry_request_seconds_sum{{{}}} {:.6f}\n", labels, series.seconds);
    out += fmt::format("gantry_registry_request_seconds_count{{{}}} {}\n", labels, series.count);
  }
  single(out, "received_bytes_total", "counter", "Bytes of requests' bodies.", bytes_in_);
  single(out, "sent_bytes_total", "counter", "Bytes of answers' bodies.", bytes_out_);
  single(out, "requests_in_flight", "gauge", "Requests under way.",
         static_cast<uint64_t>(std::max<int64_t>(in_flight.load(), 0)));
  single(out, "connections", "gauge", "Connections of clients.", gauges.connections);
  single(out, "store_bytes", "gauge", "Bytes of content in the store.", gauges.bytes);
  single(out, "store_blobs", "gauge", "Objects in the store, manifests too.", gauges.blobs);
  single(out, "uploads", "gauge", "Uploads that are not finished.", gauges.uploads);
  single(out, "uploads_started_total", "counter", "Uploads that were begun.", uploads_started);
  single(out, "mounts_total", "counter", "Blobs taken over from another repository.", mounts);
  single(out, "login_failures_total", "counter", "Wrong passwords and tokens.", login_failures);
  single(out, "quota_refusals_total", "counter", "Uploads refused by a quota.", quota_refusals);
  single(out, "cache_hits_total", "counter", "Served from the cache.", cache_hits);
  single(out, "cache_misses_total", "counter", "Fetched from the upstream.", cache_misses);
  single(out, "cache_stale_total", "counter", "Tags served while the upstream failed.",
         cache_stale);
  single(out, "cache_failures_total", "counter", "Fetches that failed.", cache_failures);
  single(out, "gc_runs_total", "counter", "Collections of garbage.", gc_runs);
  single(out, "gc_removed_total", "counter", "Objects that were collected.", gc_blobs);
  single(out, "gc_freed_bytes_total", "counter", "Bytes that were collected.", gc_bytes);
  single(out, "read_only", "gauge", "1 while changes are refused.", gauges.read_only ? 1 : 0);
  single(out, "resident_bytes", "gauge", "Memory of this process.", resident_bytes());
  return out;
}

}  // namespace gantry::registry_server

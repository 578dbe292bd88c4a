// Garbage collection while the registry serves.
//
// A repository keeps the manifests that it was given (with `untagged`, those that a tag, an index
// or a subject leads to) and the blobs that they refer to; content that no repository has goes.
// What was used within the grace time stays, so that a push which found a blob there still does
// when its manifest comes. Everything is looked at again under the lock that a push takes before it
// goes: also without a grace time nothing goes that a manifest needs.
#pragma once

#include <sys/stat.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "registry_server/metrics.h"
#include "registry_server/options.h"
#include "registry_server/store.h"
#include "registry_server/uploads.h"

namespace gantry::registry_server {

struct CollectorSettings {
  int64_t grace_ns = 0;
  bool untagged = false;
  bool cache = false;  // blobs that no manifest refers to (yet) stay until they are evicted
  int64_t upload_age_ns = 0;
  int64_t interval_ns = 0;   // 0: by command only
  uint64_t evict_above = 0;  // of a cache: when it holds more, what was used longest ago goes

  static CollectorSettings of(const Options& options);
};

struct CollectorReport {
  size_t manifests = 0, links = 0, blobs = 0, uploads = 0, repositories = 0;
  uint64_t bytes = 0;
  std::string text() const;
};

// Thread-safe. run() blocks for as long as it takes.
class Collector {
 public:
  Collector(Store& store, Uploads& uploads, Metrics& metrics)
      : store_(store), uploads_(uploads), metrics_(metrics) {}
  ~Collector() { stop(); }

  void set(const CollectorSettings& settings);
  // Errors: conflict when one runs already, of the disk. `room`: bytes that a cache is going to
  // need.
  Result<CollectorReport> run(uint64_t room = 0);
  // A thread that runs it at the interval, until stop().
  void start();
  void stop();

 private:
  struct Marks {
    std::set<std::string> seen;   // manifests that were read, by key
    std::set<std::string> blobs;  // what they refer to, by key
  };
  Status each_repository(int directory, const std::string& prefix,
                         const std::function<Status(const std::string&)>& visit);
  Status collect_repository(const std::string& name, CollectorReport& report);
  Status mark(const std::string& name, Marks& marks);
  Status sweep_untagged(const std::string& name, CollectorReport& report);
  Status sweep_blobs(const std::string& name, const Marks& marks, CollectorReport& report);
  Status remove_empty(const std::string& name, CollectorReport& report);
  Status sweep_content(CollectorReport& report);
  Status evict(uint64_t room);
  bool old(const struct stat& st) const;
  void loop();

  Store& store_;
  Uploads& uploads_;
  Metrics& metrics_;
  std::mutex running_;
  int64_t limit_ns_ = 0;           // running_
  CollectorSettings in_use_;       // running_
  std::set<std::string> evicted_;  // running_
  std::mutex mutex_;
  std::condition_variable changed_;
  CollectorSettings settings_;  // mutex_
  bool stopping_ = false;       // mutex_
  std::thread thread_;
};

}  // namespace gantry::registry_server

// The registry: takes requests apart, asks who may, and hands them to what answers them.
//
// handle() runs on the server's I/O thread, each call on a coroutine; everything that touches the
// disk goes to the I/O pool. Its parts are thread-safe.
#pragma once

#include <memory>
#include <mutex>

#include "http/server.h"
#include "registry_server/access_log.h"
#include "registry_server/auth.h"
#include "registry_server/cache.h"
#include "registry_server/call.h"
#include "registry_server/collector.h"
#include "registry_server/metrics.h"
#include "registry_server/options.h"
#include "registry_server/store.h"
#include "registry_server/uploads.h"

namespace gantry::registry_server {

class Registry {
 public:
  // Opens the store. Errors: of the store, of the files that the options name.
  static Result<std::unique_ptr<Registry>> open(Options options);
  ~Registry();

  void handle(http::Exchange& exchange);
  // /metrics and /health only, for a listener of their own.
  void handle_metrics(http::Exchange& exchange);
  // What `gantry-registry gc` asks, on a socket that only the owner reaches.
  void handle_admin(http::Exchange& exchange);
  // Takes over what may change while it runs: read-only, delete, quotas, users, rights, keys, the
  // times of cache and garbage, the log. What is wrong leaves all as it was.
  Status reload(const Options& options);
  // Ends what it does by itself: collections, fetches. After the last request.
  void shut_down();
  std::function<size_t()> connections = [] { return size_t{0}; };

  std::shared_ptr<const Options> options() const;
  Store& store() { return *store_; }
  Uploads& uploads() { return *uploads_; }
  Metrics& metrics() { return metrics_; }
  Cache* cache() { return cache_.get(); }
  Collector& collector() { return *collector_; }
  Auth& auth() { return *auth_; }

  // The type of a manifest that is stored, remembered for a while; for the I/O pool.
  Result<std::string> media_type(const ContentDigest& digest, const Content& content);

 private:
  Registry() = default;
  void serve(Call& call);
  void dispatch(Call& call);
  bool serve_outside(Call& call);
  Metrics::Gauges gauges() const;

  mutable std::mutex options_mutex_;
  std::shared_ptr<const Options> options_;
  Metrics metrics_;
  Quotas quotas_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Uploads> uploads_;
  std::unique_ptr<Auth> auth_;
  std::unique_ptr<AccessLog> access_log_;
  std::unique_ptr<Collector> collector_;
  std::unique_ptr<Cache> cache_;
  std::mutex types_mutex_;
  std::map<std::string, std::string> types_;
};

// ---- what answers (routes_*.cc); each has answered when it returns
void serve_blob(Registry& registry, Call& call);
void serve_uploads(Registry& registry, Call& call);  // POST
void serve_upload(Registry& registry, Call& call);
void serve_manifest(Registry& registry, Call& call);
void serve_tags(Registry& registry, Call& call);
void serve_catalog(Registry& registry, Call& call);
void serve_referrers(Registry& registry, Call& call);
void serve_token(Registry& registry, Call& call);

// A page's size and start, from ?n= and ?last=. False when it was answered with an error.
struct Page {
  size_t limit = 0;   // 0: all
  bool none = false;  // n=0: an empty list
  std::string last;
};
bool parse_page(Call& call, Page& page);

}  // namespace gantry::registry_server

// Pull-through cache: what is not here is fetched from an upstream, stored, and given to whoever
// asked while it comes in. One fetch for all who want the same; it goes on when they go. A tag is
// asked about again when its time is over; when the upstream cannot be reached, what is here is
// served, and said to be stale.
//
// Nobody gets the end of a blob before its digest was found right. Thread-safe; the functions that
// take an exchange are for its coroutine.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "http/blocking_pool.h"
#include "registry_server/call.h"
#include "registry_server/metrics.h"
#include "registry_server/store.h"
#include "registry_server/uploads.h"
#include "registry_server/upstream.h"

namespace gantry::registry_server {

class Cache {
 public:
  // `make_room` removes what was used longest ago until so many bytes fit; it blocks.
  static Result<std::unique_ptr<Cache>> open(const Options& options, Store& store, Uploads& uploads,
                                             Metrics& metrics,
                                             std::function<void(uint64_t)> make_room);
  // Ends fetches that are under way.
  void stop() { upstream_->stop(); }
  Status reload(const Options& options);

  // For a blob that is not in the store. Has answered when it returns.
  void serve_blob(Call& call, const ContentDigest& digest);
  // Sees to it that the manifest is in the store and as fresh as it has to be.
  std::optional<ApiError> prepare_manifest(http::Exchange& exchange, const std::string& repository,
                                           const std::string& reference, bool& stale);
  // Lists come from the upstream. False when it cannot be reached: the store answers then.
  bool forward(Call& call);

 private:
  // Something that is being fetched, and those who wait for it.
  struct Flight {
    std::mutex mutex;
    bool done = false;
    std::optional<ApiError> error;
    std::optional<uint64_t> size;  // announced by the upstream
    uint64_t available = 0;        // bytes that were stored
    std::shared_ptr<UniqueFd> file;
    int status = 0;  // of a list, with its headers and body
    http::Headers headers;
    std::string body;
    std::map<uint64_t, std::function<void()>> waiting;
    uint64_t next = 0;

    void changed();
  };
  using FlightPtr = std::shared_ptr<Flight>;

  Cache(Store& store, Uploads& uploads, Metrics& metrics)
      : store_(store), uploads_(uploads), metrics_(metrics) {}
  // Joins the flight of this name or starts `work` for a new one, on a thread of the cache.
  FlightPtr join(const std::string& name, std::function<std::optional<ApiError>(Flight&)> work);
  // Until `ready` holds or the flight is done. False when there is nobody to answer any more.
  bool wait(http::Exchange& exchange, Flight& flight, const std::function<bool(Flight&)>& ready);
  std::optional<ApiError> fetch_blob(Flight& flight, const std::string& repository,
                                     const ContentDigest& digest);
  std::optional<ApiError> receive_blob(Flight& flight, Upstream::Answer& answer,
                                       const std::string& repository, const ContentDigest& digest);
  std::optional<ApiError> fetch_manifest(const std::string& repository,
                                         const std::string& reference);
  std::optional<ApiError> store_manifest(Upstream::Answer& answer, const std::string& repository,
                                         const std::string& reference);
  void stream(Call& call, Flight& flight, const ContentDigest& digest);

  Store& store_;
  Uploads& uploads_;
  Metrics& metrics_;
  std::function<void(uint64_t)> make_room_;
  std::unique_ptr<Upstream> upstream_;
  std::atomic<int64_t> ttl_ns_{0};
  std::mutex mutex_;
  std::map<std::string, FlightPtr> flights_;  // mutex_
  http::BlockingPool fetchers_{32};           // last: its threads use the others
};

}  // namespace gantry::registry_server

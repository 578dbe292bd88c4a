// What builds have made and may be used again: records in the graph, found by keys that name all
// that went into an operation (its text after expansion, the layer below by content, digests of
// files, and never a time).
//
// Graph. Node build_record, key: the operation's, or "mount:<id>" for the directory of a cache
// mount; edge built_from to the layer it made. Records are kept by policy (graph/gc.h) and while a
// build's lease holds them. The directory of a cache mount goes with its record
// (kCacheDirectoryKind, owned by it).
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "daemon/build/build_jobs.h"
#include "engine/job.h"

namespace gantry::daemon {

class Daemon;

// Data of a build_record node.
struct BuildRecord {
  std::string type;  // "regular", "source.local", "exec.cachemount"
  std::string description;
  std::string chain_id;   // what is there after the operation; "": nothing
  std::string parent;     // and before it
  std::string diff_id;    // of the layer; "": it changed nothing
  std::string directory;  // of a cache mount
  int64_t uses = 0;
};

// Resource kind: <data root>/build-cache/<name>.
inline constexpr std::string_view kCacheDirectoryKind = "build-cache-dir";

// Thread-safe.
class BuildCache {
 public:
  explicit BuildCache(Daemon& daemon);

  // The result of an operation that was done before, leased for `build`; nothing when there is none
  // or its layer is not there any more.
  Result<std::optional<image::BuiltLayer>> find(engine::JobContext& job, const std::string& key,
                                                engine::JobId build);
  // Joins the job's closing transaction.
  void keep(engine::JobContext& job, const BuildStep::Input& step, const image::BuiltLayer& layer,
            const std::string& parent);

  // One operation at a time: whoever begins one that is being done waits, and then looks again.
  class Turn {
   public:
    Turn(BuildCache& cache, std::string key) : cache_(&cache), key_(std::move(key)) {}
    Turn(Turn&& other) noexcept
        : cache_(std::exchange(other.cache_, nullptr)), key_(std::move(other.key_)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn();

   private:
    BuildCache* cache_;
    std::string key_;
  };
  // Blocks until nobody has it, or the job is cancelled.
  Result<Turn> turn(engine::JobContext& job, const std::string& key);
  // Without waiting; nothing when somebody has it.
  std::optional<Turn> try_turn(const std::string& key);

  // The directory of a cache mount (a path of the engine's own), made when it is missing, with
  // `mode` and owner then.
  Result<std::string> mount_directory(engine::JobContext& job, const std::string& id, mode_t mode,
                                      uid_t uid, gid_t gid, engine::JobId build);

  // `system df`: Docker's BuildCache.
  Result<json::array> usage() const;
  Result<BuildPrune::Output> prune(engine::JobContext& job, const BuildPrune::Input& input);

 private:
  void register_directories();

  Daemon& daemon_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> busy_;
};

}  // namespace gantry::daemon

namespace gantry::json {
template <>
struct Schema<daemon::BuildRecord> {
  using T = daemon::BuildRecord;
  static constexpr Field fields[] = {field<&T::type>("type"),
                                     field<&T::description>("description", kOmitEmpty),
                                     field<&T::chain_id>("chain_id", kOmitEmpty),
                                     field<&T::parent>("parent", kOmitEmpty),
                                     field<&T::diff_id>("diff_id", kOmitEmpty),
                                     field<&T::directory>("directory", kOmitEmpty),
                                     field<&T::uses>("uses")};
};
}  // namespace gantry::json

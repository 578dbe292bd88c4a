// Resources: whatever a job takes from the system (a directory, a veth, an address, a cgroup, a
// shim). Each is a row that is written before the thing is taken and deleted after it was given
// back, so that after a crash at any instruction the rows name everything that may exist.
//
//   (none) --take--> intended --commit of the job--> held --release--> (releasing) --> (none)
//                        \------- failure of the job, or crash ---------^
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "graph/database.h"

namespace gantry::engine {

enum class ResourceState { intended = 1, held = 2, releasing = 3 };
std::string_view to_string(ResourceState state);

struct Resource {
  std::string kind;  // a registered ResourceKind
  std::string name;  // unique within the kind; chosen before the thing exists
  // "container:<id>", "volume:<name>", … (a node of the graph by kind and key), to which it belongs
  // once the job succeeded. "": the job itself, released when the job ends, however it ends.
  std::string owner;
  std::string data;  // JSON for probe and release
};
struct ResourceRow : Resource {
  int64_t id = 0;  // ascending in the order of taking
  int64_t job = 0;
  ResourceState state = ResourceState::intended;
  std::string boot_id;     // of the boot in which it was taken
  int64_t created_at = 0;  // ns since the epoch
};

enum class Presence { absent, present, unknown };
enum class Release {
  inline_,   // by the job itself; fast
  deferred,  // by the background releaser; for what the kernel tears down slowly
};

// How one kind of thing is found and given back. The functions are called from any thread, with no
// lock of the engine held, possibly for things that were never taken or are long gone: release of
// an absent thing is success. They must not touch what a live shim holds locked unless told to by a
// job.
struct ResourceKind {
  std::string name;
  std::function<Result<Presence>(const Resource&)> probe;
  std::function<Status(const Resource&)> release;
  Release mode = Release::inline_;
  // Everything of this kind that exists with this instance's name on it, as far as the kernel or
  // the disk can tell: what has no row is an orphan, and is released. Absent: not enumerable.
  std::function<Result<std::vector<Resource>>()> enumerate = {};
};

// The registry of kinds and the queries over rows. Thread-safe; kinds are added before jobs run.
class Resources {
 public:
  explicit Resources(graph::Database& database) : database_(&database) {}

  Status add(ResourceKind kind);  // conflict: twice the same name
  const ResourceKind* find_kind(std::string_view name) const;
  std::vector<const ResourceKind*> kinds() const;

  Result<std::vector<ResourceRow>> list() const;
  Result<std::vector<ResourceRow>> owned_by(
      std::string_view owner) const;  // in the order of taking
  Result<std::vector<ResourceRow>> of_kind(std::string_view kind) const;
  Result<ResourceRow> get(std::string_view kind, std::string_view name) const;  // not_found

 private:
  graph::Database* database_;
  mutable std::shared_mutex mutex_;
  std::map<std::string, std::unique_ptr<ResourceKind>, std::less<>> kinds_;
};

}  // namespace gantry::engine

// Mounts of a container whose source is not simply a path of the host's: part of a volume, an
// image, the shared memory of another container. Each is made as a tree that is attached to
// nothing, found by descriptor, because whoever can write there could put a link in the way of a
// path.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "daemon/container_record.h"

namespace gantry::drivers {
class GraphDriver;
}

namespace gantry::daemon {

// Runs it on a thread of its own, whose namespaces may be changed.
Status apart(const std::function<Status()>& work);

// Whether the mount is one of those.
bool is_special(const MountPoint& mount);
// The tree of such a mount. `invalid` when there is no such part of it.
Result<UniqueFd> open_special(const MountPoint& mount, drivers::GraphDriver& driver);
// What a running container has at /dev/shm. `process` is a pidfd of its init. `conflict` when there
// is no file system of memory.
Result<UniqueFd> open_shared_memory(int process);

// Trees that are there until this object goes: for as long as it takes a shim to move them.
class SpecialMounts {
 public:
  static Result<SpecialMounts> open(const ContainerRecord& record, drivers::GraphDriver& driver);
  void add(const std::string& destination, UniqueFd tree);
  // Where the trees are, by destination: for SpecInputs::detached.
  const std::map<std::string, std::string>& sources() const { return sources_; }

 private:
  std::vector<UniqueFd> held_;
  std::map<std::string, std::string> sources_;
};

}  // namespace gantry::daemon

// The systemd cgroup driver: a container's cgroup is a transient scope unit, made by systemd over
// its private socket (org.freedesktop.systemd1(5)), delegated to us, and gone when it is empty.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "libcontainer/spec.h"

namespace gantry::libcontainer {

// linux.cgroupsPath for this driver: "slice:prefix:name", or "" for the default.
struct ScopeName {
  std::string slice;  // "system.slice"; "" leaves it to systemd
  std::string unit;   // "prefix-name.scope"; a name that is a slice of its own is not supported
};
Result<ScopeName> parse_scope(const std::string& cgroups_path, const std::string& id,
                              bool rootless);

// Makes the scope with these limits and gives the path of its cgroup, below the root of the
// hierarchies. A process of ours is the first in it, since a scope cannot begin empty: it stays
// until release_scope(), or until the calling thread ends.
struct Scope {
  std::string cgroup;
  UniqueFd holder;  // the pidfd of that process
  pid_t holder_pid = -1;
};
Result<Scope> start_scope(const ScopeName& name, const std::optional<Resources>& resources,
                          bool rootless);
// Ends the process in the scope; another must be in there, or the scope goes.
void release_scope(Scope& scope);

// Tells systemd that the scope is over, and does not wait for it. It sees by itself when a cgroup
// becomes empty, but not when that is removed first. One that it does not know is success.
Status stop_scope(const std::string& cgroup, bool rootless);

// Tells systemd of changed limits, so that it does not set the old ones again. `cgroup` is the
// scope's path.
Status update_scope(const std::string& cgroup, const Resources& resources, bool rootless);

}  // namespace gantry::libcontainer

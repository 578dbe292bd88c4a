// Volumes that must be mounted to be used: those of the `local` driver with options (a file system
// of memory, of a network, another directory), and those of plugins. Mounted while a container runs
// with them, and not longer.
//
// Each use is a resource, "volume-mount", named VOLUME:USER; a volume of the local driver is
// mounted at its directory for the first user and unmounted after the last, one of a plugin is the
// plugin's affair, which is told of every user.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "daemon/api/container_config.h"
#include "daemon/container_record.h"
#include "engine/engine.h"

namespace gantry::daemon {

inline constexpr std::string_view kVolumeMountKind = "volume-mount";

// DriverOpts of the local driver, as mount(8) has them: `type`, `device`, `o`.
struct LocalVolumeOptions {
  std::string type, device, o;
};
// Checks them with Docker's words. Empty options: no mount.
Result<LocalVolumeOptions> parse_local_options(const api::StringMap& options);

// Whether the volume of this mount is there only while it is mounted.
bool needs_mount(const MountPoint& mount);
// The tree of a local volume with options, attached to nothing.
Result<UniqueFd> open_unmounted(const MountPoint& mount);
// Whether something is mounted on the directory; and takes everything away that is.
Result<bool> is_mount_point(const std::string& directory);
Status unmount_all(const std::string& directory);

// Thread-safe.
class VolumeMounts {
 public:
  // Registers the resource kind. `root`: the directory of volumes.
  VolumeMounts(engine::Engine& engine, std::string root);

  // Mounts what of `mounts` must be, for `user`, and sets the source of those whose place a plugin
  // says. The rows belong to `owner` (as in Resource::owner).
  Status take(engine::JobContext& job, std::vector<MountPoint>& mounts, const std::string& user,
              const std::string& owner);

  struct Use;  // what a row says

 private:
  std::string directory(const std::string& volume) const;
  Result<std::string> mount(const MountPoint& mount, const std::string& user);
  Status release(const engine::Resource& row);

  engine::Engine& engine_;
  const std::string root_;
  std::mutex mutex_;
  std::map<std::string, std::set<std::string>> users_;  // of local volumes
};

}  // namespace gantry::daemon

// From what a client wrote (-v, --mount, --tmpfs, VOLUME) to a list of mount points. Pure
// functions.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "daemon/container_record.h"

namespace gantry::daemon {

// Removes "." and "..", double and trailing slashes of an absolute path, without looking at the
// disk.
std::string clean_path(const std::string& path);

// "src:dst[:options]" or "dst" of HostConfig.Binds. `src` with a leading slash is a bind, else a
// volume's name. Errors are Docker's ("invalid volume specification: …").
Result<MountPoint> parse_bind(const std::string& spec, const std::string& volume_driver);
Result<MountPoint> parse_mount(const api::Mount& mount, const std::string& volume_driver);
MountPoint parse_tmpfs(const std::string& destination, const std::string& options);

// Everything the configuration asks for, later sources giving way to earlier ones as in Docker:
// Mounts and Binds, then VolumesFrom (`inherited`), then the image's and the configuration's
// Volumes. Two mounts at one place are an error ("Duplicate mount point: /x").
Result<std::vector<MountPoint>> collect_mounts(const api::ContainerConfig& config,
                                               const api::HostConfig& host_config,
                                               const std::vector<MountPoint>& inherited);

}  // namespace gantry::daemon

// What the graph remembers of a container: everything that is needed to show it, start it again and
// clean up after it. A value; the live object (daemon/container.h) holds it as an immutable
// snapshot.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/rootfs_source.h"
#include "daemon/api/container_config.h"

namespace gantry::daemon {

// One mount of the container beyond those every container has; made from Binds, Mounts, Tmpfs,
// Volumes of the image and VolumesFrom at create time.
struct MountPoint {
  std::string type;         // bind, volume, tmpfs, image
  std::string name;         // volume: its name
  std::string source;       // bind: host path; volume: its directory; image: its id
  std::string destination;  // clean absolute path in the container
  std::string driver;       // volume: "local"
  std::string mode;         // as written: "ro", "z", …
  bool writable = true;
  std::string propagation;  // bind: "rprivate" unless told
  bool no_copy = false;     // volume: do not copy the image's content up
  bool recursive = true;    // bind: with the mounts below it
  // bind read-only: recursively read-only ("", "enabled"), not ("disabled"), or fail ("force")
  std::string read_only_recursive;
  api::Strings tmpfs_options;  // tmpfs: as mount(8) writes them ("size=1m", "noexec")
  bool anonymous = false;      // volume made for this container without a name
  std::string subpath;         // volume: what of it is mounted, looked up beneath it; "": all
  std::string layer;           // image: the id of the layer through which it is mounted
};

// What one run of a container's healthcheck came to. Times in ns since the epoch.
struct HealthResult {
  int64_t start = 0, end = 0;
  int exit_code = 0;  // -1: it could not be run, or not in time
  std::string output;
};
struct Health {
  std::string status = "starting";  // starting healthy unhealthy
  int failing_streak = 0;
  std::vector<HealthResult> log;  // the last five
};

struct ContainerState {
  std::string status = "created";  // created running paused restarting removing exited dead
  int pid = 0;
  int exit_code = 0;
  bool oom_killed = false;
  std::string error;
  int64_t started_at = 0;  // ns since the epoch; 0: never
  int64_t finished_at = 0;
  std::string run;                // id of the current or last run
  bool manually_stopped = false;  // by stop or kill: `unless-stopped` leaves it so
  bool start_follows =
      false;  // stopped by `restart`: neither --rm nor the restart policy acts on its end
  int restart_count = 0;
  std::optional<Health> health;  // of a container with a healthcheck that was started

  // Between two runs: somebody will start it unless it is stopped first.
  bool between_runs() const {
    return status == "restarting" || (status == "exited" && start_follows);
  }
};

struct ContainerRecord {
  std::string id;
  std::string name;  // without the slash
  int64_t created = 0;
  std::string path;
  api::Strings args;
  api::ContainerConfig config;  // merged with the image's
  api::HostConfig host_config;
  std::map<std::string, api::EndpointSettings> networks;  // by name
  api::StringMap macs;                                    // of those, the ones that were asked for
  api::StringMap links;     // on the default network: alias -> id of the other container
  api::Strings link_hosts;  // what /etc/hosts says of them, as of the last start
  api::PortMap ports;       // as bound while it runs
  std::string sandbox_id, sandbox_key;
  std::string image_id;
  std::string graph_driver;
  RootfsSource rootfs;
  std::vector<MountPoint> mounts;
  std::string log_path;
  std::string platform = "linux";
  bool restart_unhealthy = false;  // as whoever created it asked by a label (daemon/health.h)
  ContainerState state;

  bool running() const { return state.status == "running" || state.status == "paused"; }
};

}  // namespace gantry::daemon

namespace gantry::json {

template <>
struct Schema<daemon::MountPoint> {
  using T = daemon::MountPoint;
  static constexpr Field fields[] = {
      field<&T::type>("type"),
      field<&T::name>("name", kOmitEmpty),
      field<&T::source>("source", kOmitEmpty),
      field<&T::destination>("destination"),
      field<&T::driver>("driver", kOmitEmpty),
      field<&T::mode>("mode", kOmitEmpty),
      field<&T::writable>("writable"),
      field<&T::propagation>("propagation", kOmitEmpty),
      field<&T::no_copy>("no_copy", kOmitEmpty),
      field<&T::recursive>("recursive"),
      field<&T::read_only_recursive>("read_only_recursive", kOmitEmpty),
      field<&T::tmpfs_options>("tmpfs_options", kOmitEmpty),
      field<&T::anonymous>("anonymous", kOmitEmpty),
      field<&T::subpath>("subpath", kOmitEmpty),
      field<&T::layer>("layer", kOmitEmpty)};
};
template <>
struct Schema<daemon::HealthResult> {
  using T = daemon::HealthResult;
  static constexpr Field fields[] = {field<&T::start>("start"), field<&T::end>("end"),
                                     field<&T::exit_code>("exit_code"),
                                     field<&T::output>("output", kOmitEmpty)};
};
template <>
struct Schema<daemon::Health> {
  using T = daemon::Health;
  static constexpr Field fields[] = {field<&T::status>("status"),
                                     field<&T::failing_streak>("failing_streak", kOmitEmpty),
                                     field<&T::log>("log", kOmitEmpty)};
};
template <>
struct Schema<daemon::ContainerState> {
  using T = daemon::ContainerState;
  static constexpr Field fields[] = {field<&T::status>("status"),
                                     field<&T::pid>("pid", kOmitEmpty),
                                     field<&T::exit_code>("exit_code"),
                                     field<&T::oom_killed>("oom_killed", kOmitEmpty),
                                     field<&T::error>("error", kOmitEmpty),
                                     field<&T::started_at>("started_at", kOmitEmpty),
                                     field<&T::finished_at>("finished_at", kOmitEmpty),
                                     field<&T::run>("run", kOmitEmpty),
                                     field<&T::manually_stopped>("manually_stopped", kOmitEmpty),
                                     field<&T::start_follows>("start_follows", kOmitEmpty),
                                     field<&T::restart_count>("restart_count", kOmitEmpty),
                                     field<&T::health>("health", kOmitEmpty)};
};
template <>
struct Schema<daemon::ContainerRecord> {
  using T = daemon::ContainerRecord;
  static constexpr Field fields[] = {field<&T::id>("id"),
                                     field<&T::name>("name"),
                                     field<&T::created>("created"),
                                     field<&T::path>("path"),
                                     field<&T::args>("args"),
                                     field<&T::config>("config"),
                                     field<&T::host_config>("host_config"),
                                     field<&T::networks>("networks"),
                                     field<&T::macs>("macs", kOmitEmpty),
                                     field<&T::links>("links", kOmitEmpty),
                                     field<&T::link_hosts>("link_hosts", kOmitEmpty),
                                     field<&T::ports>("ports"),
                                     field<&T::sandbox_id>("sandbox_id", kOmitEmpty),
                                     field<&T::sandbox_key>("sandbox_key", kOmitEmpty),
                                     field<&T::image_id>("image_id"),
                                     field<&T::graph_driver>("graph_driver"),
                                     field<&T::rootfs>("rootfs"),
                                     field<&T::mounts>("mounts"),
                                     field<&T::log_path>("log_path"),
                                     field<&T::platform>("platform"),
                                     field<&T::restart_unhealthy>("restart_unhealthy", kOmitEmpty),
                                     field<&T::state>("state")};
};

}  // namespace gantry::json

// Named directories that outlive containers: the `local` volume driver, its jobs and queries.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "daemon/api/container_config.h"
#include "daemon/container_record.h"
#include "engine/engine.h"

namespace gantry::daemon {

class Daemon;

struct VolumeCreate {
  static constexpr std::string_view kName = "volume.create";
  struct Input {
    std::string Name;    // "": a random 64-digit name
    std::string Driver;  // "" is local
    api::StringMap DriverOpts, Labels;
  };
  struct Output {
    json::object volume;  // as inspect shows it
  };
};
struct VolumeRemove {
  static constexpr std::string_view kName = "volume.remove";
  struct Input {
    std::string name;
    bool force = false;  // a volume that does not exist is no error
  };
  struct Output {
    bool ok = true;
  };
};
struct VolumePrune {
  static constexpr std::string_view kName = "volume.prune";
  struct Input {
    std::map<std::string, api::Strings> filters;
  };
  struct Output {
    api::Strings VolumesDeleted;
    int64_t SpaceReclaimed = 0;
  };
};

// Makes what is missing of a volume: directory, node, row. What is there stays as it is.
struct VolumeRestore {
  static constexpr std::string_view kName = "volume.restore";
  struct Input {
    std::string name;
  };
  using Output = engine::Nothing;
};

// A new volume with what another has now. Containers that run and use it are kept still meanwhile.
struct VolumeCopy {
  static constexpr std::string_view kName = "volume.copy";
  struct Input {
    std::string source;
    std::string Name;  // of the new one; "": made of the source's and the time
    bool snapshot = true;
  };
  using Output = VolumeCreate::Output;
};

// A volume gets what another one (a snapshot, usually) has, in place of what it had. No container
// that uses it may run.
struct VolumeRewind {
  static constexpr std::string_view kName = "volume.rewind";
  struct Input {
    std::string name, Snapshot;
  };
  using Output = engine::Nothing;
};

// Directories <data root>/volumes/NAME/_data; node kind volume, key the name; resource kind
// "volume-dir". Thread-safe.
class Volumes {
 public:
  // Registers the jobs above and the resource kind.
  explicit Volumes(Daemon& daemon);

  // {"Volumes": […], "Warnings": […]}; filters: name, label, driver, dangling.
  Result<json::object> list(const std::map<std::string, api::Strings>& filters) const;
  Result<json::object> inspect(const std::string& name) const;
  // The same objects as list(), each with its UsageData: how many containers use it, and the bytes
  // of its files, which are walked: not for an I/O thread.
  Result<json::array> usage() const;

  // ---- for container.create, inside its job
  std::string directory(const std::string& name) const;  // what a container mounts
  // The named volumes among `mounts` that do not exist yet.
  Result<api::Strings> missing(const std::vector<MountPoint>& mounts) const;
  engine::Resource intent(const std::string& name) const;
  Status make(const std::string& name) const;
  Status add_node(graph::Transaction& tx, const std::string& name, bool anonymous,
                  api::StringMap labels = {}) const;
  void created(const std::string& name) const;
  // The names of all volumes that have a directory, known to the graph or not.
  Result<api::Strings> on_disk() const;
  // Makes again, empty, the directories that the reconciler found gone, so that what uses such a
  // volume can start: a container's volumes are made without waiting for the disk, and a power cut
  // may leave the rows and not the directory.
  void make_good(const engine::ReconcileReport& report) const;
  // Docker's copy-up: an empty volume gets what the image has at its mount point. `rootfs` is the
  // container's, not running.
  Status copy_up(const std::vector<MountPoint>& mounts, const RootfsSource& rootfs) const;

 private:
  Result<VolumeCreate::Output> create(engine::JobContext& job, const VolumeCreate::Input& input);
  Result<VolumeRemove::Output> remove(engine::JobContext& job, const VolumeRemove::Input& input);
  Result<VolumePrune::Output> prune(engine::JobContext& job, const VolumePrune::Input& input);
  // ---- volume_copies.cc
  void register_copies();
  Result<VolumeCreate::Output> copy(engine::JobContext& job, const VolumeCopy::Input& input);
  Result<engine::Nothing> rewind(engine::JobContext& job, const VolumeRewind::Input& input);
  Result<api::Strings> users(const std::string& name) const;  // ids of containers
  Result<api::Strings> lock_with_users(engine::JobContext& job, const std::string& used,
                                       const std::string& other);

  Result<engine::Nothing> restore(engine::JobContext& job, const VolumeRestore::Input& input);

  Status sync(const std::string& name) const;  // to the disk, as the commit that follows it

  Daemon& daemon_;
};

}  // namespace gantry::daemon

namespace gantry::json {

template <>
struct Schema<daemon::VolumeCreate::Input> {
  using T = daemon::VolumeCreate::Input;
  static constexpr Field fields[] = {field<&T::Name>("Name"), field<&T::Driver>("Driver"),
                                     field<&T::DriverOpts>("DriverOpts"),
                                     field<&T::Labels>("Labels")};
};
template <>
struct Schema<daemon::VolumeCreate::Output> {
  static constexpr Field fields[] = {field<&daemon::VolumeCreate::Output::volume>("volume")};
};
template <>
struct Schema<daemon::VolumeRemove::Input> {
  using T = daemon::VolumeRemove::Input;
  static constexpr Field fields[] = {field<&T::name>("name"), field<&T::force>("force")};
};
template <>
struct Schema<daemon::VolumeRemove::Output> {
  static constexpr Field fields[] = {field<&daemon::VolumeRemove::Output::ok>("ok")};
};
template <>
struct Schema<daemon::VolumeCopy::Input> {
  using T = daemon::VolumeCopy::Input;
  static constexpr Field fields[] = {field<&T::source>("source"), field<&T::Name>("Name"),
                                     field<&T::snapshot>("snapshot")};
};
template <>
struct Schema<daemon::VolumeRewind::Input> {
  using T = daemon::VolumeRewind::Input;
  static constexpr Field fields[] = {field<&T::name>("name"), field<&T::Snapshot>("Snapshot")};
};
template <>
struct Schema<daemon::VolumeRestore::Input> {
  static constexpr Field fields[] = {field<&daemon::VolumeRestore::Input::name>("name")};
};
template <>
struct Schema<daemon::VolumePrune::Input> {
  static constexpr Field fields[] = {field<&daemon::VolumePrune::Input::filters>("filters")};
};
template <>
struct Schema<daemon::VolumePrune::Output> {
  using T = daemon::VolumePrune::Output;
  static constexpr Field fields[] = {field<&T::VolumesDeleted>("VolumesDeleted", kNullEmpty),
                                     field<&T::SpaceReclaimed>("SpaceReclaimed")};
};

}  // namespace gantry::json

// Named directories that outlive containers: the `local` volume driver, its jobs and queries.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "daemon/api/container_config.h"

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

class Volumes {
 public:
  explicit Volumes(Daemon& daemon);
  ~Volumes();

  // {"Volumes": […], "Warnings": […]}; filters: name, label, driver, dangling.
  Result<json::object> list(const std::map<std::string, api::Strings>& filters) const;
  Result<json::object> inspect(const std::string& name) const;
  // The directory that a container mounts; the volume must exist.
  Result<std::string> mountpoint(const std::string& name) const;

 private:
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

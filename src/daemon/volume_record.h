// What the graph keeps of a volume, and what plugins say of theirs. Private to daemon/volume*.cc.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "daemon/api/container_config.h"

namespace gantry::daemon {

struct VolumeRecord {
  api::StringMap labels, options;
  std::string driver = "local";  // or a plugin's name

  bool is_plain() const { return driver == "local" && options.empty(); }
};

// Each blocks. The Mountpoint and Status of a volume, as inspect shows them, into `shown`.
Status ask_plugin_of(const std::string& driver, const std::string& name, json::object& shown);
// A volume that some plugin has, as inspect shows it.
std::optional<json::object> find_by_plugins(const std::string& name);
// All of them; a plugin that does not answer is a warning.
std::vector<json::object> list_by_plugins(api::Strings& warnings);

}  // namespace gantry::daemon

template <>
struct gantry::json::Schema<gantry::daemon::VolumeRecord> {
  using T = gantry::daemon::VolumeRecord;
  static constexpr Field fields[] = {field<&T::labels>("labels"), field<&T::options>("options"),
                                     field<&T::driver>("driver")};
};

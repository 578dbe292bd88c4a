#include "drivers/graph/graph_driver.h"

#include <unistd.h>

#include "base/log.h"
#include "drivers/graph/layer_directories.h"

namespace gantry::drivers {
namespace {

struct DriverRow {
  std::string_view name;
  Result<std::shared_ptr<GraphDriver>> (*open)(const std::string& data_root);
};
// In order of preference.
constexpr DriverRow kDrivers[] = {
    {"erofs", open_erofs}, {"overlay2", open_overlay2}, {"vfs", open_vfs}};

}  // namespace

std::vector<std::string_view> graph_driver_names() {
  std::vector<std::string_view> names;
  for (const DriverRow& driver : kDrivers) names.push_back(driver.name);
  return names;
}

Result<std::shared_ptr<GraphDriver>> open_graph_driver(const std::string& name,
                                                       const std::string& data_root) {
  if (data_root.empty() || data_root.front() != '/' ||
      data_root.find_first_of(":,\\") != std::string::npos)
    return invalid("data root {}: must be absolute and without ':', ',' and '\\'", data_root);
  if (!name.empty()) {
    for (const DriverRow& driver : kDrivers)
      if (driver.name == name) return driver.open(data_root);
    return invalid("storage driver {} is not known: erofs, overlay2 and vfs are", name);
  }
  for (const DriverRow& driver : kDrivers) {
    Result<std::shared_ptr<GraphDriver>> opened = driver.open(data_root);
    if (opened || opened.error().kind() != ErrorKind::unsupported) return opened;
    log::info("{}; trying the next storage driver", opened.error().message());
  }
  return unsupported("no storage driver works on {}", data_root);
}

Result<LayerInfo> GraphDriver::apply(const LayerSpec& spec, ByteSource& tar) {
  if (!spec.parent.empty()) (void)TRY(layer(spec.parent));
  (void)TRY(ingest(spec.directory, tar));
  if (spec.accept) TRY(spec.accept());
  return publish({spec.chain_id, spec.diff_id, spec.parent, spec.directory});
}

Status sync(GraphDriver& driver) {
  if (::syncfs(driver.directories().fd()) == 0) return {};
  return errno_error(errno, "syncfs {}", driver.data_root());
}

}  // namespace gantry::drivers

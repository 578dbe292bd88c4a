#include "drivers/graph/graph_driver.h"
#include "drivers/graph/layer_directories.h"
#include "engine/resource.h"

namespace gantry::drivers {
namespace {

engine::Resource row(std::string_view kind, std::string name) {
  engine::Resource resource;
  resource.kind = kind;
  resource.name = std::move(name);
  return resource;
}

engine::ResourceKind layer_kind(std::shared_ptr<GraphDriver> driver) {
  engine::ResourceKind kind;
  kind.name = kLayerKind;
  kind.mode = engine::Release::deferred;
  kind.probe = [driver](const engine::Resource& resource) -> Result<engine::Presence> {
    return driver->directories().layer_exists(resource.name) ? engine::Presence::present
                                                             : engine::Presence::absent;
  };
  kind.release = [driver](const engine::Resource& resource) -> Status {
    TRY(driver->remove_layer(resource.name));
    return driver->directories().empty_trash(resource.name);
  };
  kind.enumerate = [driver]() -> Result<std::vector<engine::Resource>> {
    std::vector<engine::Resource> found;
    std::vector<std::string> names = TRY(driver->directories().all_layers());
    for (std::string& name : names) found.push_back(row(kLayerKind, std::move(name)));
    return found;
  };
  return kind;
}

engine::ResourceKind container_kind(std::shared_ptr<GraphDriver> driver) {
  engine::ResourceKind kind;
  kind.name = kContainerKind;
  kind.mode = engine::Release::deferred;
  kind.probe = [driver](const engine::Resource& resource) -> Result<engine::Presence> {
    return driver->directories().container_exists(resource.name) ? engine::Presence::present
                                                                 : engine::Presence::absent;
  };
  kind.release = [driver](const engine::Resource& resource) -> Status {
    TRY(driver->remove_container(resource.name));
    return driver->directories().empty_trash(resource.name);
  };
  kind.enumerate = [driver]() -> Result<std::vector<engine::Resource>> {
    std::vector<engine::Resource> found;
    std::vector<std::string> names = TRY(driver->directories().all_containers());
    for (std::string& name : names) found.push_back(row(kContainerKind, std::move(name)));
    return found;
  };
  return kind;
}

}  // namespace

Status register_resource_kinds(engine::Resources& resources, std::shared_ptr<GraphDriver> driver) {
  TRY(resources.add(layer_kind(driver)));
  return resources.add(container_kind(driver));
}

}  // namespace gantry::drivers

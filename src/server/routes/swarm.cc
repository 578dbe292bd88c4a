// What an Engine that is not part of a swarm, has no plugins and builds no images answers.
#include "server/routes.h"

namespace gantry::server {
namespace {

Status no_manager(Call&) {
  return Error(
      ErrorKind::unavailable,
      "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to "
      "connect this node to swarm and try again.");
}

Status no_member(Call&) {
  return Error(ErrorKind::unavailable, "This node is not part of a swarm");
}

Status no_swarm(Call&) { return unsupported("swarm mode is not supported"); }

Status no_plugins(Call& call) { return call.send(200, json::array()); }

Status no_managed_plugins(Call&) { return unsupported("managed plugins are not supported"); }

Status no_builder(Call&) {
  return unsupported("building images is not supported by this engine: build elsewhere and load");
}

Status no_cluster_volumes(Call&) {
  return unsupported("only cluster volumes can be updated, and swarm mode is not supported");
}

Status no_plugin(Call& call) { return not_found("plugin \"{}\" not found", call.name("name")); }

constexpr Route kRoutes[] = {
    {"GET", "/swarm", no_manager},
    {"GET", "/swarm/unlockkey", no_manager},
    {"POST", "/swarm/update", no_manager},
    {"POST", "/swarm/unlock", no_member},
    {"POST", "/swarm/leave", no_member},
    {"POST", "/swarm/init", no_swarm},
    {"POST", "/swarm/join", no_swarm},
    {"GET", "/nodes", no_manager},
    {"GET", "/nodes/{id}", no_manager},
    {"DELETE", "/nodes/{id}", no_manager},
    {"POST", "/nodes/{id}/update", no_manager},
    {"GET", "/services", no_manager},
    {"POST", "/services/create", no_manager},
    {"GET", "/services/{id}", no_manager},
    {"DELETE", "/services/{id}", no_manager},
    {"POST", "/services/{id}/update", no_manager},
    {"GET", "/services/{id}/logs", no_manager},
    {"GET", "/tasks", no_manager},
    {"GET", "/tasks/{id}", no_manager},
    {"GET", "/tasks/{id}/logs", no_manager},
    {"GET", "/secrets", no_manager},
    {"POST", "/secrets/create", no_manager},
    {"GET", "/secrets/{id}", no_manager},
    {"DELETE", "/secrets/{id}", no_manager},
    {"POST", "/secrets/{id}/update", no_manager},
    {"GET", "/configs", no_manager},
    {"POST", "/configs/create", no_manager},
    {"GET", "/configs/{id}", no_manager},
    {"DELETE", "/configs/{id}", no_manager},
    {"POST", "/configs/{id}/update", no_manager},
    {"GET", "/plugins", no_plugins},
    {"GET", "/plugins/{name...}/json", no_plugin},
    {"DELETE", "/plugins/{name...}", no_plugin},
    {"POST", "/plugins/{name...}/enable", no_plugin},
    {"POST", "/plugins/{name...}/disable", no_plugin},
    {"GET", "/plugins/privileges", no_managed_plugins},
    {"POST", "/plugins/pull", no_managed_plugins},
    {"POST", "/plugins/create", no_managed_plugins},
    {"POST", "/plugins/{name...}/upgrade", no_managed_plugins},
    {"POST", "/plugins/{name...}/push", no_managed_plugins},
    {"POST", "/plugins/{name...}/set", no_managed_plugins},
    {"PUT", "/volumes/{name}", no_cluster_volumes},
    {"POST", "/build", no_builder},
    {"POST", "/build/prune", no_builder},
    {"POST", "/session", no_builder},
};

}  // namespace

std::span<const Route> swarm_routes() { return kRoutes; }

}  // namespace gantry::server

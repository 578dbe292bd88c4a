// The tables of routes/*.cc, one per resource.
#pragma once

#include <span>

#include "server/router.h"

namespace gantry::server {

std::span<const Route> system_routes();
std::span<const Route> container_routes();
std::span<const Route> container_file_routes();
std::span<const Route> exec_routes();
std::span<const Route> image_routes();
std::span<const Route> volume_routes();
std::span<const Route> network_routes();
std::span<const Route> job_routes();
std::span<const Route> graph_routes();
std::span<const Route> swarm_routes();
#ifdef GANTRY_FAILPOINTS
std::span<const Route> failpoint_routes();
#endif

}  // namespace gantry::server

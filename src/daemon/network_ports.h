// Port bindings of the API ("80/tcp" -> [{HostIp, HostPort}]) as requests to the network driver.
#pragma once

#include <vector>

#include "base/result.h"
#include "daemon/api/container_config.h"
#include "drivers/network/network_types.h"

namespace gantry::daemon {

// Everything that is to be published: PortBindings, and with PublishAllPorts also the exposed ports
// that have none. Docker's words for what is wrong ("invalid port specification: …").
Result<std::vector<drivers::PortRequest>> read_port_requests(const api::ContainerConfig& config,
                                                             const api::HostConfig& host);

// As inspect shows them: what is published, and what is only exposed.
api::PortMap show_ports(const api::ContainerConfig& config,
                        const std::vector<drivers::PortMapping>& mappings);

}  // namespace gantry::daemon

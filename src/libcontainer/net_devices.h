// linux.netDevices (config-linux.md, "Network devices"): interfaces of the runtime's network
// namespace that become the container's.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "libcontainer/spec.h"

namespace gantry::libcontainer {

// Moves each device of the calling thread's network namespace into `netns`, under its new name,
// with the permanent addresses of global scope that it had, and sets it up. When the container's
// namespace ends, the kernel moves a physical device back to the host's and removes a virtual one.
// Errors name the field.
Status move_net_devices(const std::map<std::string, NetDevice>& devices, int netns);

}  // namespace gantry::libcontainer

// HostConfig.LogConfig and what the shim needs to know of it.
#pragma once

#include "base/result.h"
#include "daemon/api/container_config.h"
#include "runtime/shim/protocol.h"

namespace gantry::daemon {

// Checks driver and options with Docker's words ("logger: no log driver named 'x' is registered").
Status check_log_config(const api::LogConfig& config);
// For a checked configuration: where the shim writes and when it rotates. Bounded unless told
// otherwise: 10 MiB, three files.
shim::LogConfig shim_log_config(const api::LogConfig& config, const std::string& path,
                                const api::ContainerConfig& container);

}  // namespace gantry::daemon

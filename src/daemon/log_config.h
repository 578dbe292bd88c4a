// HostConfig.LogConfig and what the shim needs to know of it.
#pragma once

#include "base/result.h"
#include "daemon/api/container_config.h"
#include "daemon/container_record.h"
#include "drivers/log/log_driver.h"
#include "runtime/shim/protocol.h"

namespace gantry::daemon {

// The names of all drivers, sorted.
std::vector<std::string> log_driver_names();
// Checks driver and options with Docker's words ("logger: no log driver named 'x' is registered").
Status check_log_config(const api::LogConfig& config);
// For a checked configuration: where the shim writes and when it rotates. Bounded unless told
// otherwise: 10 MiB, three files; of a log that is sent elsewhere, as in Docker, 20 MB, five files.
shim::LogConfig shim_log_config(const ContainerRecord& record);
// `logs` can read it.
bool is_log_readable(const api::LogConfig& config);
drivers::LogSubject log_subject(const ContainerRecord& record);

}  // namespace gantry::daemon

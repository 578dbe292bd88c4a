// `gantry-registry serve`: from options to a registry that answers until it is told to stop.
#pragma once

#include <string>
#include <vector>

#include "registry_server/options.h"

namespace gantry::registry_server {

// `arguments` are read again at SIGHUP. Returns after SIGTERM or SIGINT, when the requests under
// way have ended (drain-timeout).
Status serve(const Options& options, const std::vector<std::string>& arguments);

// Below the store's root: where `gantry-registry gc` finds a registry that serves.
std::string admin_socket(const Options& options);

}  // namespace gantry::registry_server

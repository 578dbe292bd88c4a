// Listening sockets of the registry.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry::registry_server {

// "HOST:PORT" (every address of the name; ":5000" is all of the machine's), "unix:///PATH",
// "fd://" (what systemd passed). Errors: invalid, of bind and listen.
Result<std::vector<UniqueFd>> listen_on(const std::string& address);
// Where a socket listens, as people write it: "127.0.0.1:5000".
std::string address_of(int socket);

}  // namespace gantry::registry_server

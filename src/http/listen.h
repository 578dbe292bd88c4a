// Listening sockets for a Server, and the service manager's side of it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry::http {

inline constexpr int kListenBacklog = 4096;

// A socket for every address of the name; "" is all of the machine's. `what` names it in errors
// (invalid, of socket, bind and listen).
Result<std::vector<UniqueFd>> listen_tcp(const std::string& host, const std::string& port,
                                         const std::string& what);
// What the service manager passed (sd_listen_fds(3)); taken once. Errors: invalid.
Result<std::vector<UniqueFd>> passed_sockets();
// Tells the service manager (sd_notify(3)) when there is one.
void notify_service_manager(std::string_view state);

}  // namespace gantry::http

// Who has a port of the host: for messages about one that is taken. Sources: sock_diag(7),
// linux/inet_diag.h, proc(5).
#pragma once

#include <string>

#include "drivers/network/network_types.h"

namespace gantry::drivers {

// The process whose socket is in the way of a bind to address and port, as "nginx (pid 123)", in
// the network namespace of the calling thread. Empty when it cannot be told: the socket is the
// kernel's, or is gone again, or the process is in another pid namespace. Looks through all of
// /proc.
std::string holder_of_port(Protocol protocol, const IpAddress& address, uint16_t port);

}  // namespace gantry::drivers

// The rows of `ps`, out of the daemon's list. Pure functions.
#pragma once

#include "client/format/table.h"

namespace gantry::client {

enum class Truncate { yes, no };
Listing container_listing(const json::array& containers, Truncate truncate, int64_t now_ns);

// "0.0.0.0:8080->80/tcp, 443/tcp": consecutive ports of one mapping as a range.
std::string display_ports(const json::array& ports);

}  // namespace gantry::client

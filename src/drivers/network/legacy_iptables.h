// The kernel's older packet filter, which nf_tables does not see: read, never written. Sources:
// linux/netfilter_ipv4/ip_tables.h, linux/netfilter/x_tables.h.
#pragma once

#include <string>

#include "base/result.h"
#include "drivers/network/ip_address.h"

namespace gantry::drivers {

// Whether the chain FORWARD of its table `filter` drops by policy, and no rule of that chain
// accepts everything that comes in, and everything that goes out, by the interface `link`. Asked of
// the network namespace of the calling thread; false where that family's table is not in use.
Result<bool> legacy_forward_drops(IpFamily family, const std::string& link);

}  // namespace gantry::drivers

// What the kernel remembers of flows. A datagram's flow has no end that it would see: one that was
// there before its port was published (or was published for another container) would go on as
// before. Source: linux/netfilter/nfnetlink_conntrack.h.
#pragma once

#include <span>

#include "base/netlink.h"
#include "base/result.h"
#include "drivers/network/network_types.h"

namespace gantry::drivers {

// Makes the kernel forget the UDP flows to these published ports, in the network namespace of the
// (NETLINK_NETFILTER) socket. Others are not looked at, and without any nothing is asked.
Status forget_flows(NetlinkSocket& socket, std::span<const PortMapping> ports);

}  // namespace gantry::drivers

// Other firewalls' filters at the forward hook. An accept in our table cannot undo a drop in
// another, so where the chain `filter FORWARD` drops by policy (Docker, ufw), two tagged rules for
// each bridge at its head let the bridge's packets pass on to our own filter, which still decides.
// iptables-nft shows them as ordinary rules. Chains of other names, and what legacy iptables drops,
// are their owners': those are told of.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/netlink.h"
#include "base/result.h"

namespace gantry::drivers {

// Puts the rules for the bridges `links` where they are needed and missing, in one transaction a
// chain; idempotent. Returns how many chains needed them.
Result<int> pass_foreign_forward(NetlinkSocket& netfilter, const std::string& instance,
                                 std::span<const std::string> links);
// Takes them out again wherever they are; none there is success.
Status leave_foreign_forward(NetlinkSocket& netfilter, const std::string& instance,
                             const std::string& link);

// What keeps the packets of the bridge from being forwarded and cannot be mended from here, each as
// one line that says what does: chains of nf_tables that drop by policy, and legacy iptables, whose
// rules are looked at in the network namespace of the calling thread.
Result<std::vector<std::string>> forward_obstacles(NetlinkSocket& netfilter,
                                                   const std::string& link);

}  // namespace gantry::drivers

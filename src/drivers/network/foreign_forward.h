// Other firewalls' `filter FORWARD` chain. An accept in our table cannot undo a drop in another, so
// where that chain drops by policy (Docker, ufw), two tagged rules at its head let a bridge's
// packets pass on to our own filter, which still decides. iptables-nft shows them as ordinary
// rules. What legacy iptables drops is beyond nf_tables and cannot be mended from here.
#pragma once

#include <string>

#include "base/netlink.h"
#include "base/result.h"

namespace gantry::drivers {

// Puts the rules for the bridge `link` where they are needed and missing; idempotent. Returns how
// many chains needed them.
Result<int> pass_foreign_forward(NetlinkSocket& netfilter, const std::string& instance,
                                 const std::string& link);
// Takes them out again wherever they are; none there is success.
Status leave_foreign_forward(NetlinkSocket& netfilter, const std::string& instance,
                             const std::string& link);

}  // namespace gantry::drivers

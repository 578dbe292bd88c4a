#include "drivers/network/conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace gantry::drivers {

namespace {

uint16_t flow_message(uint16_t type) {
  return static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | type);
}

nfgenmsg flow_header(uint8_t family) {
  nfgenmsg out{};
  out.nfgen_family = family;
  out.version = NFNETLINK_V0;
  return out;
}

bool leads_to(const Attributes& tuple, IpFamily family, std::span<const PortMapping> ports) {
  const Attributes protocol = tuple.nested(CTA_TUPLE_PROTO);
  uint8_t number = 0;
  uint16_t port = 0;
  if (!protocol.read(CTA_PROTO_NUM, number) || number != IPPROTO_UDP) return false;
  if (!protocol.read(CTA_PROTO_DST_PORT, port)) return false;
  const std::string_view raw =
      tuple.nested(CTA_TUPLE_IP).find(family == IpFamily::v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST);
  if (raw.size() != (family == IpFamily::v4 ? 4u : 16u)) return false;
  const IpAddress to = IpAddress::from_bytes(family, raw.data());
  return std::any_of(ports.begin(), ports.end(), [&](const PortMapping& mapping) {
    return mapping.protocol == Protocol::udp && mapping.host_port == ntohs(port) &&
           mapping.host_ip.family() == family &&
           (mapping.host_ip.is_unspecified() || mapping.host_ip == to);
  });
}

}  // namespace

Status forget_flows(NetlinkSocket& socket, std::span<const PortMapping> ports) {
  std::set<IpFamily> families;
  for (const PortMapping& mapping : ports)
    if (mapping.protocol == Protocol::udp) families.insert(mapping.host_ip.family());
  for (const IpFamily family : families) {
    const uint8_t number = family == IpFamily::v4 ? AF_INET : AF_INET6;
    std::vector<std::string> tuples;
    NetlinkBatch list;
    list.begin(flow_message(IPCTNL_MSG_CT_GET), 0, flow_header(number), "list flows");
    Status listed = socket.dump(
        list,
        [&](const nlmsghdr& entry) {
          const Attributes attributes = attributes_of<nfgenmsg>(entry);
          if (leads_to(attributes.nested(CTA_TUPLE_ORIG), family, ports))
            tuples.emplace_back(attributes.find(CTA_TUPLE_ORIG));
        },
        [&] { tuples.clear(); });
    if (!listed && listed.error().code() == EINVAL) return {};  // the kernel keeps none
    TRY(std::move(listed));
    for (const std::string& tuple : tuples) {
      NetlinkBatch forget;
      forget.begin(flow_message(IPCTNL_MSG_CT_DELETE), 0, flow_header(number), "forget a flow");
      forget.put(CTA_TUPLE_ORIG | NLA_F_NESTED, tuple.data(), tuple.size());
      Status gone = socket.transact(forget);
      if (!gone && gone.error().code() != ENOENT) return gone;  // it may have ended by itself
    }
  }
  return {};
}

}  // namespace gantry::drivers

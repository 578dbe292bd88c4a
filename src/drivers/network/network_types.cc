#include "drivers/network/network_types.h"

namespace gantry::drivers {

std::string_view to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::tcp:
      return "tcp";
    case Protocol::udp:
      return "udp";
    case Protocol::sctp:
      return "sctp";
  }
  return "unknown";
}

Result<Protocol> parse_protocol(std::string_view text) {
  for (Protocol protocol : {Protocol::tcp, Protocol::udp, Protocol::sctp})
    if (text == to_string(protocol)) return protocol;
  return invalid("invalid proto: {}", text);
}

const IpamPool* NetworkConfig::pool(IpFamily family) const {
  for (const IpamPool& candidate : pools)
    if (candidate.subnet.family() == family) return &candidate;
  return nullptr;
}

}  // namespace gantry::drivers

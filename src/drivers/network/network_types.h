// What the daemon and the network drivers say to each other: networks, endpoints, ports. Plain
// values with JSON schemas, so that the daemon keeps them in its graph and in resource rows as they
// are.
//
// Vocabulary. A *network* is something containers are connected to. An *endpoint* is one
// container's connection to one network: an interface in the container's network namespace with its
// addresses, and the ports published through it. A *sandbox* is the container's network namespace
// itself (made by the shim).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "drivers/network/ip_address.h"

namespace gantry::drivers {

enum class Protocol : uint8_t { tcp = 6, udp = 17, sctp = 132 };  // IPPROTO_*
std::string_view to_string(Protocol protocol);                    // "tcp"
Result<Protocol> parse_protocol(std::string_view text);

// One subnet of a network.
struct IpamPool {
  Cidr subnet;
  std::optional<Cidr> range;  // addresses are handed out from here only; the whole subnet if unset
  std::optional<IpAddress> gateway;            // the bridge's own address
  std::map<std::string, IpAddress> auxiliary;  // never handed out
  bool chosen = false;  // the subnet is from the address pools, not what somebody asked for
};

struct NetworkConfig {
  std::string id;
  std::string name;
  std::string driver = "bridge";
  bool ipv4 = true;
  bool ipv6 = false;
  bool internal = false;
  std::vector<IpamPool> pools;                 // complete after plan_network
  std::map<std::string, std::string> options;  // com.docker.network.*
  std::map<std::string, std::string> labels;   // data only

  const IpamPool* pool(IpFamily family) const;
};

// A port to publish, as asked for: host_port 0 with host_port_end 0 means "any free port"; a range
// with host_port < host_port_end means "the first free port of the range".
struct PortRequest {
  Protocol protocol = Protocol::tcp;
  uint16_t container_port = 0;
  std::optional<IpAddress> host_ip;  // unset: every address of the host (both families)
  uint16_t host_port = 0;
  uint16_t host_port_end = 0;
};

// A port as published.
struct PortMapping {
  Protocol protocol = Protocol::tcp;
  uint16_t container_port = 0;
  IpAddress host_ip;  // 0.0.0.0 and :: for every address
  uint16_t host_port = 0;
  // The network is routed: nothing is bound on the host; `host_ip` is the container's address and
  // `host_port` the container's port, which the outside may reach.
  bool routed = false;
};

struct EndpointRequest {
  std::string container_id;
  std::string endpoint_id;        // base's new_id()
  std::optional<IpAddress> ipv4;  // wanted addresses; unset: the next free one
  std::optional<IpAddress> ipv6;
  std::vector<IpAddress> link_local;  // further ones, 169.254.0.0/16 and fe80::/10
  std::optional<std::string> mac;
  // Names that interfaces of the container have: what is not asked for by an option is the driver's
  // prefix and the first number that is free.
  std::vector<std::string> taken_names;
  bool default_route4 = true;  // this endpoint carries the container's default route
  bool default_route6 = true;
  std::vector<PortRequest> ports;
  std::map<std::string, std::string> options;  // per-endpoint driver options
};

// An endpoint as planned, and as it is when joined. Everything needed to release it is in here.
struct Endpoint {
  std::string id;
  std::string network_id;
  std::string container_id;
  std::string interface_name;  // empty: the driver makes no interface (host, none)
  std::string host_interface;  // host end of the veth pair; unique on the host
  std::string mac;
  std::optional<Cidr> ipv4;  // address with the subnet's prefix length
  std::optional<Cidr> ipv6;
  std::vector<Cidr> link_local;
  std::optional<IpAddress> gateway4;  // set: the default route goes through it
  std::optional<IpAddress> gateway6;
  std::vector<PortMapping> ports;
  std::map<std::string, std::string> options;
};

}  // namespace gantry::drivers

namespace gantry::json {
template <>
struct CodecOf<drivers::Protocol> {
  static Status decode(void* out, const value& in) {
    std::string text;
    TRY(decode_string(text, in));
    if (in.is_null()) return {};
    *static_cast<drivers::Protocol*>(out) = TRY(drivers::parse_protocol(text));
    return {};
  }
  static value encode(const void* in) {
    return value(
        boost::json::string(drivers::to_string(*static_cast<const drivers::Protocol*>(in))));
  }
  static bool empty(const void*) { return false; }
};
template <>
struct Schema<drivers::IpamPool> {
  static constexpr Field fields[] = {
      field<&drivers::IpamPool::subnet>("subnet"),
      field<&drivers::IpamPool::range>("range", kOmitEmpty),
      field<&drivers::IpamPool::gateway>("gateway", kOmitEmpty),
      field<&drivers::IpamPool::auxiliary>("auxiliary", kOmitEmpty),
      field<&drivers::IpamPool::chosen>("chosen", kOmitEmpty),
  };
};
template <>
struct Schema<drivers::NetworkConfig> {
  static constexpr Field fields[] = {
      field<&drivers::NetworkConfig::id>("id"),
      field<&drivers::NetworkConfig::name>("name"),
      field<&drivers::NetworkConfig::driver>("driver"),
      field<&drivers::NetworkConfig::ipv4>("ipv4"),
      field<&drivers::NetworkConfig::ipv6>("ipv6"),
      field<&drivers::NetworkConfig::internal>("internal", kOmitEmpty),
      field<&drivers::NetworkConfig::pools>("pools", kOmitEmpty),
      field<&drivers::NetworkConfig::options>("options", kOmitEmpty),
      field<&drivers::NetworkConfig::labels>("labels", kOmitEmpty),
  };
};
template <>
struct Schema<drivers::PortRequest> {
  static constexpr Field fields[] = {
      field<&drivers::PortRequest::protocol>("protocol"),
      field<&drivers::PortRequest::container_port>("container_port"),
      field<&drivers::PortRequest::host_ip>("host_ip", kOmitEmpty),
      field<&drivers::PortRequest::host_port>("host_port", kOmitEmpty),
      field<&drivers::PortRequest::host_port_end>("host_port_end", kOmitEmpty),
  };
};
template <>
struct Schema<drivers::PortMapping> {
  static constexpr Field fields[] = {
      field<&drivers::PortMapping::protocol>("protocol"),
      field<&drivers::PortMapping::container_port>("container_port"),
      field<&drivers::PortMapping::host_ip>("host_ip"),
      field<&drivers::PortMapping::host_port>("host_port"),
      field<&drivers::PortMapping::routed>("routed", kOmitEmpty),
  };
};
template <>
struct Schema<drivers::EndpointRequest> {
  static constexpr Field fields[] = {
      field<&drivers::EndpointRequest::container_id>("container_id"),
      field<&drivers::EndpointRequest::endpoint_id>("endpoint_id"),
      field<&drivers::EndpointRequest::ipv4>("ipv4", kOmitEmpty),
      field<&drivers::EndpointRequest::ipv6>("ipv6", kOmitEmpty),
      field<&drivers::EndpointRequest::mac>("mac", kOmitEmpty),
      field<&drivers::EndpointRequest::link_local>("link_local", kOmitEmpty),
      field<&drivers::EndpointRequest::taken_names>("taken_names", kOmitEmpty),
      field<&drivers::EndpointRequest::default_route4>("default_route4"),
      field<&drivers::EndpointRequest::default_route6>("default_route6"),
      field<&drivers::EndpointRequest::ports>("ports", kOmitEmpty),
      field<&drivers::EndpointRequest::options>("options", kOmitEmpty),
  };
};
template <>
struct Schema<drivers::Endpoint> {
  static constexpr Field fields[] = {
      field<&drivers::Endpoint::id>("id"),
      field<&drivers::Endpoint::network_id>("network_id"),
      field<&drivers::Endpoint::container_id>("container_id"),
      field<&drivers::Endpoint::interface_name>("interface_name", kOmitEmpty),
      field<&drivers::Endpoint::host_interface>("host_interface", kOmitEmpty),
      field<&drivers::Endpoint::mac>("mac", kOmitEmpty),
      field<&drivers::Endpoint::ipv4>("ipv4", kOmitEmpty),
      field<&drivers::Endpoint::ipv6>("ipv6", kOmitEmpty),
      field<&drivers::Endpoint::gateway4>("gateway4", kOmitEmpty),
      field<&drivers::Endpoint::gateway6>("gateway6", kOmitEmpty),
      field<&drivers::Endpoint::link_local>("link_local", kOmitEmpty),
      field<&drivers::Endpoint::ports>("ports", kOmitEmpty),
      field<&drivers::Endpoint::options>("options", kOmitEmpty),
  };
};
}  // namespace gantry::json

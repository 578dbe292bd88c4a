// What the drivers of one instance share. Not an interface: the parts are used directly.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "base/netlink.h"
#include "base/result.h"
#include "drivers/network/firewall.h"
#include "drivers/network/host_ports.h"
#include "drivers/network/ipam.h"
#include "drivers/network/network_system.h"

namespace gantry::drivers {

// A rtnetlink socket and the lock that goes with it.
class LockedNetlink {
 public:
  static Result<LockedNetlink> open() {
    NetlinkSocket socket = TRY(NetlinkSocket::open(NETLINK_ROUTE));
    return LockedNetlink(std::move(socket));
  }
  template <typename Call>
  auto with(Call&& call) {
    std::lock_guard lock(*mutex_);
    return call(socket_);
  }

 private:
  explicit LockedNetlink(NetlinkSocket socket) : socket_(std::move(socket)) {}
  std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();
  NetlinkSocket socket_;
};

struct NetworkServices {
  NetworkOptions options;
  Ipam ipam;
  HostPorts ports;
  std::unique_ptr<Firewall> firewall;  // null: left to the administrator
  LockedNetlink links;
  LockedNetlink
      removals;  // deleting a link takes the kernel milliseconds: nobody else waits for it here

  const std::string& instance() const { return options.instance_id; }
  // The alias that marks a link as ours, and whose it is.
  std::string alias(std::string_view owner) const {
    return "gantry:" + instance() + ":" + std::string(owner);
  }
  // Datagrams to these ports go where they lead now.
  Status forget_flows(std::span<const PortMapping> mappings) const;
  // The host's end of an endpoint: unique on the host.
  std::string link_name(const std::string& endpoint_id) const {
    return "gv" + instance().substr(0, 4) + endpoint_id.substr(0, 9);
  }
};

// The data of rows.
struct PortRow {  // net.port, named "tcp/0.0.0.0:8080"
  PortMapping mapping;
  IpAddress to;
  std::string container_id;
  PortRule rule() const {
    return {
        mapping.protocol,           mapping.host_ip, mapping.host_port, to, mapping.container_port,
        container_id.substr(0, 12), mapping.routed};
  }
};
struct BridgeRow {  // net.bridge, named as the link
  std::string network_id;
  bool masquerade = true;
  bool internal = false;
  bool icc = true;
  std::vector<Cidr> subnets;
  bool routed4 = false, routed6 = false;
};
struct SysctlRow {  // net.sysctl, named "NETWORK ID/net.ipv4.ip_forward"
  std::string old;
};
std::string port_row_name(const PortMapping& mapping);
std::string address_row_name(const std::string& network_id, const IpAddress& address);

// Network sysctls, of the calling thread's network namespace: "net.ipv4.ip_forward", or, where a
// part has dots of its own, "net/ipv4/conf/eth0.5/forwarding".
Result<std::string> read_sysctl(const std::string& name);
Status write_sysctl(const std::string& name, std::string_view value);

}  // namespace gantry::drivers

namespace gantry::json {
template <>
struct Schema<drivers::PortRow> {
  static constexpr Field fields[] = {field<&drivers::PortRow::mapping>("mapping"),
                                     field<&drivers::PortRow::to>("to"),
                                     field<&drivers::PortRow::container_id>("container_id")};
};
template <>
struct Schema<drivers::BridgeRow> {
  static constexpr Field fields[] = {field<&drivers::BridgeRow::network_id>("network_id"),
                                     field<&drivers::BridgeRow::masquerade>("masquerade"),
                                     field<&drivers::BridgeRow::internal>("internal"),
                                     field<&drivers::BridgeRow::icc>("icc"),
                                     field<&drivers::BridgeRow::subnets>("subnets"),
                                     field<&drivers::BridgeRow::routed4>("routed4", kOmitEmpty),
                                     field<&drivers::BridgeRow::routed6>("routed6", kOmitEmpty)};
};
template <>
struct Schema<drivers::SysctlRow> {
  static constexpr Field fields[] = {field<&drivers::SysctlRow::old>("old")};
};
}  // namespace gantry::json

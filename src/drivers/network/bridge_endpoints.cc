// The endpoints of bridge networks.
#include <algorithm>

#include "base/failpoint.h"
#include "drivers/network/bridge_driver.h"
#include "drivers/network/endpoint_options.h"

namespace gantry::drivers {

namespace {

// With br_netfilter the bridge itself translates what a container sends to a published port of its
// own network, and then must send it out of the port it came from.
bool bridge_netfilter_active() {
  auto value = read_sysctl("net.bridge.bridge-nf-call-iptables");
  return value && *value != "0";
}

}  // namespace

Status BridgeDriver::plan_ports(const NetworkConfig& network, const EndpointRequest& request,
                                EndpointPlan& plan) {
  if (network.internal || request.ports.empty())
    return {};  // as Docker: nothing is published there
  if (!services_->firewall)
    return unsupported(
        "ports cannot be published: the daemon was told to leave the firewall alone "
        "(--iptables=false)");
  const BridgeSettings settings = TRY(BridgeSettings::read(network));
  Endpoint& endpoint = plan.endpoint;
  using Mode = BridgeSettings::Mode;
  for (const PortRequest& port : request.ports) {
    std::vector<IpAddress> host_ips;
    for (const auto& address : {endpoint.ipv4, endpoint.ipv6}) {
      const bool wanted = address && (!port.host_ip || port.host_ip->family() == address->family());
      if (wanted && settings.mode(address->family()) == Mode::routed)
        endpoint.ports.push_back(
            {port.protocol, port.container_port, address->address(), port.container_port, true});
    }
    if (port.host_ip) {
      host_ips.push_back(*port.host_ip);
    } else {
      const auto& daemons = services_->options.default_host_ip;
      auto own4 = settings.host_ip4, own6 = settings.host_ip6;
      if (daemons && !(daemons->is_v4() ? own4 : own6)) (daemons->is_v4() ? own4 : own6) = daemons;
      if (endpoint.ipv4) host_ips.push_back(own4.value_or(IpAddress::v4(0)));
      // A network or a daemon that listens on one IPv4 address does not listen on all of IPv6.
      const bool any4 = !own4 || own4->is_unspecified();
      if (endpoint.ipv6 && (own6 || any4 || !endpoint.ipv4))
        host_ips.push_back(own6.value_or(IpAddress::from_number(IpFamily::v6, 0)));
    }
    std::erase_if(host_ips, [&](const IpAddress& address) {
      return settings.mode(address.family()) == Mode::routed;
    });
    if (host_ips.empty()) continue;
    for (const IpAddress& host_ip : host_ips) {
      if (host_ip.is_v4() ? !endpoint.ipv4 : !endpoint.ipv6)
        return invalid("cannot publish {} on {}: network {} has no {}", port.container_port,
                       host_ip.to_string(), network.name, host_ip.is_v4() ? "IPv4" : "IPv6");
    }
    const std::string target = endpoint.ipv4 ? endpoint.ipv4->address().to_string()
                                             : "[" + endpoint.ipv6->address().to_string() + "]";
    for (PortMapping& mapping : TRY(services_->ports.reserve(port, host_ips, target)))
      endpoint.ports.push_back(std::move(mapping));
  }
  for (const PortMapping& mapping : endpoint.ports) {
    const PortRow row{mapping,
                      mapping.host_ip.is_v4() ? endpoint.ipv4->address() : endpoint.ipv6->address(),
                      request.container_id};
    plan.rows.push_back(
        {"net.port", port_row_name(mapping), "container:" + request.container_id, json::dump(row)});
  }
  return {};
}

bool BridgeDriver::has_gateway(const NetworkConfig& network, IpFamily family) const {
  return !network.internal && network.pool(family) != nullptr;
}

Result<EndpointPlan> BridgeDriver::plan_endpoint(const NetworkConfig& network,
                                                 EndpointRequest request) {
  const BridgeSettings settings = TRY(BridgeSettings::read(network));
  const EndpointOptions options = TRY(EndpointOptions::read(request.options));
  EndpointPlan plan;
  Endpoint& endpoint = plan.endpoint;
  endpoint.id = request.endpoint_id;
  endpoint.network_id = network.id;
  endpoint.container_id = request.container_id;
  endpoint.interface_name =
      TRY(choose_interface_name(options, settings.interface_prefix, request.taken_names));
  endpoint.host_interface = services_->link_name(request.endpoint_id);
  endpoint.link_local = TRY(link_local_addresses(request.link_local));
  endpoint.options = request.options;
  const std::string owner = "container:" + request.container_id;

  // Gives back what has been chosen by then, whichever step fails.
  struct Chosen {
    std::vector<IpAddress> addresses;
    std::vector<PortMapping> ports;
  };
  auto chosen = std::make_shared<Chosen>();
  plan.reservation = Reservation([this, chosen, id = network.id] {
    for (const IpAddress& address : chosen->addresses) services_->ipam.release(id, address);
    for (const PortMapping& mapping : chosen->ports) services_->ports.release(mapping);
  });

  for (const IpFamily family : {IpFamily::v4, IpFamily::v6}) {
    const bool v4 = family == IpFamily::v4;
    const auto& wanted = v4 ? request.ipv4 : request.ipv6;
    if (v4 ? !network.ipv4 : !network.ipv6) {
      if (wanted) return invalid("network {} has no {}", network.name, v4 ? "IPv4" : "IPv6");
      continue;
    }
    TRY(failpoint("network.address"));
    const IpAddress address = TRY(services_->ipam.allocate(network, family, wanted));
    chosen->addresses.push_back(address);
    TRY(failpoint("network.address.allocated"));
    const auto pool = std::find_if(network.pools.begin(), network.pools.end(),
                                   [&](const IpamPool& p) { return p.subnet.contains(address); });
    (v4 ? endpoint.ipv4 : endpoint.ipv6) = Cidr(address, pool->subnet.prefix());
    if ((v4 ? request.default_route4 : request.default_route6) && has_gateway(network, family))
      (v4 ? endpoint.gateway4 : endpoint.gateway6) = pool->gateway;
    plan.rows.push_back({"net.address", address_row_name(network.id, address), owner, "{}"});
  }
  if (request.mac) {
    endpoint.mac = format_mac(TRY(parse_mac(*request.mac)));
  } else {
    // Without IPv4 the low bytes of the IPv6 address do as well.
    endpoint.mac = format_mac(mac_from_ipv4(IpAddress::v4(static_cast<uint32_t>(
        (endpoint.ipv4 ? endpoint.ipv4 : endpoint.ipv6)->address().number()))));
  }
  plan.rows.push_back({"net.veth", endpoint.host_interface, owner, "{}"});
  TRY(failpoint("network.ports"));
  Status ports = plan_ports(network, request, plan);
  chosen->ports = endpoint.ports;
  if (!ports) return std::move(ports).error();
  TRY(failpoint("network.ports.reserved"));
  return plan;
}

std::vector<PortRule> BridgeDriver::port_rules(const Endpoint& endpoint) const {
  std::vector<PortRule> rules;
  for (const PortMapping& mapping : endpoint.ports) {
    const auto& to = mapping.host_ip.is_v4() ? endpoint.ipv4 : endpoint.ipv6;
    if (to) rules.push_back(PortRow{mapping, to->address(), endpoint.container_id}.rule());
  }
  return rules;
}

Result<int> BridgeDriver::bridge_index(const NetworkConfig& network,
                                       const BridgeSettings& settings) {
  {
    std::lock_guard lock(mutex_);
    const auto known = indexes_.find(settings.link);
    if (known != indexes_.end()) return known->second;
  }
  TRY(create_network(network));
  std::lock_guard lock(mutex_);
  return indexes_[settings.link];
}

Status BridgeDriver::join(const NetworkConfig& network, const Endpoint& endpoint, int netns) {
  const BridgeSettings settings = TRY(BridgeSettings::read(network));
  VethSpec spec;
  spec.name = endpoint.host_interface;
  spec.alias = services_->alias(endpoint.id);
  spec.mtu = settings.mtu;
  spec.isolation = settings.icc ? VethSpec::Isolation::none : VethSpec::Isolation::isolated;
  spec.hairpin = bridge_netfilter_active() ? VethSpec::Hairpin::on : VethSpec::Hairpin::off;
  spec.peer_name = endpoint.interface_name;
  spec.peer_mac = TRY(parse_mac(endpoint.mac));
  spec.netns_fd = netns;
  spec.bridge_index = TRY(bridge_index(network, settings));

  TRY(failpoint("network.veth"));
  const auto create = [&](NetlinkSocket& socket) { return create_veth(socket, spec); };
  auto peer = services_->links.with(create);
  if (!peer && (peer.error().code() == ENODEV || peer.error().code() == EINVAL)) {
    // Somebody deleted the bridge: make it again, once.
    TRY(services_->links.with([&](NetlinkSocket& s) { return delete_link(s, spec.name); }));
    TRY(create_network(network));
    spec.bridge_index = TRY(bridge_index(network, settings));
    peer = services_->links.with(create);
  }
  InterfaceSetup setup;
  setup.index = TRY(std::move(peer));
  setup.ipv4 = endpoint.ipv4;
  setup.ipv6 = endpoint.ipv6;
  setup.more = endpoint.link_local;
  setup.gateway4 = endpoint.gateway4;
  setup.gateway6 = endpoint.gateway6;
  TRY(failpoint("network.configure"));
  NetlinkSocket inside = TRY(NetlinkSocket::open_in(NETLINK_ROUTE, netns));
  const std::string what = fmt::format("interface {} of container {}", endpoint.interface_name,
                                       endpoint.container_id.substr(0, 12));
  TRY(configure_interface(inside, setup).context("{}", what));
  const EndpointOptions options = TRY(EndpointOptions::read(endpoint.options));
  TRY(apply_sysctls(options, endpoint.interface_name, netns).context("{}", what));
  // The host end has its carrier by now; with the first port, so will the bridge.
  TRY(services_->links.with([&](NetlinkSocket& s) {
    return settle_links(s, {endpoint.host_interface, settings.link});
  }));
  TRY(failpoint("network.publish"));
  if (services_->firewall) {
    TRY(services_->firewall->publish(port_rules(endpoint)));
    TRY(services_->forget_flows(endpoint.ports));
  }
  return failpoint("network.published");
}

Status BridgeDriver::leave(const NetworkConfig&, const Endpoint& endpoint) {
  if (services_->firewall) return services_->firewall->unpublish(port_rules(endpoint));
  return {};
}

Status BridgeDriver::adopt(const NetworkConfig& network, const Endpoint& endpoint) {
  for (const auto& address : {endpoint.ipv4, endpoint.ipv6})
    if (address) services_->ipam.restore(network.id, address->address());
  for (const PortMapping& mapping : endpoint.ports) services_->ports.restore(mapping);
  if (services_->firewall) return services_->firewall->publish(port_rules(endpoint));
  return {};
}

}  // namespace gantry::drivers

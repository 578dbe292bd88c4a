#include "drivers/network/network_system.h"

#include "base/log.h"
#include "drivers/network/bridge_driver.h"
#include "drivers/network/link.h"
#include "drivers/network/services.h"

namespace gantry::drivers {

namespace {

// The container shares the host's network, or has nothing but its loopback: the exec driver does
// all there is to do when it makes, or does not make, the namespace. Here remain the checks.
class PlainDriver : public NetworkDriver {
 public:
  enum class Kind { host, none };
  explicit PlainDriver(Kind kind) : kind_(kind) {}

  std::string_view name() const override { return kind_ == Kind::host ? "host" : "null"; }
  Result<NetworkPlan> plan_network(NetworkConfig wanted) override {
    if (!wanted.pools.empty() || wanted.ipv6)
      return invalid("network driver {} takes no addresses", name());
    NetworkPlan plan;
    plan.network = std::move(wanted);
    return plan;
  }
  Status create_network(const NetworkConfig&) override { return {}; }
  Status remove_network(const NetworkConfig&) override { return {}; }
  void forget_network(const NetworkConfig&) override {}
  // Ports are not published: on the host they are open already, elsewhere nobody comes (as Docker).
  Result<EndpointPlan> plan_endpoint(const NetworkConfig& network,
                                     EndpointRequest request) override {
    if (request.ipv4 || request.ipv6)
      return invalid(
          "user specified IP address is supported only when connecting to networks with user "
          "configured subnets");
    EndpointPlan plan;
    plan.endpoint.id = request.endpoint_id;
    plan.endpoint.network_id = network.id;
    plan.endpoint.container_id = request.container_id;
    return plan;
  }
  bool has_gateway(const NetworkConfig&, IpFamily) const override { return false; }
  Status join(const NetworkConfig&, const Endpoint&, int netns) override {
    if (kind_ == Kind::host) return {};
    NetlinkSocket inside = TRY(NetlinkSocket::open_in(NETLINK_ROUTE, netns));
    return set_loopback_up(inside);
  }
  Status leave(const NetworkConfig&, const Endpoint&) override { return {}; }
  Status adopt(const NetworkConfig&, const Endpoint&) override { return {}; }

 private:
  const Kind kind_;
};

}  // namespace

struct NetworkSystem::Parts {
  NetworkServices services;
  BridgeDriver bridge{services};
  PlainDriver host{PlainDriver::Kind::host};
  PlainDriver none{PlainDriver::Kind::none};
};

NetworkSystem::NetworkSystem(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
NetworkSystem::~NetworkSystem() = default;

Result<std::unique_ptr<NetworkSystem>> NetworkSystem::open(NetworkOptions options) {
  if (options.instance_id.size() < 12) return internal("the instance's id is too short for names");
  LockedNetlink links = TRY(LockedNetlink::open());
  LockedNetlink removals = TRY(LockedNetlink::open());
  std::unique_ptr<Firewall> firewall;
  if (options.manage_firewall) firewall = TRY(Firewall::open(options.instance_id));
  std::unique_ptr<Parts> parts(new Parts{
      .services = {
          std::move(options), {}, {}, std::move(firewall), std::move(links), std::move(removals)}});
  return std::unique_ptr<NetworkSystem>(new NetworkSystem(std::move(parts)));
}

Result<NetworkDriver*> NetworkSystem::driver(std::string_view name) {
  if (name == "bridge") return &parts_->bridge;
  if (name == "host") return &parts_->host;
  if (name == "none" || name == "null") return &parts_->none;
  return not_found("could not find plugin {} in v1 plugin registry: plugin not found", name);
}

NetworkConfig NetworkSystem::default_network(const DefaultBridge& bridge) const {
  NetworkConfig config;
  config.name = "bridge";
  config.driver = "bridge";
  const auto text = [](bool on) { return std::string(on ? "true" : "false"); };
  config.options = {
      {"com.docker.network.bridge.default_bridge", "true"},
      {"com.docker.network.bridge.enable_icc", text(bridge.icc)},
      {"com.docker.network.bridge.enable_ip_masquerade", text(bridge.masquerade)},
      {"com.docker.network.bridge.host_binding_ipv4",
       parts_->services.options.default_host_ip.value_or(IpAddress::v4(0)).to_string()},
      {"com.docker.network.bridge.name", bridge.link},
      {"com.docker.network.driver.mtu", std::to_string(bridge.mtu)}};
  if (bridge.bip) {
    IpamPool pool;
    pool.subnet = bridge.bip->network();
    pool.gateway = bridge.bip->address();
    pool.range = bridge.fixed_cidr;
    config.pools.push_back(std::move(pool));
  }
  return config;
}

namespace {

using engine::Presence;
using engine::Resource;
using engine::ResourceKind;

Presence present_if(bool there) { return there ? Presence::present : Presence::absent; }

ResourceKind bridge_kind(NetworkServices* services, BridgeDriver* bridge) {
  // Deferred, so that the bridge goes only when the transaction that forgets the network is on
  // disk.
  ResourceKind kind{.name = "net.bridge", .mode = engine::Release::deferred};
  kind.probe = [=](const Resource& row) { return bridge->probe_bridge(row.name); };
  kind.release = [=](const Resource& row) -> Status {
    TRY(bridge->release_bridge(row.name));
    const BridgeRow data = TRY(json::parse<BridgeRow>(row.data));
    services->ipam.release_network(data.network_id);  // of one that was planned and never made, too
    return {};
  };
  return kind;
}

ResourceKind veth_kind(NetworkServices* services) {
  ResourceKind kind{.name = "net.veth", .mode = engine::Release::deferred};
  kind.probe = [=](const Resource& row) -> Result<Presence> {
    auto link = TRY(services->links.with([&](NetlinkSocket& s) { return find_link(s, row.name); }));
    return present_if(link.has_value());
  };
  kind.release = [=](const Resource& row) -> Status {
    return services->removals.with([&](NetlinkSocket& s) { return delete_link(s, row.name); });
  };
  kind.enumerate = [=]() -> Result<std::vector<Resource>> {
    std::vector<Resource> out;
    for (const Link& link : TRY(services->links.with(list_links)))
      if (link.kind == "veth" && std::string_view(link.alias).starts_with(services->alias("")))
        out.push_back({"net.veth", link.name, "", "{}"});
    return out;
  };
  return kind;
}

Result<std::pair<std::string, IpAddress>> split_address_name(const std::string& name) {
  const size_t slash = name.find('/');
  if (slash == std::string::npos) return internal("malformed name of an address row: {}", name);
  IpAddress address = TRY(IpAddress::parse(std::string_view(name).substr(slash + 1)));
  return std::pair(name.substr(0, slash), address);
}

ResourceKind address_kind(NetworkServices* services) {
  ResourceKind kind{.name = "net.address"};
  kind.probe = [=](const Resource& row) -> Result<Presence> {
    const auto [network, address] = TRY(split_address_name(row.name));
    return present_if(services->ipam.is_taken(network, address));
  };
  kind.release = [=](const Resource& row) -> Status {
    const auto [network, address] = TRY(split_address_name(row.name));
    services->ipam.release(network, address);
    return {};
  };
  return kind;
}

ResourceKind port_kind(NetworkServices* services) {
  ResourceKind kind{.name = "net.port"};
  kind.probe = [=](const Resource& row) -> Result<Presence> {
    const PortRow port = TRY(json::parse<PortRow>(row.data));
    if (services->ports.is_reserved(port.mapping)) return Presence::present;
    if (!services->firewall) return Presence::absent;
    const bool there = TRY(services->firewall->has_port(port.rule()));
    return present_if(there);
  };
  kind.release = [=](const Resource& row) -> Status {
    const PortRow port = TRY(json::parse<PortRow>(row.data));
    if (services->firewall) TRY(services->firewall->unpublish({port.rule()}));
    services->ports.release(port.mapping);
    return {};
  };
  return kind;
}

ResourceKind sysctl_kind(BridgeDriver* bridge) {
  ResourceKind kind{.name = "net.sysctl", .mode = engine::Release::deferred};  // as the bridge
  kind.probe = [](const Resource& row) -> Result<Presence> {
    const std::string now = TRY(read_sysctl(row.name.substr(row.name.find('/') + 1)));
    return present_if(now != "0");
  };
  kind.release = [=](const Resource& row) { return bridge->release_sysctl(row.name, row.data); };
  return kind;
}

}  // namespace

std::vector<engine::ResourceKind> NetworkSystem::resource_kinds() {
  NetworkServices* services = &parts_->services;
  BridgeDriver* bridge = &parts_->bridge;
  return {bridge_kind(services, bridge), veth_kind(services), address_kind(services),
          port_kind(services), sysctl_kind(bridge)};
}

Status NetworkSystem::restore(std::span<const engine::ResourceRow> rows) {
  std::vector<BridgeRules> bridges;
  std::vector<PortRule> ports;
  for (const engine::ResourceRow& row : rows) {
    if (row.kind == "net.address") {
      const size_t slash = row.name.find('/');
      if (slash == std::string::npos) continue;
      auto address = IpAddress::parse(std::string_view(row.name).substr(slash + 1));
      if (address) parts_->services.ipam.restore(row.name.substr(0, slash), *address);
    } else if (row.kind == "net.port") {
      const PortRow port = TRY(json::parse<PortRow>(row.data).context("row {}", row.name));
      if (!port.mapping.routed) parts_->services.ports.restore(port.mapping);
      ports.push_back(port.rule());
    } else if (row.kind == "net.bridge") {
      const BridgeRow bridge = TRY(json::parse<BridgeRow>(row.data).context("row {}", row.name));
      bridges.push_back({row.name, bridge.masquerade, bridge.internal, bridge.icc, bridge.subnets,
                         bridge.routed4, bridge.routed6});
    }
  }
  if (parts_->services.firewall)
    parts_->services.firewall->remember(std::move(bridges), std::move(ports));
  return {};
}

std::vector<Resource> NetworkSystem::rows_of(const std::string& network_id,
                                             const std::string& endpoint_id,
                                             std::span<const engine::ResourceRow> rows) const {
  std::vector<Resource> out;
  const std::string link = parts_->services.link_name(endpoint_id);
  for (const engine::ResourceRow& row : rows) {
    const bool address = row.kind == "net.address" && row.name.starts_with(network_id + "/");
    if (address || (row.kind == "net.veth" && row.name == link)) out.push_back(row);
  }
  return out;
}

Result<std::optional<Resource>> NetworkSystem::redirect(const Resource& port,
                                                        const std::optional<Cidr>& ipv4,
                                                        const std::optional<Cidr>& ipv6) {
  PortRow data = TRY(json::parse<PortRow>(port.data).context("row {}", port.name));
  const std::optional<Cidr>& to = data.mapping.host_ip.is_v4() ? ipv4 : ipv6;
  // What is open at a routed address is not a port of the host that could lead elsewhere.
  if (!to || data.mapping.routed) return std::optional<Resource>();
  data.to = to->address();
  Resource out = port;
  out.data = json::dump(data);
  return std::optional<Resource>(std::move(out));
}

Result<PortMapping> NetworkSystem::mapping_of(const Resource& port) {
  PortRow data = TRY(json::parse<PortRow>(port.data).context("row {}", port.name));
  return std::move(data.mapping);
}

Status NetworkSystem::publish(std::span<const Resource> ports) {
  if (!parts_->services.firewall || ports.empty()) return {};
  std::vector<PortRule> rules;
  std::vector<PortMapping> mappings;
  for (const Resource& port : ports) {
    const PortRow data = TRY(json::parse<PortRow>(port.data).context("row {}", port.name));
    rules.push_back(data.rule());
    mappings.push_back(data.mapping);
  }
  TRY(parts_->services.firewall->publish(rules));
  return parts_->services.forget_flows(mappings);
}

Status NetworkSystem::remove_lost(const std::set<std::string>& known) {
  NetworkServices& services = parts_->services;
  const std::string mark = services.alias("");
  for (const Link& link : TRY(services.links.with(list_links))) {
    const std::string_view alias = link.alias;
    if (link.kind != "bridge" || !alias.starts_with(mark)) continue;
    if (known.contains(std::string(alias.substr(mark.size())))) continue;
    log::warn("removing the bridge {}: the record of its network is lost", link.name);
    TRY(services.removals.with([&](NetlinkSocket& s) { return delete_link(s, link.name); }));
  }
  return {};
}

Status NetworkSystem::take_down(std::span<const NetworkConfig> networks) {
  for (const NetworkConfig& network : networks) {
    NetworkDriver* driver = TRY(this->driver(network.driver));
    log::ignored("take down network " + network.name, driver->remove_network(network));
  }
  if (parts_->services.firewall) return parts_->services.firewall->remove();
  return {};
}

}  // namespace gantry::drivers

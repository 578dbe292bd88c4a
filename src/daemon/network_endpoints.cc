// The endpoints of a container: what is wanted of one, which of them carries the default route and
// the published ports, and how a running container gets one more or one less.
#include <algorithm>

#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/sys.h"
#include "daemon/network_ports.h"
#include "daemon/networks.h"
#include "drivers/network/endpoint_options.h"
#include "drivers/network/link.h"
#include "drivers/network/network_system.h"
#include "engine/engine.h"

namespace gantry::daemon {

namespace {

using drivers::Cidr;
using drivers::IpAddress;
using drivers::IpFamily;

constexpr size_t kLargestFile = 1 << 20;  // of those that a container may write to

std::optional<Cidr> with_prefix(const std::string& text, int prefix) {
  const auto address = IpAddress::parse(text);
  if (text.empty() || !address) return std::nullopt;
  return Cidr(*address, static_cast<unsigned>(prefix));
}

// Docker's checks of an address that is asked for; `config` is that of the network.
Status check_static(const drivers::NetworkConfig& config, const std::string& text,
                    IpFamily family) {
  if (text.empty()) return {};
  const auto address = IpAddress::parse(text);
  if (!address || address->family() != family)
    return invalid("invalid IPv{} address: {}", family == IpFamily::v4 ? 4 : 6, text);
  bool asked_for = false, inside = false;
  for (const drivers::IpamPool& pool : config.pools) {
    if (pool.subnet.family() != family || pool.chosen) continue;
    asked_for = true;
    inside = inside || pool.subnet.contains(*address);
  }
  if (!asked_for)
    return invalid(
        "user specified IP address is supported only when connecting to networks with user "
        "configured subnets");
  if (!inside) return invalid("no configured subnet contains IP address {}", text);
  return {};
}

// In place, since the file is mounted into the container; it is one of the engine's directory,
// whose entries no container can change.
Status write_in_place(const std::string& path, std::string_view text) {
  UniqueFd file = TRY(sys::open(path, O_WRONLY | O_NOFOLLOW));
  TRY(sys::write_all(file.get(), text).context("write {}", path));
  if (::ftruncate(file.get(), static_cast<off_t>(text.size())) != 0)
    return errno_error(errno, "truncate {}", path);
  return {};
}

}  // namespace

Status Networks::validate_endpoint(const NetworkRecord* network, const std::string& name,
                                   const api::EndpointSettings& wanted) const {
  const api::EndpointIpamConfig ipam = wanted.IPAMConfig.value_or(api::EndpointIpamConfig{});
  const bool user_defined = !is_predefined(name) && name != "default";
  const bool fixed = !ipam.IPv4Address.empty() || !ipam.IPv6Address.empty();
  const auto check = [&]() -> Status {
    if (fixed && !user_defined)
      return invalid("user specified IP address is supported on user defined networks only");
    if (!wanted.Aliases.empty() && !user_defined)
      return invalid(
          "network-scoped alias is supported only for containers in user defined networks");
    if (!wanted.MacAddress.empty()) TRY(drivers::parse_mac(wanted.MacAddress));
    std::vector<IpAddress> link_local;
    for (const std::string& text : ipam.LinkLocalIPs)
      link_local.push_back(TRY(IpAddress::parse(text)));
    TRY(drivers::link_local_addresses(link_local));
    TRY(drivers::EndpointOptions::read(wanted.DriverOpts));
    if (network == nullptr) return {};
    TRY(check_static(network->config, ipam.IPv4Address, IpFamily::v4));
    return check_static(network->config, ipam.IPv6Address, IpFamily::v6);
  };
  return check().context("invalid config for network {}: invalid endpoint settings", name);
}

Error Networks::config_only(const NetworkRecord& network) {
  return make_error(ErrorKind::permission,
                    "cannot create endpoint on configuration-only network: {}",
                    network.config.name);
}

Result<Networks::Wanted> Networks::wanted(const std::string& name,
                                          const api::EndpointSettings& settings) const {
  NetworkRecord network = TRY(find(settings.NetworkID.empty() ? name : settings.NetworkID));
  if (network.config_only) return config_only(network);
  return Wanted{network.config.name, std::move(network), settings};
}

Result<std::vector<Networks::Wanted>> Networks::endpoints_of(const ContainerRecord& record) const {
  std::vector<Wanted> out;
  for (const auto& [name, settings] : record.networks)
    if (!settings.EndpointID.empty()) out.push_back(TRY(wanted(name, settings)));
  return out;
}

Result<Networks::Gateways> Networks::choose_gateways(const std::vector<Wanted>& endpoints) const {
  std::vector<const Wanted*> order;
  for (const Wanted& endpoint : endpoints) order.push_back(&endpoint);
  std::sort(order.begin(), order.end(), [](const Wanted* a, const Wanted* b) {
    const auto key = [](const Wanted* w) {
      return std::tuple(-w->settings.GwPriority, w->network.config.internal, w->name);
    };
    return key(a) < key(b);
  });
  Gateways out;
  for (const Wanted* endpoint : order) {
    const drivers::NetworkConfig& config = endpoint->network.config;
    const drivers::NetworkDriver* driver = TRY(system_->driver(config.driver));
    if (out.v4 == nullptr && driver->has_gateway(config, IpFamily::v4)) out.v4 = endpoint;
    if (out.v6 == nullptr && driver->has_gateway(config, IpFamily::v6)) out.v6 = endpoint;
  }
  return out;
}

Result<Networks::PlannedEndpoint> Networks::plan_endpoint(
    const ContainerRecord& record, const Wanted& wanted, const Gateways& gateways,
    std::vector<drivers::PortRequest> ports, const std::vector<std::string>& taken_names) {
  const drivers::NetworkConfig& network = wanted.network.config;
  drivers::NetworkDriver* driver = TRY(system_->driver(network.driver));
  drivers::EndpointRequest request;
  request.container_id = record.id;
  request.endpoint_id = new_id();
  request.taken_names = taken_names;
  request.default_route4 = gateways.v4 == &wanted;
  request.default_route6 = gateways.v6 == &wanted;
  request.ports = std::move(ports);
  request.options = wanted.settings.DriverOpts;
  if (wanted.settings.IPAMConfig) {
    const api::EndpointIpamConfig& ipam = *wanted.settings.IPAMConfig;
    if (!ipam.IPv4Address.empty()) request.ipv4 = TRY(IpAddress::parse(ipam.IPv4Address));
    if (!ipam.IPv6Address.empty()) request.ipv6 = TRY(IpAddress::parse(ipam.IPv6Address));
    for (const std::string& text : ipam.LinkLocalIPs)
      request.link_local.push_back(TRY(IpAddress::parse(text)));
  }
  if (const auto mac = record.macs.find(wanted.name); mac != record.macs.end())
    request.mac = mac->second;
  const std::string endpoint_id = request.endpoint_id;
  auto planned = driver->plan_endpoint(network, std::move(request));
  if (!planned) {
    const std::string_view message = planned.error().message();
    if (message.starts_with("Bind for ") || message.starts_with("failed to bind host port"))
      return std::move(planned).error().context(
          fmt::format("driver failed programming external connectivity on endpoint {} ({})",
                      record.name, endpoint_id));
    return std::move(planned).error();
  }

  const drivers::Endpoint& endpoint = planned->endpoint;
  api::EndpointSettings shown = wanted.settings;
  shown.NetworkID = network.id;
  shown.EndpointID = endpoint.id;
  shown.MacAddress = endpoint.mac;
  shown.IPAddress = shown.GlobalIPv6Address = shown.Gateway = shown.IPv6Gateway = "";
  shown.IPPrefixLen = shown.GlobalIPv6PrefixLen = 0;
  if (endpoint.ipv4) {
    shown.IPAddress = endpoint.ipv4->address().to_string();
    shown.IPPrefixLen = static_cast<int>(endpoint.ipv4->prefix());
  }
  if (endpoint.ipv6) {
    shown.GlobalIPv6Address = endpoint.ipv6->address().to_string();
    shown.GlobalIPv6PrefixLen = static_cast<int>(endpoint.ipv6->prefix());
  }
  for (const drivers::IpamPool& pool : network.pools) {
    if (!pool.gateway || !driver->has_gateway(network, pool.subnet.family())) continue;
    (pool.gateway->is_v4() ? shown.Gateway : shown.IPv6Gateway) = pool.gateway->to_string();
  }
  shown.DNSNames.clear();
  if (!is_predefined(network.name) && !endpoint.interface_name.empty())
    shown.DNSNames = dns_names(record, wanted.settings.Aliases);
  return PlannedEndpoint{{network, std::move(*planned)}, std::move(shown)};
}

// --- of a running container

Status Networks::move_ports(const std::optional<Cidr>& ipv4, const std::optional<Cidr>& ipv6,
                            NetworkChange& change) const {
  std::vector<drivers::PortMapping> kept;
  for (const engine::ResourceRow& row :
       TRY(engine_.resources().owned_by("container:" + change.record.id))) {
    if (row.kind != "net.port" || row.state != engine::ResourceState::held) continue;
    auto moved = TRY(drivers::NetworkSystem::redirect(row, ipv4, ipv6));
    if (!moved) {
      change.left.push_back(row);
      continue;
    }
    kept.push_back(TRY(drivers::NetworkSystem::mapping_of(row)));
    change.ports_before.push_back(row);
    change.ports_after.push_back(std::move(*moved));
  }
  change.record.ports = show_ports(change.record.config, kept);
  return {};
}

Result<NetworkChange> Networks::plan_connect(const ContainerRecord& record,
                                             const NetworkRecord& network,
                                             const api::EndpointSettings& wanted, int netns) {
  NetworkChange change;
  change.record = record;
  std::vector<Wanted> endpoints = TRY(endpoints_of(record));
  const bool had_ports = TRY(choose_gateways(endpoints)).ports() != nullptr;
  endpoints.push_back({network.config.name, network, wanted});
  const Wanted& added = endpoints.back();
  const Gateways gateways = TRY(choose_gateways(endpoints));
  const bool has_ports = gateways.ports() == &added;
  std::vector<drivers::PortRequest> ports;
  if (has_ports && !had_ports) ports = TRY(read_port_requests(record.config, record.host_config));
  std::vector<std::string> taken_names;
  {
    NetlinkSocket inside = TRY(NetlinkSocket::open_in(NETLINK_ROUTE, netns));
    for (drivers::Link& link : TRY(drivers::list_links(inside)))
      taken_names.push_back(std::move(link.name));
  }
  if (!wanted.MacAddress.empty()) change.record.macs[added.name] = wanted.MacAddress;
  PlannedEndpoint planned =
      TRY(plan_endpoint(change.record, added, gateways, std::move(ports), taken_names));
  const drivers::Endpoint& endpoint = planned.attachment.plan.endpoint;
  if (has_ports && !had_ports)
    change.record.ports = show_ports(record.config, endpoint.ports);
  else if (has_ports)
    TRY(move_ports(endpoint.ipv4, endpoint.ipv6, change));
  change.record.networks.insert_or_assign(added.name, std::move(planned.shown));
  change.taken = planned.attachment.plan.rows;
  change.attachment = std::move(planned.attachment);
  return change;
}

Result<NetworkChange> Networks::plan_disconnect(const ContainerRecord& record,
                                                const std::string& network) {
  NetworkChange change;
  change.record = record;
  const api::EndpointSettings left = record.networks.at(network);
  const std::vector<Wanted> endpoints = TRY(endpoints_of(record));
  const Wanted* had_ports = TRY(choose_gateways(endpoints)).ports();
  change.record.networks.erase(network);
  change.record.macs.erase(network);
  if (had_ports != nullptr && had_ports->name == network) {
    const std::vector<Wanted> others = TRY(endpoints_of(change.record));
    const Wanted* to = TRY(choose_gateways(others)).ports();
    const api::EndpointSettings settings = to ? to->settings : api::EndpointSettings{};
    TRY(move_ports(with_prefix(settings.IPAddress, settings.IPPrefixLen),
                   with_prefix(settings.GlobalIPv6Address, settings.GlobalIPv6PrefixLen), change));
  }
  const std::vector<engine::ResourceRow> rows =
      TRY(engine_.resources().owned_by("container:" + record.id));
  std::vector<engine::Resource> own = system_->rows_of(left.NetworkID, left.EndpointID, rows);
  change.left.insert(change.left.end(), own.rbegin(), own.rend());
  return change;
}

Status Networks::carry_out(const NetworkChange& change, int netns) {
  if (change.attachment) {
    const drivers::NetworkConfig& network = change.attachment->network;
    drivers::NetworkDriver* driver = TRY(system_->driver(network.driver));
    TRY(driver->join(network, change.attachment->plan.endpoint, netns));
  }
  TRY(failpoint("network.settle"));
  TRY(settle(change.record, change.ports_after, netns));
  return failpoint("network.settled");
}

Status Networks::settle(const ContainerRecord& record, const std::vector<engine::Resource>& ports,
                        int netns) {
  TRY(set_routes(record, netns, false));
  return system_->publish(ports);
}

Status Networks::settle_adopted(const ContainerRecord& record, int netns) {
  return set_routes(record, netns, true);
}

Status Networks::set_routes(const ContainerRecord& record, int netns, bool only_lost) {
  const std::vector<Wanted> endpoints = TRY(endpoints_of(record));
  const Gateways gateways = TRY(choose_gateways(endpoints));
  // An interface that is still being given back, by a change that was interrupted, may have the
  // route; what has a row no longer, is gone. In this order, that none goes between the two looks.
  bool leaving = false;
  if (only_lost)
    for (const engine::ResourceRow& row :
         TRY(engine_.resources().owned_by("container:" + record.id)))
      leaving = leaving || (row.kind == "net.veth" && row.state != engine::ResourceState::held);
  NetlinkSocket inside = TRY(NetlinkSocket::open_in(NETLINK_ROUTE, netns));
  const std::vector<IpAddress> now = TRY(drivers::list_gateways(inside));
  const std::vector<drivers::LinkAddress> addresses = TRY(drivers::list_addresses(inside));
  for (const auto& [endpoint, family] :
       {std::pair(gateways.v4, IpFamily::v4), std::pair(gateways.v6, IpFamily::v6)}) {
    if (endpoint == nullptr) continue;
    const api::EndpointSettings& settings = endpoint->settings;
    const bool v4 = family == IpFamily::v4;
    const auto gateway = IpAddress::parse(v4 ? settings.Gateway : settings.IPv6Gateway);
    const auto own = IpAddress::parse(v4 ? settings.IPAddress : settings.GlobalIPv6Address);
    if (!gateway || !own) continue;
    const auto is_family = [&](const IpAddress& a) { return a.family() == family; };
    const bool none = std::none_of(now.begin(), now.end(), is_family);
    const bool right = std::find(now.begin(), now.end(), *gateway) != now.end();
    const bool of_another = std::any_of(endpoints.begin(), endpoints.end(), [&](const Wanted& e) {
      const auto other = IpAddress::parse(v4 ? e.settings.Gateway : e.settings.IPv6Gateway);
      return other && std::find(now.begin(), now.end(), *other) != now.end();
    });
    if (right || (only_lost && !none && !leaving && !of_another)) continue;
    const auto link = std::find_if(addresses.begin(), addresses.end(),
                                   [&](const auto& a) { return a.address.address() == *own; });
    if (link == addresses.end()) continue;  // the container took it off itself
    TRY(drivers::set_default_route(inside, link->link_index, *gateway));
  }
  return {};
}

Status Networks::update_files(const std::string& directory, const ContainerRecord& before,
                              const ContainerRecord& after) const {
  TRY(failpoint("network.files"));
  const Files files = files_of(after, SandboxMode::own);
  const std::string hosts = directory + "/hosts", resolv_conf = directory + "/resolv.conf";
  // The container may write what it likes, which must not keep it on a network.
  if (auto text = fs::read_file(hosts, kLargestFile); !text) {
    log::warn("container {}: its /etc/hosts stays as it is: {}", after.id, text.error().message());
  } else if (std::string changed = drivers::update_hosts(*text, files.hosts); changed != *text) {
    TRY(write_in_place(hosts, changed));
  }
  // One that the container has changed is its own.
  const std::string former = files_of(before, SandboxMode::own).resolv_conf;
  if (former != files.resolv_conf) {
    const auto now = fs::read_file(resolv_conf, kLargestFile);
    if (now && *now == former) TRY(write_in_place(resolv_conf, files.resolv_conf));
  }
  return failpoint("network.files.written");
}

}  // namespace gantry::daemon

// What a container's start takes from the network: Networks::plan and join.
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "base/id.h"
#include "daemon/name_service.h"
#include "daemon/network_ports.h"
#include "daemon/networks.h"
#include "daemon/options.h"
#include "drivers/network/container_files.h"
#include "drivers/network/network_system.h"

namespace gantry::daemon {

namespace {

constexpr std::string_view kContainerMode = "container:";

std::string mode_of(const ContainerRecord& record) {
  if (record.config.NetworkDisabled) return "none";
  const std::string& mode = record.host_config.NetworkMode;
  return mode.empty() || mode == "default" ? "bridge" : mode;
}

Error set_up_failed(Error error) {
  return std::move(error).context("failed to set up container networking");
}

api::PortMap show_ports(const ContainerRecord& record,
                        const std::vector<drivers::PortMapping>& mappings) {
  api::PortMap out;
  for (const auto& [port, nothing] : record.config.ExposedPorts) out[port] = std::nullopt;
  for (const drivers::PortMapping& mapping : mappings) {
    auto& bindings = out[fmt::format("{}/{}", mapping.container_port, to_string(mapping.protocol))];
    if (!bindings) bindings.emplace();
    bindings->push_back({mapping.host_ip.to_string(), std::to_string(mapping.host_port)});
  }
  return out;
}

}  // namespace

Status Networks::validate(const ContainerRecord& record) const {
  const std::string mode = mode_of(record);
  const bool shared = mode.starts_with(kContainerMode) || mode == "host";
  const api::HostConfig& host = record.host_config;
  if (mode.starts_with(kContainerMode)) {
    if (mode.size() == kContainerMode.size())
      return invalid("invalid container format container:<name|id>");
    if (!record.config.Hostname.empty() && record.config.Hostname != short_id(record.id))
      return invalid("conflicting options: hostname and the network mode");
    if (!host.PortBindings.empty() || host.PublishAllPorts)
      return invalid("conflicting options: port publishing and the container type network mode");
    if (!host.Dns.empty()) return invalid("conflicting options: dns and the network mode");
    if (!host.ExtraHosts.empty())
      return invalid("conflicting options: custom host-to-IP mapping and the network mode");
    if (!record.config.ExposedPorts.empty())
      return invalid("conflicting options: port exposing and the container type network mode");
  }
  if (shared && record.networks.size() > 1)
    return invalid(
        "conflicting options: cannot attach both user-defined and non-user-defined network-modes");
  if (!host.Links.empty()) return unsupported("links (--link) are not supported by Gantry");
  const auto ports = read_port_requests(record.config, host);
  if (!ports) return invalid("{}", ports.error().message());
  for (const auto& [name, settings] : record.networks) {
    const bool fixed = settings.IPAMConfig && (!settings.IPAMConfig->IPv4Address.empty() ||
                                               !settings.IPAMConfig->IPv6Address.empty());
    const bool user_defined =
        name != "bridge" && name != "default" && name != "host" && name != "none";
    if (fixed && !user_defined)
      return invalid("user specified IP address is supported on user defined networks only");
    if (!settings.Aliases.empty() && !user_defined)
      return invalid(
          "network-scoped alias is supported only for containers in user defined networks");
  }
  return {};
}

Status Networks::plan_endpoint(const ContainerRecord& record, const std::string& name,
                               const api::EndpointSettings& wanted, SandboxPlan& plan) {
  NetworkRecord network = TRY(find(wanted.NetworkID.empty() ? name : wanted.NetworkID));
  drivers::NetworkDriver* driver = TRY(system_->driver(network.config.driver));
  drivers::EndpointRequest request;
  request.container_id = record.id;
  request.endpoint_id = new_id();
  const bool first = plan.attachments.empty();
  request.interface_name = fmt::format("eth{}", plan.attachments.size());
  request.default_gateway = first;  // the caller sorts by priority
  request.options = wanted.DriverOpts;
  if (wanted.IPAMConfig) {
    const api::EndpointIpamConfig& ipam = *wanted.IPAMConfig;
    if (!ipam.IPv4Address.empty()) request.ipv4 = TRY(drivers::IpAddress::parse(ipam.IPv4Address));
    if (!ipam.IPv6Address.empty()) request.ipv6 = TRY(drivers::IpAddress::parse(ipam.IPv6Address));
  }
  if (!wanted.MacAddress.empty())
    request.mac = wanted.MacAddress;
  else if (first && !record.config.MacAddress.empty())
    request.mac = record.config.MacAddress;
  if (first && network.config.driver == "bridge")
    request.ports = TRY(read_port_requests(record.config, record.host_config));
  const std::string endpoint_id = request.endpoint_id;
  auto planned = driver->plan_endpoint(network.config, std::move(request));
  if (!planned) {
    const std::string_view message = planned.error().message();
    if (message.starts_with("Bind for ") || message.starts_with("failed to bind host port"))
      return std::move(planned).error().context(
          fmt::format("driver failed programming external connectivity on endpoint {} ({})",
                      record.name, endpoint_id));
    return std::move(planned).error();
  }

  const drivers::Endpoint& endpoint = planned->endpoint;
  api::EndpointSettings shown = wanted;
  shown.NetworkID = network.config.id;
  shown.EndpointID = endpoint.id;
  shown.MacAddress = endpoint.mac;
  if (endpoint.ipv4) {
    shown.IPAddress = endpoint.ipv4->address().to_string();
    shown.IPPrefixLen = static_cast<int>(endpoint.ipv4->prefix());
  }
  if (endpoint.ipv6) {
    shown.GlobalIPv6Address = endpoint.ipv6->address().to_string();
    shown.GlobalIPv6PrefixLen = static_cast<int>(endpoint.ipv6->prefix());
  }
  for (const drivers::IpamPool& pool : network.config.pools) {
    if (!pool.gateway || network.config.internal) continue;
    (pool.gateway->is_v4() ? shown.Gateway : shown.IPv6Gateway) = pool.gateway->to_string();
  }
  shown.DNSNames.clear();
  if (network.config.name != "bridge" && !endpoint.interface_name.empty())
    shown.DNSNames = dns_names(record, wanted.Aliases);
  plan.settings.insert_or_assign(network.config.name, std::move(shown));
  for (const engine::Resource& row : planned->rows) plan.rows.push_back(row);
  plan.attachments.push_back({std::move(network.config), std::move(*planned)});
  return {};
}

void Networks::plan_files(const ContainerRecord& record, SandboxPlan& plan) const {
  const api::HostConfig& options = record.host_config;
  drivers::HostsFile hosts{record.config.Hostname, record.config.Domainname, {}, {}};
  bool has_ipv6 = plan.mode == SandboxMode::host;
  for (const SandboxPlan::Attachment& attachment : plan.attachments) {
    const drivers::Endpoint& endpoint = attachment.plan.endpoint;
    for (const auto& address : {endpoint.ipv4, endpoint.ipv6})
      if (address) hosts.addresses.push_back(address->address());
    has_ipv6 = has_ipv6 || endpoint.ipv6.has_value();
  }
  std::optional<drivers::IpAddress> gateway;
  if (!options.ExtraHosts.empty())  // one may be `host-gateway`
    if (auto bridge = find("bridge"))
      if (const drivers::IpamPool* pool = bridge->config.pool(drivers::IpFamily::v4))
        gateway = pool->gateway;
  for (const std::string& text : options.ExtraHosts)
    if (auto entry = drivers::parse_extra_host(text, gateway))
      hosts.extra.push_back(std::move(*entry));
  if (hosts.hostname.empty() && plan.mode == SandboxMode::host) {
    char name[256] = {};
    if (::gethostname(name, sizeof name - 1) == 0) hosts.hostname = name;
  }
  plan.hostname = drivers::build_hostname(hosts.hostname);
  plan.hosts = drivers::build_hosts(hosts);

  Resolver resolver = plan.mode == SandboxMode::host ? Resolver::host : Resolver::direct;
  for (const SandboxPlan::Attachment& attachment : plan.attachments)
    if (has_names(attachment.network.name)) resolver = Resolver::named;
  plan.resolv_conf =
      resolv_conf_of(record, options_, resolver,
                     has_ipv6 ? drivers::Ipv6Servers::keep : drivers::Ipv6Servers::drop)
          .text;
}

Result<SandboxPlan> Networks::plan(const ContainerRecord& record) {
  TRY(validate(record));
  SandboxPlan plan;
  const std::string mode = mode_of(record);
  if (mode.starts_with(kContainerMode)) {
    plan.mode = SandboxMode::container;
    plan.shared_with = mode.substr(kContainerMode.size());
    return plan;
  }
  if (mode == "host") plan.mode = SandboxMode::host;

  // The network of the mode first, then the others by name; the highest gateway priority goes
  // before all.
  std::vector<std::pair<std::string, api::EndpointSettings>> wanted;
  for (const auto& [name, settings] : record.networks)
    wanted.emplace_back(name == "default" ? "bridge" : name, settings);
  const auto is_mode = [&](const auto& entry) {
    return entry.first == mode ||
           (!entry.second.NetworkID.empty() && entry.second.NetworkID == mode);
  };
  if (std::none_of(wanted.begin(), wanted.end(), is_mode)) {
    auto network = find(mode);
    if (!network) return set_up_failed(std::move(network).error());
    const std::string& name = network->config.name;
    if (std::none_of(wanted.begin(), wanted.end(),
                     [&](const auto& entry) { return entry.first == name; }))
      wanted.insert(wanted.begin(), {name, {}});
  }
  std::stable_sort(wanted.begin(), wanted.end(), [&](const auto& a, const auto& b) {
    if (a.second.GwPriority != b.second.GwPriority)
      return a.second.GwPriority > b.second.GwPriority;
    return is_mode(a) > is_mode(b);
  });
  for (const auto& [name, settings] : wanted) {
    Status planned = plan_endpoint(record, name, settings, plan);
    if (!planned) return set_up_failed(std::move(planned).error());
  }
  std::vector<drivers::PortMapping> mappings;
  for (const SandboxPlan::Attachment& attachment : plan.attachments)
    mappings.insert(mappings.end(), attachment.plan.endpoint.ports.begin(),
                    attachment.plan.endpoint.ports.end());
  if (plan.mode == SandboxMode::own) plan.ports = show_ports(record, mappings);
  plan_files(record, plan);
  return plan;
}

Status Networks::join(const SandboxPlan& plan, int netns) {
  if (plan.mode != SandboxMode::own) return {};
  for (const SandboxPlan::Attachment& attachment : plan.attachments) {
    drivers::NetworkDriver* driver = TRY(system_->driver(attachment.network.driver));
    Status joined = driver->join(attachment.network, attachment.plan.endpoint, netns);
    if (!joined) return set_up_failed(std::move(joined).error());
  }
  return {};
}

}  // namespace gantry::daemon

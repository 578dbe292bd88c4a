// What a container's start takes from the network: Networks::plan and join.
#include <unistd.h>

#include <algorithm>

#include "base/id.h"
#include "daemon/container_links.h"
#include "daemon/name_service.h"
#include "daemon/network_ports.h"
#include "daemon/networks.h"
#include "daemon/options.h"
#include "drivers/network/network_system.h"

namespace gantry::daemon {

namespace {

constexpr std::string_view kContainerMode = "container:";

std::string mode_of(const ContainerRecord& record) {
  if (record.config.NetworkDisabled) return "none";
  const std::string& mode = record.host_config.NetworkMode;
  return mode.empty() || mode == "default" ? "bridge" : mode;
}

// The names of its networks: that of its mode first, the others by name. Interfaces are numbered
// so.
std::vector<std::string> in_order(const ContainerRecord& record) {
  std::vector<std::string> names;
  const std::string mode = mode_of(record);
  for (const auto& [name, settings] : record.networks) {
    const bool first = name == mode || (!settings.NetworkID.empty() && settings.NetworkID == mode);
    names.insert(first ? names.begin() : names.end(), name);
  }
  return names;
}

Error set_up_failed(Error error) {
  return std::move(error).context("failed to set up container networking");
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
  for (const std::string& link : host.Links) {
    TRY(parse_link(link));
    if (shared)
      return invalid(
          "conflicting options: {} can't be used with links. This would result in undefined "
          "behavior",
          mode == "host" ? "host type networking" : "container type network");
  }
  const auto ports = read_port_requests(record.config, host);
  if (!ports) return invalid("{}", ports.error().message());
  for (const auto& [name, settings] : record.networks) {
    const auto network = find(settings.NetworkID.empty() ? name : settings.NetworkID);
    TRY(validate_endpoint(network ? &*network : nullptr, name, settings));
  }
  return {};
}

void Networks::complete(ContainerRecord& record) const {
  const std::string mode = mode_of(record);
  if (mode.starts_with(kContainerMode)) {
    record.networks.clear();
    return;
  }
  const auto name_of = [&](const std::string& reference) {
    if (reference == "default") return std::string("bridge");
    const auto network = find(reference);
    return network ? network->config.name : reference;  // an unknown one is refused at start
  };
  std::map<std::string, api::EndpointSettings> networks;
  for (auto& [name, settings] : record.networks)
    networks.insert_or_assign(name_of(name), std::move(settings));
  networks[name_of(mode)];
  for (auto& [name, settings] : networks) {
    if (!settings.MacAddress.empty()) record.macs[name] = settings.MacAddress;
    settings.EndpointID.clear();
  }
  if (!record.config.MacAddress.empty())
    record.macs.try_emplace(name_of(mode), record.config.MacAddress);
  record.networks = std::move(networks);
}

Networks::Files Networks::files_of(const ContainerRecord& record, SandboxMode mode) const {
  const api::HostConfig& options = record.host_config;
  Files files;
  drivers::HostsFile& hosts = files.hosts;
  hosts.hostname = record.config.Hostname;
  hosts.domainname = record.config.Domainname;
  bool has_ipv6 = mode == SandboxMode::host;
  for (const std::string& name : in_order(record)) {
    const api::EndpointSettings& settings = record.networks.at(name);
    for (const std::string& text : {settings.IPAddress, settings.GlobalIPv6Address})
      if (auto address = drivers::IpAddress::parse(text); !text.empty() && address)
        hosts.addresses.push_back(*address);
    has_ipv6 = has_ipv6 || !settings.GlobalIPv6Address.empty();
  }
  std::optional<drivers::IpAddress> gateway;
  if (!options.ExtraHosts.empty())  // one may be `host-gateway`
    if (auto bridge = find("bridge"))
      if (const drivers::IpamPool* pool = bridge->config.pool(drivers::IpFamily::v4))
        gateway = pool->gateway;
  for (const std::string& text : options.ExtraHosts)
    if (auto entry = drivers::parse_extra_host(text, gateway))
      hosts.extra.push_back(std::move(*entry));
  for (const std::string& line : record.link_hosts) {
    const size_t tab = line.find('\t');
    hosts.extra.push_back({line.substr(0, tab), line.substr(tab + 1)});
  }
  if (hosts.hostname.empty() && mode == SandboxMode::host) {
    char name[256] = {};
    if (::gethostname(name, sizeof name - 1) == 0) hosts.hostname = name;
  }
  files.hostname = drivers::build_hostname(hosts.hostname);
  files.hosts_text = drivers::build_hosts(hosts);

  Resolver resolver = mode == SandboxMode::host ? Resolver::host : Resolver::direct;
  for (const std::string& name : in_order(record))
    if (!is_predefined(name)) resolver = Resolver::named;
  files.resolv_conf =
      resolv_conf_of(record, options_, resolver,
                     has_ipv6 ? drivers::Ipv6Servers::keep : drivers::Ipv6Servers::drop)
          .text;
  return files;
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

  ContainerRecord connected = record;
  if (connected.networks.empty()) connected.networks[mode];  // it has been disconnected from all
  std::vector<Wanted> endpoints;
  for (const std::string& name : in_order(connected)) {
    auto endpoint = wanted(name, connected.networks.at(name));
    if (!endpoint) return set_up_failed(std::move(endpoint).error());
    endpoints.push_back(std::move(*endpoint));
  }
  const Gateways gateways = TRY(choose_gateways(endpoints));
  std::vector<drivers::PortMapping> mappings;
  std::vector<std::string> taken_names = {"lo"};
  for (const Wanted& endpoint : endpoints) {
    std::vector<drivers::PortRequest> ports;
    if (gateways.ports() == &endpoint)
      ports = TRY(read_port_requests(record.config, record.host_config));
    auto planned = plan_endpoint(record, endpoint, gateways, std::move(ports), taken_names);
    if (!planned) return set_up_failed(std::move(planned).error());
    const drivers::EndpointPlan& made = planned->attachment.plan;
    taken_names.push_back(made.endpoint.interface_name);
    mappings.insert(mappings.end(), made.endpoint.ports.begin(), made.endpoint.ports.end());
    plan.rows.insert(plan.rows.end(), made.rows.begin(), made.rows.end());
    plan.settings.insert_or_assign(endpoint.network.config.name, std::move(planned->shown));
    plan.attachments.push_back(std::move(planned->attachment));
  }
  if (plan.mode == SandboxMode::own) plan.ports = show_ports(record.config, mappings);
  connected.networks = plan.settings;
  Files files = files_of(connected, plan.mode);
  plan.hosts = std::move(files.hosts_text);
  plan.hostname = std::move(files.hostname);
  plan.resolv_conf = std::move(files.resolv_conf);
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

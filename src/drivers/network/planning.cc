#include "drivers/network/planning.h"

#include <algorithm>
#include <memory>

#include "base/failpoint.h"
#include "base/id.h"
#include "drivers/network/endpoint_options.h"
#include "drivers/network/link.h"

namespace gantry::drivers {

Result<bool> read_bool_option(std::string_view key, std::string_view text) {
  for (std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"})
    if (text == yes) return true;
  for (std::string_view no : {"0", "f", "F", "FALSE", "false", "False"})
    if (text == no) return false;
  return invalid("invalid value \"{}\" of network option {}: true or false is expected", text, key);
}

Status choose_pools(NetworkServices& services, NetworkConfig& network) {
  std::vector<IpFamily> missing;
  if (network.ipv4 && network.pool(IpFamily::v4) == nullptr) missing.push_back(IpFamily::v4);
  if (network.ipv6 && network.pool(IpFamily::v6) == nullptr) missing.push_back(IpFamily::v6);
  TRY(failpoint("network.subnet"));
  for (IpamPool& pool : network.pools) TRY(services.ipam.reserve_subnet(pool.subnet, network.id));
  TRY(failpoint("network.subnet.reserved"));
  if (!missing.empty()) {
    std::vector<Cidr> in_use;
    for (const Route& route : TRY(services.links.with(list_routes)))
      in_use.push_back(route.destination);
    for (IpFamily family : missing) {
      std::vector<AddressPool> pools = services.options.address_pools;
      // Unique local addresses (RFC 4193): a /48 drawn per network is as good as one drawn per
      // host.
      if (family == IpFamily::v6) {
        const std::string id = random_hex(5);
        const std::string text =
            fmt::format("fd{}:{}:{}::/64", id.substr(0, 2), id.substr(2, 4), id.substr(6, 4));
        pools.push_back({TRY(Cidr::parse(text)), 64});
      }
      IpamPool pool;
      pool.chosen = true;
      pool.subnet = TRY(services.ipam.choose_subnet(pools, family, in_use, network.id));
      // IPv4 first, whichever was asked for.
      network.pools.insert(family == IpFamily::v4 ? network.pools.begin() : network.pools.end(),
                           std::move(pool));
    }
  }
  for (IpamPool& pool : network.pools) {
    IpamPool complete = TRY(complete_pool(pool));
    pool = std::move(complete);
  }
  return {};
}

Result<EndpointPlan> plan_addresses(NetworkServices& services, const NetworkDriver& driver,
                                    const NetworkConfig& network, const EndpointRequest& request,
                                    const std::string& interface_prefix,
                                    std::function<void()> give_back) {
  const EndpointOptions options = TRY(EndpointOptions::read(request.options));
  EndpointPlan plan;
  Endpoint& endpoint = plan.endpoint;
  endpoint.id = request.endpoint_id;
  endpoint.network_id = network.id;
  endpoint.container_id = request.container_id;
  endpoint.interface_name =
      TRY(choose_interface_name(options, interface_prefix, request.taken_names));
  endpoint.host_interface = services.link_name(request.endpoint_id);
  endpoint.link_local = TRY(link_local_addresses(request.link_local));
  endpoint.options = request.options;
  const std::string owner = "container:" + request.container_id;

  // Gives back what has been chosen by then, whichever step fails.
  auto chosen = std::make_shared<std::vector<IpAddress>>();
  plan.reservation =
      Reservation([&services, chosen, id = network.id, give_back = std::move(give_back)] {
        for (const IpAddress& address : *chosen) services.ipam.release(id, address);
        if (give_back) give_back();
      });

  for (const IpFamily family : {IpFamily::v4, IpFamily::v6}) {
    const bool v4 = family == IpFamily::v4;
    const auto& wanted = v4 ? request.ipv4 : request.ipv6;
    if (v4 ? !network.ipv4 : !network.ipv6) {
      if (wanted) return invalid("network {} has no {}", network.name, v4 ? "IPv4" : "IPv6");
      continue;
    }
    TRY(failpoint("network.address"));
    const IpAddress address = TRY(services.ipam.allocate(network, family, wanted));
    chosen->push_back(address);
    TRY(failpoint("network.address.allocated"));
    const auto pool = std::find_if(network.pools.begin(), network.pools.end(),
                                   [&](const IpamPool& p) { return p.subnet.contains(address); });
    (v4 ? endpoint.ipv4 : endpoint.ipv6) = Cidr(address, pool->subnet.prefix());
    if ((v4 ? request.default_route4 : request.default_route6) &&
        driver.has_gateway(network, family))
      (v4 ? endpoint.gateway4 : endpoint.gateway6) = pool->container_gateway();
    plan.rows.push_back({"net.address", address_row_name(network.id, address), owner, "{}"});
  }
  if (request.mac) {
    endpoint.mac = format_mac(TRY(parse_mac(*request.mac)));
  } else {
    // Without IPv4 the low bytes of the IPv6 address do as well.
    endpoint.mac = format_mac(mac_from_ipv4(IpAddress::v4(static_cast<uint32_t>(
        (endpoint.ipv4 ? endpoint.ipv4 : endpoint.ipv6)->address().number()))));
  }
  return plan;
}

}  // namespace gantry::drivers

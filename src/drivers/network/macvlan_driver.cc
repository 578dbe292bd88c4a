#include "drivers/network/macvlan_driver.h"

#include <net/if.h>  // before the kernel headers, which give way to libc

#include <fcntl.h>
#include <linux/if_link.h>

#include <algorithm>
#include <charconv>

#include "base/failpoint.h"
#include "drivers/network/endpoint_options.h"
#include "drivers/network/link.h"
#include "drivers/network/planning.h"

namespace gantry::drivers {

namespace {

struct Mode {
  std::string_view name;
  uint32_t value;
};
constexpr Mode kModes[] = {{"bridge", MACVLAN_MODE_BRIDGE},
                           {"private", MACVLAN_MODE_PRIVATE},
                           {"vepa", MACVLAN_MODE_VEPA},
                           {"passthru", MACVLAN_MODE_PASSTHRU}};
constexpr unsigned kLargestVlan = 4094;  // IEEE 802.1Q

using Reader = Status (*)(MacvlanSettings&, std::string_view key, const std::string& text);
struct Option {
  std::string_view name;
  Reader read;
};
constexpr Option kOptions[] = {
    {"parent",
     [](MacvlanSettings& s, std::string_view, const std::string& text) -> Status {
       s.parent = text;
       return check_link_name(text);
     }},
    {"macvlan_mode",
     [](MacvlanSettings& s, std::string_view, const std::string& text) -> Status {
       for (const Mode& mode : kModes) {
         if (mode.name != text) continue;
         s.mode = mode.value;
         return {};
       }
       return invalid(
           "requested macvlan mode '{}' is not valid: bridge, private, vepa or passthru is "
           "expected",
           text);
     }},
    {"com.docker.network.driver.mtu",
     [](MacvlanSettings& s, std::string_view key, const std::string& text) -> Status {
       const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), s.mtu);
       if (error != std::errc() || end != text.data() + text.size() || s.mtu < 68 || s.mtu > 65535)
         return invalid("invalid value \"{}\" of network option {}: 68 to 65535", text, key);
       return {};
     }},
    {"com.docker.network.container_iface_prefix",
     [](MacvlanSettings& s, std::string_view, const std::string& text) -> Status {
       s.interface_prefix = text;
       return check_link_name(text + "00");
     }},
};

struct MacvlanRow {  // the data of net.macvlan
  std::string interface_name;
};

}  // namespace

}  // namespace gantry::drivers

namespace gantry::json {
template <>
struct Schema<drivers::MacvlanRow> {
  static constexpr Field fields[] = {field<&drivers::MacvlanRow::interface_name>("interface")};
};
}  // namespace gantry::json

namespace gantry::drivers {

Result<MacvlanSettings> MacvlanSettings::read(const NetworkConfig& network) {
  MacvlanSettings settings;
  settings.mode = MACVLAN_MODE_BRIDGE;
  for (const auto& [key, text] : network.options) {
    const auto option =
        std::find_if(std::begin(kOptions), std::end(kOptions),
                     [&key = key](const Option& candidate) { return candidate.name == key; });
    if (option == std::end(kOptions))
      return invalid("network option {} is not supported by the macvlan driver", key);
    TRY(option->read(settings, key, text));
  }
  return settings;
}

std::optional<std::pair<std::string, uint16_t>> MacvlanSettings::vlan() const {
  const size_t dot = parent.rfind('.');
  if (dot == std::string::npos || dot == 0) return std::nullopt;
  const std::string_view digits = std::string_view(parent).substr(dot + 1);
  unsigned id = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), id);
  if (error != std::errc() || end != digits.data() + digits.size() || id < 1 || id > kLargestVlan)
    return std::nullopt;
  return std::pair(parent.substr(0, dot), static_cast<uint16_t>(id));
}

Status MacvlanDriver::check_options(const NetworkConfig& network) const {
  TRY(MacvlanSettings::read(network));
  return {};
}

// --- networks

// A parent has as many networks as are wanted, unless one of them takes it for itself.
Status MacvlanDriver::share_parent(const NetworkConfig& network, const MacvlanSettings& settings) {
  const bool passthru = settings.mode == MACVLAN_MODE_PASSTHRU;
  std::lock_guard lock(mutex_);
  auto& users = parents_[settings.parent];
  for (const auto& [id, user] : users)
    if (id != network.id && (user.passthru || passthru))
      return conflict(
          "interface {} is the parent of network {} already: in mode passthru a parent is not "
          "shared",
          settings.parent, user.network_name);
  users.insert_or_assign(network.id, User{network.id, network.name, passthru});
  return {};
}

Result<NetworkPlan> MacvlanDriver::plan_network(NetworkConfig wanted) {
  if (!wanted.ipv4 && !wanted.ipv6) return invalid("a network needs IPv4, IPv6 or both");
  const MacvlanSettings settings = TRY(MacvlanSettings::read(wanted));
  if (settings.parent.empty())
    return invalid("a macvlan network needs an interface of the host: -o parent=INTERFACE");
  NetworkPlan plan;
  plan.reservation = Reservation([this, wanted] {
    services_->ipam.give_up_network(wanted.id);
    if (services_->ipam.taken(wanted.id) == 0) forget_network(wanted);
  });
  const auto find = [&](const std::string& name) {
    return services_->links.with([&](NetlinkSocket& s) { return find_link(s, name); });
  };
  const std::optional<Link> parent = TRY(find(settings.parent));
  const auto vlan = settings.vlan();
  const std::string own = services_->alias(wanted.id);
  if (!parent) {
    if (!vlan || !TRY(find(vlan->first)))
      return invalid("the requested parent interface {} was not found on the host",
                     vlan ? vlan->first : settings.parent);
    plan.rows.push_back({"net.vlan", settings.parent, "network:" + wanted.id, "{}"});
  } else if (std::string_view(parent->alias).starts_with("gantry:")) {
    if (parent->alias != own)
      return conflict(
          "interface {} was made for another network, and goes with it: make one of your own to "
          "share",
          settings.parent);
    plan.rows.push_back({"net.vlan", settings.parent, "network:" + wanted.id, "{}"});
  }
  TRY(share_parent(wanted, settings));
  TRY(choose_pools(*services_, wanted));
  plan.network = std::move(wanted);
  return plan;
}

Status MacvlanDriver::create_network(const NetworkConfig& network) {
  const MacvlanSettings settings = TRY(MacvlanSettings::read(network));
  for (const IpamPool& pool : network.pools)
    TRY(services_->ipam.reserve_subnet(pool.subnet, network.id));
  TRY(share_parent(network, settings));
  const auto vlan = settings.vlan();
  const auto find = [&](const std::string& name) {
    return services_->links.with([&](NetlinkSocket& s) { return find_link(s, name); });
  };
  if (TRY(find(settings.parent))) return {};
  const std::optional<Link> below = vlan ? TRY(find(vlan->first)) : std::nullopt;
  if (!below)
    return make_error(ErrorKind::unavailable, "the parent interface {} of network {} is gone",
                      vlan ? vlan->first : settings.parent, network.name);
  TRY(failpoint("network.vlan"));
  TRY(services_->links.with([&](NetlinkSocket& s) {
    return create_vlan(s, settings.parent, services_->alias(network.id), below->index,
                       vlan->second);
  }));
  return failpoint("network.vlan.made");
}

Status MacvlanDriver::remove_network(const NetworkConfig& network) {
  const MacvlanSettings settings = TRY(MacvlanSettings::read(network));
  const auto link =
      TRY(services_->links.with([&](NetlinkSocket& s) { return find_link(s, settings.parent); }));
  if (link && link->alias == services_->alias(network.id)) TRY(release_vlan(settings.parent));
  forget_network(network);
  return {};
}

void MacvlanDriver::forget_network(const NetworkConfig& network) {
  services_->ipam.release_network(network.id);
  std::lock_guard lock(mutex_);
  for (auto& [link, users] : parents_) users.erase(network.id);
}

Status MacvlanDriver::release_vlan(const std::string& link) {
  if (TRY(probe_vlan(link)) == engine::Presence::absent) return {};
  TRY(failpoint("network.vlan.delete"));
  return services_->removals.with([&](NetlinkSocket& s) { return delete_link(s, link); });
}

Result<engine::Presence> MacvlanDriver::probe_vlan(const std::string& link) {
  const auto existing =
      TRY(services_->links.with([&](NetlinkSocket& s) { return find_link(s, link); }));
  const bool ours = existing && std::string_view(existing->alias).starts_with(services_->alias(""));
  return ours ? engine::Presence::present : engine::Presence::absent;
}

// --- endpoints

bool MacvlanDriver::has_gateway(const NetworkConfig& network, IpFamily family) const {
  return !network.internal && network.pool(family) != nullptr;
}

Result<EndpointPlan> MacvlanDriver::plan_endpoint(const NetworkConfig& network,
                                                  EndpointRequest request) {
  const MacvlanSettings settings = TRY(MacvlanSettings::read(network));
  EndpointPlan plan =
      TRY(plan_addresses(*services_, *this, network, request, settings.interface_prefix, nullptr));
  Endpoint& endpoint = plan.endpoint;
  // The one container there has its parent's address.
  if (settings.mode == MACVLAN_MODE_PASSTHRU && !request.mac) {
    const auto parent =
        TRY(services_->links.with([&](NetlinkSocket& s) { return find_link(s, settings.parent); }));
    if (parent) endpoint.mac = format_mac(parent->mac);
  }
  plan.rows.push_back({"net.macvlan", endpoint.host_interface, "container:" + request.container_id,
                       json::dump(MacvlanRow{endpoint.interface_name})});
  return plan;
}

Result<int> MacvlanDriver::parent_index(const NetworkConfig& network,
                                        const MacvlanSettings& settings) {
  TRY(create_network(network));
  const auto link =
      TRY(services_->links.with([&](NetlinkSocket& s) { return find_link(s, settings.parent); }));
  if (!link)
    return make_error(ErrorKind::unavailable, "the parent interface {} of network {} is gone",
                      settings.parent, network.name);
  return link->index;
}

Status MacvlanDriver::join(const NetworkConfig& network, const Endpoint& endpoint, int netns) {
  const MacvlanSettings settings = TRY(MacvlanSettings::read(network));
  MacvlanSpec spec;
  spec.name = endpoint.interface_name;
  spec.parent_index = TRY(parent_index(network, settings));
  spec.mode = settings.mode;
  spec.mtu = settings.mtu;
  spec.mac = TRY(parse_mac(endpoint.mac));
  spec.netns_fd = netns;
  {
    std::lock_guard lock(mutex_);
    namespaces_[endpoint.host_interface];
  }
  found(endpoint.id, netns);
  TRY(failpoint("network.macvlan"));
  Status made =
      services_->links.with([&](NetlinkSocket& socket) { return create_macvlan(socket, spec); });
  if (!made && settings.mode == MACVLAN_MODE_PASSTHRU && made.error().code() == EINVAL)
    return conflict("network {} is in mode passthru: its parent {} has a container already",
                    network.name, settings.parent);
  TRY(std::move(made));
  TRY(failpoint("network.macvlan.made"));
  NetlinkSocket inside = TRY(NetlinkSocket::open_in(NETLINK_ROUTE, netns));
  const auto link = TRY(find_link(inside, endpoint.interface_name));
  if (!link) return internal("interface {} vanished while it was made", endpoint.interface_name);
  InterfaceSetup setup;
  setup.index = link->index;
  setup.mtu = link->mtu;
  setup.ipv4 = endpoint.ipv4;
  setup.ipv6 = endpoint.ipv6;
  setup.more = endpoint.link_local;
  setup.gateway4 = endpoint.gateway4;
  setup.gateway6 = endpoint.gateway6;
  const std::string what = fmt::format("interface {} of container {}", endpoint.interface_name,
                                       endpoint.container_id.substr(0, 12));
  TRY(configure_interface(inside, setup).context("{}", what));
  const EndpointOptions options = TRY(EndpointOptions::read(endpoint.options));
  return apply_sysctls(options, endpoint.interface_name, netns).context("{}", what);
}

Status MacvlanDriver::leave(const NetworkConfig&, const Endpoint&) { return {}; }

void MacvlanDriver::found(const std::string& endpoint_id, int netns) {
  std::lock_guard lock(mutex_);
  const auto known = namespaces_.find(services_->link_name(endpoint_id));
  if (known != namespaces_.end()) known->second = UniqueFd(::fcntl(netns, F_DUPFD_CLOEXEC, 0));
}

Status MacvlanDriver::adopt(const NetworkConfig& network, const Endpoint& endpoint) {
  for (const auto& address : {endpoint.ipv4, endpoint.ipv6})
    if (address) services_->ipam.restore(network.id, address->address());
  return {};
}

Status MacvlanDriver::release_interface(const std::string& row_name, const std::string& data) {
  const MacvlanRow row = TRY(json::parse<MacvlanRow>(data));
  UniqueFd netns;
  {
    std::lock_guard lock(mutex_);
    const auto known = namespaces_.find(row_name);
    if (known == namespaces_.end()) return {};
    if (known->second) netns = UniqueFd(::fcntl(known->second.get(), F_DUPFD_CLOEXEC, 0));
  }
  if (netns) {
    TRY(failpoint("network.macvlan.delete"));
    NetlinkSocket inside = TRY(NetlinkSocket::open_in(NETLINK_ROUTE, netns.get()));
    const auto link = TRY(find_link(inside, row.interface_name));
    if (link && link->kind == "macvlan") TRY(delete_link(inside, link->name));
  }
  std::lock_guard lock(mutex_);
  namespaces_.erase(row_name);
  return {};
}

engine::Presence MacvlanDriver::probe_interface(const std::string& row_name) const {
  std::lock_guard lock(mutex_);
  return namespaces_.contains(row_name) ? engine::Presence::present : engine::Presence::absent;
}

void MacvlanDriver::restore_interface(const std::string& row_name) {
  std::lock_guard lock(mutex_);
  namespaces_[row_name];
}

}  // namespace gantry::drivers

#include "drivers/network/bridge_driver.h"

#include <algorithm>
#include <charconv>

#include "base/failpoint.h"
#include "base/id.h"
#include "base/log.h"
#include "drivers/network/foreign_forward.h"
#include "drivers/network/link.h"

namespace gantry::drivers {

namespace {

constexpr std::string_view kOptionPrefix = "com.docker.network.";

Result<bool> read_bool(std::string_view key, std::string_view text) {
  // Go's strconv.ParseBool, as Docker reads them.
  for (std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"})
    if (text == yes) return true;
  for (std::string_view no : {"0", "f", "F", "FALSE", "false", "False"})
    if (text == no) return false;
  return invalid("invalid value \"{}\" of network option {}: true or false is expected", text, key);
}

Status read_host_binding(std::optional<IpAddress>& out, IpFamily family, const std::string& text) {
  const IpAddress address = TRY(IpAddress::parse(text));
  if (address.family() != family)
    return invalid("invalid host binding {}: an IPv{} address is expected", text,
                   family == IpFamily::v4 ? 4 : 6);
  out = address;
  return {};
}

Result<BridgeSettings::Mode> read_mode(std::string_view key, std::string_view text) {
  using Mode = BridgeSettings::Mode;
  if (text.empty() || text == "nat") return Mode::nat;
  if (text == "routed") return Mode::routed;
  if (text == "isolated") return Mode::isolated;
  return invalid("invalid value \"{}\" of network option {}: nat, routed or isolated is expected",
                 text, key);
}

std::vector<Cidr> subnets_of(const NetworkConfig& network) {
  std::vector<Cidr> out;
  for (const IpamPool& pool : network.pools) out.push_back(pool.subnet);
  return out;
}

BridgeRules rules_of(const NetworkConfig& network, const BridgeSettings& settings) {
  using Mode = BridgeSettings::Mode;
  return {settings.link,
          settings.masquerade,
          network.internal,
          settings.icc,
          subnets_of(network),
          settings.mode4 == Mode::routed,
          settings.mode6 == Mode::routed};
}

using Reader = Status (*)(BridgeSettings&, std::string_view key, const std::string& text);
struct Option {
  std::string_view name;
  Reader read;
};
constexpr Option kOptions[] = {
    {"bridge.name",
     [](BridgeSettings& s, std::string_view, const std::string& text) -> Status {
       s.link = text;
       return check_link_name(text);
     }},
    {"bridge.default_bridge",
     [](BridgeSettings&, std::string_view, const std::string&) -> Status { return {}; }},
    {"bridge.enable_icc",
     [](BridgeSettings& s, std::string_view key, const std::string& text) -> Status {
       s.icc = TRY(read_bool(key, text));
       return {};
     }},
    {"bridge.enable_ip_masquerade",
     [](BridgeSettings& s, std::string_view key, const std::string& text) -> Status {
       s.masquerade = TRY(read_bool(key, text));
       return {};
     }},
    {"bridge.host_binding_ipv4",
     [](BridgeSettings& s, std::string_view, const std::string& text) -> Status {
       return read_host_binding(s.host_ip4, IpFamily::v4, text);
     }},
    {"bridge.host_binding_ipv6",
     [](BridgeSettings& s, std::string_view, const std::string& text) -> Status {
       return read_host_binding(s.host_ip6, IpFamily::v6, text);
     }},
    {"bridge.gateway_mode_ipv4",
     [](BridgeSettings& s, std::string_view key, const std::string& text) -> Status {
       s.mode4 = TRY(read_mode(key, text));
       return {};
     }},
    {"bridge.gateway_mode_ipv6",
     [](BridgeSettings& s, std::string_view key, const std::string& text) -> Status {
       s.mode6 = TRY(read_mode(key, text));
       return {};
     }},
    {"driver.mtu",
     [](BridgeSettings& s, std::string_view key, const std::string& text) -> Status {
       const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), s.mtu);
       if (error != std::errc() || end != text.data() + text.size() || s.mtu < 68 || s.mtu > 65535)
         return invalid("invalid value \"{}\" of network option {}: 68 to 65535", text, key);
       return {};
     }},
    {"container_iface_prefix",
     [](BridgeSettings& s, std::string_view, const std::string& text) -> Status {
       s.interface_prefix = text;
       return check_link_name(text + "00");
     }},
};

const char* forwarding_sysctl(IpFamily family) {
  return family == IpFamily::v4 ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding";
}

}  // namespace

Result<BridgeSettings> BridgeSettings::read(const NetworkConfig& network) {
  BridgeSettings settings;
  settings.link = "br-" + network.id.substr(0, 12);
  for (const auto& [key, text] : network.options) {
    if (!std::string_view(key).starts_with(kOptionPrefix))
      continue;  // of others; Docker ignores them
    const std::string_view name = std::string_view(key).substr(kOptionPrefix.size());
    const auto option =
        std::find_if(std::begin(kOptions), std::end(kOptions),
                     [&](const Option& candidate) { return candidate.name == name; });
    if (option == std::end(kOptions))
      return invalid("network option {} is not supported by the bridge driver", key);
    TRY(option->read(settings, key, text));
  }
  const bool isolated = settings.mode4 == Mode::isolated || settings.mode6 == Mode::isolated;
  if (isolated && !network.internal)
    return invalid("gateway mode 'isolated' can only be used for an internal network");
  return settings;
}

// --- networks

Status BridgeDriver::choose_pools(NetworkConfig& network) {
  std::vector<IpFamily> missing;
  if (network.ipv4 && network.pool(IpFamily::v4) == nullptr) missing.push_back(IpFamily::v4);
  if (network.ipv6 && network.pool(IpFamily::v6) == nullptr) missing.push_back(IpFamily::v6);
  TRY(failpoint("network.subnet"));
  for (IpamPool& pool : network.pools) TRY(services_->ipam.reserve_subnet(pool.subnet, network.id));
  TRY(failpoint("network.subnet.reserved"));
  if (!missing.empty()) {
    std::vector<Cidr> in_use;
    for (const Route& route : TRY(services_->links.with(list_routes)))
      in_use.push_back(route.destination);
    for (IpFamily family : missing) {
      std::vector<AddressPool> pools = services_->options.address_pools;
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
      pool.subnet = TRY(services_->ipam.choose_subnet(pools, family, in_use, network.id));
      network.pools.push_back(std::move(pool));
    }
  }
  for (IpamPool& pool : network.pools) {
    IpamPool complete = TRY(complete_pool(pool));
    pool = std::move(complete);
  }
  return {};
}

Result<NetworkPlan> BridgeDriver::plan_network(NetworkConfig wanted) {
  if (!wanted.ipv4 && !wanted.ipv6) return invalid("a network needs IPv4, IPv6 or both");
  const BridgeSettings settings = TRY(BridgeSettings::read(wanted));
  NetworkPlan plan;
  plan.reservation = Reservation([this, id = wanted.id] { services_->ipam.give_up_network(id); });
  TRY(choose_pools(wanted));
  const std::string owner = "network:" + wanted.id;
  if (services_->options.manage_forwarding && !wanted.internal) {
    for (const IpamPool& pool : wanted.pools) {
      const char* name = forwarding_sysctl(pool.subnet.family());
      const std::string old = TRY(read_sysctl(name));
      if (old == "0")
        plan.rows.push_back(
            {"net.sysctl", wanted.id + "/" + name, owner, json::dump(SysctlRow{old})});
    }
  }
  const BridgeRules rules = rules_of(wanted, settings);
  plan.rows.push_back({"net.bridge", settings.link, owner,
                       json::dump(BridgeRow{wanted.id, rules.masquerade, rules.internal, rules.icc,
                                            rules.subnets, rules.routed4, rules.routed6})});
  plan.network = std::move(wanted);
  return plan;
}

// A bridge of our name that is not marked as this instance's. Of a Gantry that is gone (its table
// is not owned by a living process, nothing is plugged in) it is rubbish; else it is somebody's.
Status BridgeDriver::reclaim(const Link& existing, const BridgeSettings& settings) {
  constexpr std::string_view kMark = "gantry:";
  if (existing.kind == "bridge" && std::string_view(existing.alias).starts_with(kMark)) {
    const std::string other =
        existing.alias.substr(kMark.size(), existing.alias.find(':', kMark.size()) - kMark.size());
    bool alive = other == services_->instance();
    NetlinkSocket socket = TRY(NetlinkSocket::open(NETLINK_NETFILTER));
    for (const nft::TableInfo& table : TRY(nft::list_tables(socket)))
      if (table.name == Firewall::table_name(other) && (table.owner != 0 || table.flags == 0))
        alive = true;
    for (const Link& link : TRY(services_->links.with(list_links)))
      if (link.master == existing.index) alive = true;
    if (!alive) {
      log::info("removing the bridge {} that the Gantry instance {} left", settings.link, other);
      return services_->removals.with(
          [&](NetlinkSocket& s) { return delete_link(s, settings.link); });
    }
    return conflict(
        "bridge {} belongs to another network or daemon of Gantry ({}): choose another name with "
        "--bridge",
        settings.link, existing.alias);
  }
  return conflict(
      "interface {} exists and is not Gantry's: choose another name with --bridge, or remove it "
      "with "
      "`ip link delete {}`",
      settings.link, settings.link);
}

Status BridgeDriver::ensure_bridge(const NetworkConfig& network, const BridgeSettings& settings) {
  auto& links = services_->links;
  const auto find = [&](NetlinkSocket& s) { return find_link(s, settings.link); };
  std::optional<Link> link = TRY(links.with(find));
  if (link && link->alias != services_->alias(network.id)) {
    TRY(reclaim(*link, settings));
    link.reset();
  }
  if (!link) {
    TRY(failpoint("network.bridge"));
    BridgeSpec spec;
    spec.name = settings.link;
    spec.alias = services_->alias(network.id);
    spec.mtu = settings.mtu;
    const IpamPool* pool = network.pool(IpFamily::v4);
    spec.mac = mac_from_ipv4(
        pool != nullptr ? *pool->gateway
                        : IpAddress::from_number(IpFamily::v4,
                                                 network.pools[0].gateway->number() & 0xffffffff));
    // Lets 127.0.0.1 of the host reach published ports; the firewall keeps containers from it.
    spec.route_localnet = services_->firewall != nullptr && !network.internal;
    TRY(links.with([&](NetlinkSocket& s) { return create_bridge(s, spec); }));
    TRY(failpoint("network.bridge.made"));
    link = TRY(links.with(find));
    if (!link) return internal("bridge {} vanished while it was made", settings.link);
  }
  {
    std::lock_guard lock(mutex_);
    indexes_[settings.link] = link->index;
  }
  TRY(failpoint("network.bridge.address"));
  for (const IpamPool& pool : network.pools) {
    if (settings.mode(pool.subnet.family()) == BridgeSettings::Mode::isolated) continue;
    TRY(links.with([&](NetlinkSocket& s) {
      return add_address(s, link->index, Cidr(*pool.gateway, pool.subnet.prefix()));
    }));
  }
  return {};
}

Status BridgeDriver::create_network(const NetworkConfig& network) {
  const BridgeSettings settings = TRY(BridgeSettings::read(network));
  for (const IpamPool& pool : network.pools)
    TRY(services_->ipam.reserve_subnet(pool.subnet, network.id));
  TRY(ensure_bridge(network, settings).context("network {}", network.name));
  TRY(failpoint("network.firewall_bridge"));
  if (services_->firewall) TRY(services_->firewall->add_bridge(rules_of(network, settings)));
  TRY(failpoint("network.firewall_bridge.made"));
  if (services_->firewall && !network.internal) {
    // Best effort: a firewall that is owned by another process cannot be changed, and is told of.
    NetlinkSocket socket = TRY(NetlinkSocket::open(NETLINK_NETFILTER));
    auto passed = pass_foreign_forward(socket, services_->instance(), settings.link);
    if (!passed) log::warn("network {}: {}", network.name, passed.error().message());
  }
  TRY(failpoint("network.forwarding"));
  if (services_->options.manage_forwarding && !network.internal) {
    for (const IpamPool& pool : network.pools) {
      const char* name = forwarding_sysctl(pool.subnet.family());
      const std::string now = TRY(read_sysctl(name));
      if (now == "0") TRY(write_sysctl(name, "1"));
    }
  }
  return {};
}

Status BridgeDriver::remove_network(const NetworkConfig& network) {
  const BridgeSettings settings = TRY(BridgeSettings::read(network));
  TRY(release_bridge(settings.link));
  services_->ipam.release_network(network.id);
  return {};
}

void BridgeDriver::forget_network(const NetworkConfig& network) {
  services_->ipam.release_network(network.id);
}

Status BridgeDriver::release_bridge(const std::string& link) {
  if (services_->firewall) {
    TRY(failpoint("network.bridge.close"));
    TRY(services_->firewall->remove_bridge(link));
    NetlinkSocket socket = TRY(NetlinkSocket::open(NETLINK_NETFILTER));
    TRY(leave_foreign_forward(socket, services_->instance(), link));
  }
  std::optional<Link> existing =
      TRY(services_->links.with([&](NetlinkSocket& s) { return find_link(s, link); }));
  if (!existing || !std::string_view(existing->alias).starts_with(services_->alias(""))) return {};
  TRY(failpoint("network.bridge.delete"));
  TRY(services_->removals.with([&](NetlinkSocket& s) { return delete_link(s, link); }));
  services_->ipam.release_network(existing->alias.substr(services_->alias("").size()));
  std::lock_guard lock(mutex_);
  indexes_.erase(link);
  return {};
}

Result<engine::Presence> BridgeDriver::probe_bridge(const std::string& link) {
  std::optional<Link> existing =
      TRY(services_->links.with([&](NetlinkSocket& s) { return find_link(s, link); }));
  const bool ours = existing && std::string_view(existing->alias).starts_with(services_->alias(""));
  return ours ? engine::Presence::present : engine::Presence::absent;
}

// The value from before returns when no bridge of any Gantry instance needs forwarding of that
// family any more.
Status BridgeDriver::release_sysctl(const std::string& row_name, const std::string& data) {
  const std::string name = row_name.substr(row_name.find('/') + 1);
  const SysctlRow row = TRY(json::parse<SysctlRow>(data));
  const std::string own = services_->alias(row_name.substr(0, row_name.find('/')));
  const IpFamily family = name == forwarding_sysctl(IpFamily::v4) ? IpFamily::v4 : IpFamily::v6;
  const Cidr link_local = TRY(Cidr::parse("fe80::/10"));  // the kernel's own doing
  const std::vector<LinkAddress> addresses = TRY(services_->links.with(list_addresses));
  for (const Link& link : TRY(services_->links.with(list_links))) {
    if (!std::string_view(link.alias).starts_with("gantry:") || link.kind != "bridge" ||
        link.alias == own)
      continue;
    for (const LinkAddress& address : addresses)
      if (address.link_index == link.index && address.address.family() == family &&
          !link_local.contains(address.address.address()))
        return {};
  }
  return write_sysctl(name, row.old);
}

}  // namespace gantry::drivers

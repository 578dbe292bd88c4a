// Links, addresses, routes: what the drivers need of rtnetlink, a function a request. All of them
// go through a socket, whose network namespace they act in. Sources: rtnetlink(7), linux/if_link.h,
// linux/veth.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/netlink.h"
#include "base/result.h"
#include "drivers/network/ip_address.h"

namespace gantry::drivers {

inline constexpr size_t kLinkNameMax = 15;  // IFNAMSIZ - 1
// What the kernel takes as a link's name: 1–15 bytes, no "/", no white space, not "." or "..".
Status check_link_name(std::string_view name);

struct Link {
  int index = 0;
  std::string name;
  std::string kind;   // "bridge", "veth", ""
  std::string alias;  // ours carry "gantry:INSTANCE:OWNER"
  MacAddress mac{};
  unsigned mtu = 0;
  bool up = false;
  int master = 0;      // index of the bridge it belongs to
  int peer_index = 0;  // of a veth's other end, in the other end's namespace
};

Result<std::optional<Link>> find_link(NetlinkSocket& socket, const std::string& name);
Result<std::vector<Link>> list_links(NetlinkSocket& socket);
Status delete_link(NetlinkSocket& socket, const std::string& name);  // not there: success

struct BridgeSpec {
  std::string name;
  std::string alias;
  MacAddress mac{};
  unsigned mtu = 1500;
  bool route_localnet = false;
  bool forward = false;
};
// Creates the bridge and sets it up. EEXIST (conflict) if a link of that name exists.
Status create_bridge(NetlinkSocket& socket, const BridgeSpec& spec);

struct VethSpec {
  std::string name;  // host end
  std::string alias;
  int bridge_index = 0;  // the host end's master
  unsigned mtu = 1500;
  enum class Isolation { none, isolated } isolation = Isolation::none;  // IFLA_BRPORT_ISOLATED
  enum class Hairpin { off, on } hairpin = Hairpin::off;  // IFLA_BRPORT_MODE: frames may go back
  std::string peer_name;                                  // in the container
  MacAddress peer_mac{};
  int netns_fd = -1;  // where the peer is made
};
// Creates the pair, the host end up and enslaved. Returns the peer's index in its namespace.
Result<int> create_veth(NetlinkSocket& socket, const VethSpec& spec);

// What a container's namespace gets; sent in one batch.
struct InterfaceSetup {
  int index = 0;
  std::optional<Cidr> ipv4;
  std::optional<Cidr> ipv6;
  std::vector<Cidr> more;             // further addresses
  std::optional<IpAddress> gateway4;  // set: default route through it
  std::optional<IpAddress> gateway6;
};
Status configure_interface(NetlinkSocket& socket, const InterfaceSetup& setup);
// Asking for a link makes the kernel (6.8 and later) act on its new carrier now, not when the
// worker for that gets around to it; until then packets are dropped, and an ARP request is repeated
// only after a second.
Status settle_links(NetlinkSocket& socket, const std::vector<std::string>& names);
Status set_loopback_up(NetlinkSocket& socket);

Status add_address(NetlinkSocket& socket, int link_index, const Cidr& address);
struct LinkAddress {
  int link_index = 0;
  Cidr address;
};
Result<std::vector<LinkAddress>> list_addresses(NetlinkSocket& socket);
// In place of the default route of that family, if there is one.
Status set_default_route(NetlinkSocket& socket, int link_index, const IpAddress& gateway);
// The gateways of the main table's default routes.
Result<std::vector<IpAddress>> list_gateways(NetlinkSocket& socket);
// Destinations of the main table's unicast routes, default routes left out.
struct Route {
  Cidr destination;
  int link_index = 0;
};
Result<std::vector<Route>> list_routes(NetlinkSocket& socket);

}  // namespace gantry::drivers

#include "drivers/network/link.h"

#include <net/if.h>  // before the kernel headers, which give way to libc
#include <netinet/in.h>

#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sys/socket.h>

#include <algorithm>

namespace gantry::drivers {

namespace {

int af(IpFamily family) { return family == IpFamily::v4 ? AF_INET : AF_INET6; }

ifinfomsg link_header(unsigned flags = 0, unsigned change = 0) {
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  header.ifi_flags = flags;
  header.ifi_change = change;
  return header;
}

void put_address(NetlinkBatch& batch, uint16_t type, const IpAddress& address) {
  const auto raw = address.bytes();
  batch.put(type, raw.data(), address.size());
}

void get_link(NetlinkBatch& batch, const std::string& name) {
  batch.begin(RTM_GETLINK, 0, link_header(), "look up link " + name);
  batch.put_string(IFLA_IFNAME, name);
  batch.put<uint32_t>(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

std::optional<Link> read_link(const nlmsghdr& message) {
  const auto* header = fixed_header<ifinfomsg>(message);
  if (message.nlmsg_type != RTM_NEWLINK || header == nullptr) return std::nullopt;
  const Attributes attributes = attributes_of<ifinfomsg>(message);
  Link link;
  link.index = header->ifi_index;
  link.up = (header->ifi_flags & IFF_UP) != 0;
  link.name = attributes.text(IFLA_IFNAME);
  link.alias = attributes.text(IFLA_IFALIAS);
  link.kind = attributes.nested(IFLA_LINKINFO).text(IFLA_INFO_KIND);
  attributes.read(IFLA_ADDRESS, link.mac);
  attributes.read(IFLA_MTU, link.mtu);
  attributes.read(IFLA_MASTER, link.master);
  attributes.read(IFLA_LINK, link.peer_index);
  return link;
}

void new_address(NetlinkBatch& batch, int index, const Cidr& address) {
  ifaddrmsg header{};
  header.ifa_family = af(address.family());
  header.ifa_prefixlen = address.prefix();
  header.ifa_index = index;
  // An address that we allotted needs no duplicate detection, which would keep it unusable for a
  // second.
  if (address.family() == IpFamily::v6) header.ifa_flags = IFA_F_NODAD;
  batch.begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, header,
              "add address " + address.to_string());
  put_address(batch, IFA_LOCAL, address.address());
  put_address(batch, IFA_ADDRESS, address.address());
  if (address.family() == IpFamily::v4 && address.prefix() < 31)
    put_address(batch, IFA_BROADCAST, address.last());
}

void default_route(NetlinkBatch& batch, int index, const IpAddress& gateway) {
  rtmsg header{};
  header.rtm_family = af(gateway.family());
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_protocol = RTPROT_BOOT;
  header.rtm_scope = RT_SCOPE_UNIVERSE;
  header.rtm_type = RTN_UNICAST;
  batch.begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, header,
              "add default route via " + gateway.to_string());
  put_address(batch, RTA_GATEWAY, gateway);
  batch.put<uint32_t>(RTA_OIF, index);
}

// Without an IPv6 network there is no use for a link-local address, nor for the multicast that
// announces it.
void without_link_local(NetlinkBatch& batch) {
  batch.nest(IFLA_AF_SPEC, [&] {
    batch.nest(AF_INET6,
               [&] { batch.put<uint8_t>(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE); });
  });
}

}  // namespace

Status check_link_name(std::string_view name) {
  const bool bad_byte = std::any_of(name.begin(), name.end(), [](unsigned char c) {
    return c <= ' ' || c == '/' || c == ':' || c == 0x7f;
  });
  if (name.empty() || name.size() > kLinkNameMax || bad_byte || name == "." || name == "..")
    return invalid("\"{}\" is not a valid interface name: 1 to {} characters, no '/', ':' or space",
                   name, kLinkNameMax);
  return {};
}

Result<std::optional<Link>> find_link(NetlinkSocket& socket, const std::string& name) {
  NetlinkBatch batch;
  get_link(batch, name);
  std::optional<Link> found;
  Status status =
      socket.transact(batch, [&](const nlmsghdr& message) { found = read_link(message); });
  if (!status && status.error().code() == ENODEV) return std::optional<Link>();
  if (!status) return std::move(status).error();
  return found;
}

Result<std::vector<Link>> list_links(NetlinkSocket& socket) {
  NetlinkBatch batch;
  batch.begin(RTM_GETLINK, 0, link_header(), "list links");
  batch.put<uint32_t>(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  std::vector<Link> links;
  TRY(socket.dump(
      batch,
      [&](const nlmsghdr& message) {
        if (auto link = read_link(message)) links.push_back(std::move(*link));
      },
      [&] { links.clear(); }));
  return links;
}

Status delete_link(NetlinkSocket& socket, const std::string& name) {
  NetlinkBatch batch;
  batch.begin(RTM_DELLINK, 0, link_header(), "delete link " + name);
  batch.put_string(IFLA_IFNAME, name);
  Status status = socket.transact(batch);
  if (!status && status.error().code() == ENODEV) return {};
  return status;
}

Status create_bridge(NetlinkSocket& socket, const BridgeSpec& spec) {
  NetlinkBatch batch;
  batch.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, link_header(), "create bridge " + spec.name);
  batch.put_string(IFLA_IFNAME, spec.name);
  // A MAC of its own; else the bridge takes the lowest of its ports' and changes when containers
  // come and go.
  batch.put(IFLA_ADDRESS, spec.mac);
  batch.put<uint32_t>(IFLA_MTU, spec.mtu);
  batch.nest(IFLA_LINKINFO, [&] { batch.put_string(IFLA_INFO_KIND, "bridge"); });

  batch.begin(RTM_NEWLINK, 0, link_header(IFF_UP, IFF_UP), "set up bridge " + spec.name);
  batch.put_string(IFLA_IFNAME, spec.name);
  batch.put_string(IFLA_IFALIAS, spec.alias);
  batch.put<uint32_t>(IFLA_MTU, spec.mtu);  // set by hand, it no longer follows the ports
  if (spec.route_localnet || spec.forward) {
    batch.nest(IFLA_AF_SPEC, [&] {
      batch.nest(AF_INET, [&] {
        batch.nest(IFLA_INET_CONF, [&] {
          if (spec.route_localnet) batch.put<uint32_t>(IPV4_DEVCONF_ROUTE_LOCALNET, 1);
          if (spec.forward) batch.put<uint32_t>(IPV4_DEVCONF_FORWARDING, 1);
        });
      });
    });
  }
  return socket.transact(batch);
}

Result<int> create_veth(NetlinkSocket& socket, const VethSpec& spec) {
  NetlinkBatch batch;
  batch.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, link_header(),
              "create interface " + spec.name);
  batch.put_string(IFLA_IFNAME, spec.name);
  batch.put<uint32_t>(IFLA_MTU, spec.mtu);
  if (spec.bridge_index != 0) batch.put<int32_t>(IFLA_MASTER, spec.bridge_index);
  batch.nest(IFLA_LINKINFO, [&] {
    batch.put_string(IFLA_INFO_KIND, "veth");
    batch.nest(IFLA_INFO_DATA, [&] {
      batch.nest(VETH_INFO_PEER, [&] {
        const ifinfomsg peer = link_header();  // cannot be up yet: veth_open wants both ends tied
        batch.put_raw(&peer, sizeof peer);
        batch.put_string(IFLA_IFNAME, spec.peer_name);
        batch.put<uint32_t>(IFLA_MTU, spec.mtu);
        batch.put(IFLA_ADDRESS, spec.peer_mac);
        batch.put<int32_t>(IFLA_NET_NS_FD, spec.netns_fd);
      });
    });
  });

  batch.begin(RTM_NEWLINK, 0, link_header(), "mark interface " + spec.name);
  batch.put_string(IFLA_IFNAME, spec.name);
  batch.put_string(IFLA_IFALIAS, spec.alias);
  without_link_local(batch);
  const bool isolated = spec.isolation == VethSpec::Isolation::isolated;
  const bool hairpin = spec.hairpin == VethSpec::Hairpin::on;
  if (isolated || hairpin) {
    batch.nest(IFLA_LINKINFO, [&] {
      batch.put_string(IFLA_INFO_SLAVE_KIND, "bridge");
      batch.nest(IFLA_INFO_SLAVE_DATA, [&] {
        if (isolated) batch.put<uint8_t>(IFLA_BRPORT_ISOLATED, 1);
        if (hairpin) batch.put<uint8_t>(IFLA_BRPORT_MODE, 1);
      });
    });
  }

  // On its own: within one message the kernel sets a link up before it reads how to make addresses.
  batch.begin(RTM_NEWLINK, 0, link_header(IFF_UP, IFF_UP), "set up interface " + spec.name);
  batch.put_string(IFLA_IFNAME, spec.name);

  get_link(batch, spec.name);
  int peer_index = 0;
  TRY(socket.transact(batch, [&](const nlmsghdr& message) {
    if (auto link = read_link(message)) peer_index = link->peer_index;
  }));
  if (peer_index == 0) return internal("create interface {}: its peer has no index", spec.name);
  return peer_index;
}

Status configure_interface(NetlinkSocket& socket, const InterfaceSetup& setup) {
  NetlinkBatch batch;
  ifinfomsg loopback = link_header(IFF_UP, IFF_UP);
  loopback.ifi_index = 1;
  batch.begin(RTM_NEWLINK, 0, loopback, "set up the loopback interface");
  ifinfomsg own = link_header();
  own.ifi_index = setup.index;
  if (!setup.ipv6) {
    batch.begin(RTM_NEWLINK, 0, own, "configure the interface");
    without_link_local(batch);
  }
  own.ifi_flags = own.ifi_change = IFF_UP;
  batch.begin(RTM_NEWLINK, 0, own, "set up the interface");
  for (const auto& address : {setup.ipv4, setup.ipv6})
    if (address) new_address(batch, setup.index, *address);
  for (const Cidr& address : setup.more) new_address(batch, setup.index, address);
  for (const auto& gateway : {setup.gateway4, setup.gateway6})
    if (gateway) default_route(batch, setup.index, *gateway);
  // As settle_links().
  own = link_header();
  own.ifi_index = setup.index;
  batch.begin(RTM_GETLINK, 0, own, "look up the interface");
  batch.put<uint32_t>(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return socket.transact(batch);
}

Status settle_links(NetlinkSocket& socket, const std::vector<std::string>& names) {
  NetlinkBatch batch;
  for (const std::string& name : names) get_link(batch, name);
  return socket.transact(batch);
}

Status set_loopback_up(NetlinkSocket& socket) {
  NetlinkBatch batch;
  ifinfomsg loopback = link_header(IFF_UP, IFF_UP);
  loopback.ifi_index = 1;
  batch.begin(RTM_NEWLINK, 0, loopback, "set up the loopback interface");
  return socket.transact(batch);
}

Status add_address(NetlinkSocket& socket, int link_index, const Cidr& address) {
  NetlinkBatch batch;
  new_address(batch, link_index, address);
  return socket.transact(batch);
}

Result<std::vector<LinkAddress>> list_addresses(NetlinkSocket& socket) {
  NetlinkBatch batch;
  batch.begin(RTM_GETADDR, 0, ifaddrmsg{}, "list addresses");
  std::vector<LinkAddress> out;
  TRY(socket.dump(
      batch,
      [&](const nlmsghdr& message) {
        const auto* header = fixed_header<ifaddrmsg>(message);
        if (message.nlmsg_type != RTM_NEWADDR || header == nullptr) return;
        const IpFamily family = header->ifa_family == AF_INET ? IpFamily::v4 : IpFamily::v6;
        const Attributes attributes = attributes_of<ifaddrmsg>(message);
        // IFA_ADDRESS is the peer's on a point-to-point link; IPv6 often has no IFA_LOCAL.
        std::string_view raw = attributes.find(IFA_LOCAL);
        if (raw.empty()) raw = attributes.find(IFA_ADDRESS);
        if (raw.size() != (family == IpFamily::v4 ? 4u : 16u)) return;
        out.push_back({static_cast<int>(header->ifa_index),
                       Cidr(IpAddress::from_bytes(family, raw.data()), header->ifa_prefixlen)});
      },
      [&] { out.clear(); }));
  return out;
}

Status set_default_route(NetlinkSocket& socket, int link_index, const IpAddress& gateway) {
  NetlinkBatch batch;
  default_route(batch, link_index, gateway);
  return socket.transact(batch);
}

namespace {

// Every unicast route of the main table, with its attributes.
Status each_route(NetlinkSocket& socket, const std::function<void()>& restart,
                  const std::function<void(const rtmsg&, IpFamily, const Attributes&)>& visit) {
  NetlinkBatch batch;
  batch.begin(RTM_GETROUTE, 0, rtmsg{}, "list routes");
  return socket.dump(
      batch,
      [&](const nlmsghdr& message) {
        const auto* header = fixed_header<rtmsg>(message);
        if (message.nlmsg_type != RTM_NEWROUTE || header == nullptr) return;
        if (header->rtm_table != RT_TABLE_MAIN || header->rtm_type != RTN_UNICAST) return;
        if (header->rtm_family != AF_INET && header->rtm_family != AF_INET6) return;
        visit(*header, header->rtm_family == AF_INET ? IpFamily::v4 : IpFamily::v6,
              attributes_of<rtmsg>(message));
      },
      restart);
}

std::optional<IpAddress> address_in(const Attributes& attributes, uint16_t type, IpFamily family) {
  const std::string_view raw = attributes.find(type);
  if (raw.size() != (family == IpFamily::v4 ? 4u : 16u)) return std::nullopt;
  return IpAddress::from_bytes(family, raw.data());
}

}  // namespace

Result<std::vector<IpAddress>> list_gateways(NetlinkSocket& socket) {
  std::vector<IpAddress> out;
  TRY(each_route(
      socket, [&] { out.clear(); },
      [&](const rtmsg& route, IpFamily family, const Attributes& attributes) {
        const auto gateway = address_in(attributes, RTA_GATEWAY, family);
        if (route.rtm_dst_len == 0 && gateway) out.push_back(*gateway);
      }));
  return out;
}

Result<std::vector<Route>> list_routes(NetlinkSocket& socket) {
  std::vector<Route> out;
  TRY(each_route(
      socket, [&] { out.clear(); },
      [&](const rtmsg& header, IpFamily family, const Attributes& attributes) {
        const auto destination = address_in(attributes, RTA_DST, family);
        if (!destination) return;  // the default route has none
        Route route;
        route.destination = Cidr(*destination, header.rtm_dst_len);
        attributes.read(RTA_OIF, route.link_index);
        out.push_back(route);
      }));
  return out;
}

}  // namespace gantry::drivers

#include "libcontainer/net_devices.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <set>

#include "base/netlink.h"

namespace gantry::libcontainer {
namespace {

struct Address {
  uint8_t family = 0;
  uint8_t prefix = 0;
  std::string local;      // IFA_LOCAL, or IFA_ADDRESS where there is none
  std::string peer;       // IFA_ADDRESS
  std::string broadcast;  // empty: none
};

Result<int> index_of(NetlinkSocket& socket, const std::string& name) {
  NetlinkBatch batch;
  batch.begin(RTM_GETLINK, NLM_F_ACK, ifinfomsg{}, "find");
  batch.put_string(IFLA_IFNAME, name);
  int index = 0;
  TRY(socket.transact(batch, [&](const nlmsghdr& header) {
    if (header.nlmsg_type != RTM_NEWLINK) return;
    ifinfomsg info;
    std::memcpy(&info, NLMSG_DATA(&header), sizeof info);
    index = info.ifi_index;
  }));
  if (index == 0) return error_from_errno(ENODEV, "find");
  return index;
}

Result<std::vector<Address>> addresses_of(NetlinkSocket& socket, int index) {
  std::vector<Address> found;
  NetlinkBatch request;
  request.begin(RTM_GETADDR, 0, ifaddrmsg{}, "addresses");
  TRY(socket.dump(
      request,
      [&](const nlmsghdr& header) {
        ifaddrmsg info;
        std::memcpy(&info, NLMSG_DATA(&header), sizeof info);
        Attributes attributes = attributes_of<ifaddrmsg>(header);
        uint32_t flags = info.ifa_flags;
        (void)attributes.read(IFA_FLAGS, flags);
        if (static_cast<int>(info.ifa_index) != index || info.ifa_scope != RT_SCOPE_UNIVERSE ||
            !(flags & IFA_F_PERMANENT))
          return;
        Address address{info.ifa_family, info.ifa_prefixlen, {}, {}, {}};
        address.peer = attributes.find(IFA_ADDRESS);
        address.local = attributes.find(IFA_LOCAL);
        if (address.local.empty()) address.local = address.peer;
        address.broadcast = attributes.find(IFA_BROADCAST);
        found.push_back(std::move(address));
      },
      [&] { found.clear(); }));
  return found;
}

void set_link(NetlinkBatch& batch, int index, unsigned flags, const char* what) {
  ifinfomsg info = {};
  info.ifi_index = index;
  info.ifi_flags = flags;
  info.ifi_change = IFF_UP;
  batch.begin(RTM_NEWLINK, NLM_F_ACK, info, what);
}

Result<std::set<int>> indices(NetlinkSocket& socket) {
  std::set<int> found;
  NetlinkBatch request;
  request.begin(RTM_GETLINK, 0, ifinfomsg{}, "list");
  TRY(socket.dump(
      request,
      [&](const nlmsghdr& header) {
        ifinfomsg info;
        std::memcpy(&info, NLMSG_DATA(&header), sizeof info);
        found.insert(info.ifi_index);
      },
      [&] { found.clear(); }));
  return found;
}

// "eth%d": the kernel chooses the number.
bool is_pattern(const std::string& name) { return name.find('%') != std::string::npos; }

// Of the one that has come since `before`.
Result<int> index_of_arrived(NetlinkSocket& socket, const std::set<int>& before) {
  for (int index : TRY(indices(socket)))
    if (!before.contains(index)) return index;
  return error_from_errno(ENODEV, "find in the container");
}

// Before any is moved: an error later on finds some of them gone.
Status check_movable(const std::map<std::string, NetDevice>& devices, NetlinkSocket& here,
                     NetlinkSocket& there) {
  for (const auto& [name, device] : devices) {
    TRY(index_of(here, name).context("linux.netDevices.{}", name));
    const std::string& new_name = device.name.empty() ? name : device.name;
    if (!is_pattern(new_name) && index_of(there, new_name))
      return conflict("linux.netDevices.{}: the container has a {} already", name, new_name);
  }
  return {};
}

Status move_one(const std::string& name, const std::string& new_name, NetlinkSocket& here,
                NetlinkSocket& there, int netns) {
  int index = TRY(index_of(here, name));
  std::set<int> before;
  if (is_pattern(new_name)) before = TRY(indices(there));
  std::vector<Address> addresses = TRY(addresses_of(here, index));
  NetlinkBatch leave;
  set_link(leave, index, 0, "move into the container");
  leave.put(IFLA_NET_NS_FD, static_cast<uint32_t>(netns));
  leave.put_string(IFLA_IFNAME, new_name);
  TRY(here.transact(leave));
  index = TRY(is_pattern(new_name) ? index_of_arrived(there, before) : index_of(there, new_name));
  NetlinkBatch settle;
  set_link(settle, index, IFF_UP, "up");
  for (const Address& address : addresses) {
    ifaddrmsg info = {};
    info.ifa_family = address.family;
    info.ifa_prefixlen = address.prefix;
    info.ifa_scope = RT_SCOPE_UNIVERSE;
    info.ifa_index = static_cast<uint32_t>(index);
    settle.begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK, info, "address");
    settle.put(IFA_LOCAL, address.local.data(), address.local.size());
    settle.put(IFA_ADDRESS, address.peer.data(), address.peer.size());
    if (!address.broadcast.empty())
      settle.put(IFA_BROADCAST, address.broadcast.data(), address.broadcast.size());
  }
  return there.transact(settle);
}

}  // namespace

Status move_net_devices(const std::map<std::string, NetDevice>& devices, int netns) {
  if (devices.empty()) return {};
  NetlinkSocket here = TRY(NetlinkSocket::open(NETLINK_ROUTE));
  NetlinkSocket there = TRY(NetlinkSocket::open_in(NETLINK_ROUTE, netns));
  TRY(check_movable(devices, here, there));
  for (const auto& [name, device] : devices)
    TRY(move_one(name, device.name.empty() ? name : device.name, here, there, netns)
            .context("linux.netDevices.{}", name));
  return {};
}

}  // namespace gantry::libcontainer

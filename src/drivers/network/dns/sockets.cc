#include "drivers/network/dns/sockets.h"

#include <arpa/inet.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/failpoint.h"
#include "base/netlink.h"
#include "base/sys.h"
#include "drivers/network/nft.h"

namespace gantry::drivers::dns {

namespace {

constexpr const char* kTable = "gantry_dns";
constexpr uint16_t kDnsPort = 53;
constexpr uint32_t kServer = 0x7f00000b;  // kServerAddress
constexpr uint32_t kDestination4 = 16, kDestinationPort = 2;
constexpr int kBacklog = 128;
constexpr int kPortsTried = 16;

Result<UniqueFd> bound(int type, uint16_t port) {
  UniqueFd socket(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return error_from_errno(errno, "socket");
  const int on = 1;  // the loopback interface may not be up yet
  (void)::setsockopt(socket.get(), IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(kServer);
  address.sin_port = htons(port);
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == -1)
    return errno_error(errno, "bind {}", kServerAddress);
  return socket;
}

Result<uint16_t> port_of(int socket) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == -1)
    return error_from_errno(errno, "getsockname");
  return ntohs(address.sin_port);
}

// In the calling thread's namespace. One port for both: whoever looks has one number to know.
Result<Sockets> bind_sockets() {
  for (int tried = 1;; ++tried) {
    Sockets sockets;
    sockets.udp = TRY(bound(SOCK_DGRAM, 0));
    Result<UniqueFd> tcp = bound(SOCK_STREAM, TRY(port_of(sockets.udp.get())));
    if (!tcp && tcp.error().code() == EADDRINUSE && tried < kPortsTried) continue;
    sockets.tcp = TRY(std::move(tcp));
    if (::listen(sockets.tcp.get(), kBacklog) == -1) return error_from_errno(errno, "listen");
    return sockets;
  }
}

// Answers find their way back by connection tracking.
Status redirect(uint16_t port) {
  NetlinkSocket socket = TRY(NetlinkSocket::open(NETLINK_NETFILTER));
  nft::Transaction change(NFPROTO_IPV4, kTable);
  change.add_table(0);
  change.delete_table();  // with what was in it
  change.add_table(0);
  change.add_chain({"output", "nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST});
  nft::Fields server, from, to;
  server.address(IpAddress::v4(kServer));
  from.port(kDnsPort);
  to.address(IpAddress::v4(kServer)).port(port);
  for (const uint8_t protocol : {IPPROTO_UDP, IPPROTO_TCP})
    change.add_rule("output", "", [&](nft::Rule& rule) {
      rule.network_payload(kDestination4, 4)
          .equals(server.data())
          .meta(NFT_META_L4PROTO)
          .equals({reinterpret_cast<const char*>(&protocol), 1})
          .transport_payload(kDestinationPort, 2)
          .equals(from.data().substr(0, 2))
          .load(to.data().substr(0, 4), nft::kReg0)
          .load(to.data().substr(4, 2), nft::kReg0 + 1)
          .dnat(IpFamily::v4, nft::kReg0, nft::kReg0 + 1);
    });
  return change.commit(socket);
}

}  // namespace

Result<Sockets> Sockets::duplicate() const {
  Sockets copy;
  copy.udp = TRY(sys::dup(udp.get()));
  copy.tcp = TRY(sys::dup(tcp.get()));
  return copy;
}

Result<Sockets> open_sockets(int netns) {
  Sockets sockets;
  TRY(failpoint("network.names"));
  TRY(inside_netns(netns, [&]() -> Status {
        sockets = TRY(bind_sockets());
        TRY(failpoint("network.names.bound"));
        return redirect(TRY(port_of(sockets.udp.get())));
      }).context("the DNS server of the container"));
  TRY(failpoint("network.names.made"));
  return sockets;
}

}  // namespace gantry::drivers::dns

#include "drivers/network/socket_holder.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <set>

#include "base/fs.h"
#include "base/netlink.h"
#include "base/sys.h"

namespace gantry::drivers {

namespace {

// TCP_LISTEN, TCP_CLOSE (of UDP: bound, not connected), TCP_ESTABLISHED (of UDP: connected), and,
// since Linux 6.8, TCP_BOUND_INACTIVE: bound and nothing more, as other daemons reserve ports.
constexpr uint32_t kStates = 1u << 10 | 1u << 7 | 1u << 1 | 1u << 13;
constexpr uint32_t kStatesBefore68 = 1u << 10 | 1u << 7 | 1u << 1;

bool in_the_way(const inet_diag_msg& entry, const IpAddress& address, uint16_t port) {
  if (ntohs(entry.id.idiag_sport) != port) return false;
  const IpFamily family = entry.idiag_family == AF_INET ? IpFamily::v4 : IpFamily::v6;
  const IpAddress bound = IpAddress::from_bytes(family, entry.id.idiag_src);
  if (bound.is_unspecified()) return true;  // of IPv6 perhaps both families'
  return family == address.family() && (address.is_unspecified() || bound == address);
}

std::set<uint32_t> inodes_at(Protocol protocol, const IpAddress& address, uint16_t port) {
  std::set<uint32_t> inodes;
  auto socket = NetlinkSocket::open(NETLINK_SOCK_DIAG);
  if (!socket) return inodes;
  for (const uint8_t family : {AF_INET, AF_INET6}) {
    for (const uint32_t states : {kStates, kStatesBefore68}) {
      inet_diag_req_v2 request{};
      request.sdiag_family = family;
      request.sdiag_protocol = static_cast<uint8_t>(protocol);
      request.idiag_states = states;
      NetlinkBatch batch;
      batch.begin(SOCK_DIAG_BY_FAMILY, 0, request, "list sockets");
      const Status listed = socket->dump(
          batch,
          [&](const nlmsghdr& header) {
            const auto* entry = fixed_header<inet_diag_msg>(header);
            if (entry != nullptr && entry->idiag_inode != 0 && in_the_way(*entry, address, port))
              inodes.insert(entry->idiag_inode);
          },
          [] {});
      if (listed) break;
    }
  }
  return inodes;
}

bool holds_one(const std::string& process, const std::set<std::string>& links) {
  const std::string path = process + "/fd";
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
  if (!directory) return false;
  while (const dirent* entry = ::readdir(directory.get())) {
    char target[64];
    const ssize_t size =
        ::readlinkat(::dirfd(directory.get()), entry->d_name, target, sizeof target);
    if (size > 0 && links.contains(std::string(target, static_cast<size_t>(size)))) return true;
  }
  return false;
}

}  // namespace

std::string holder_of_port(Protocol protocol, const IpAddress& address, uint16_t port) {
  std::set<std::string> links;
  for (const uint32_t inode : inodes_at(protocol, address, port))
    links.insert(fmt::format("socket:[{}]", inode));
  if (links.empty()) return {};
  std::unique_ptr<DIR, int (*)(DIR*)> processes(::opendir("/proc"), ::closedir);
  while (const dirent* entry = processes ? ::readdir(processes.get()) : nullptr) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    const std::string process = std::string("/proc/") + entry->d_name;
    if (!holds_one(process, links)) continue;
    auto name = fs::read_file(process + "/comm", 64);
    if (!name) continue;
    while (!name->empty() && name->back() == '\n') name->pop_back();
    // Any process may call itself anything.
    for (char& c : *name)
      if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = '?';
    return fmt::format("{} (pid {})", *name, entry->d_name);
  }
  return {};
}

}  // namespace gantry::drivers

#include "drivers/network/host_ports.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/log.h"
#include "base/sys.h"

namespace gantry::drivers {

namespace {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

SocketAddress socket_address(const IpAddress& address, uint16_t port) {
  SocketAddress out;
  if (address.is_v4()) {
    auto& in = reinterpret_cast<sockaddr_in&>(out.storage);
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, address.bytes().data(), 4);
    out.size = sizeof in;
  } else {
    auto& in = reinterpret_cast<sockaddr_in6&>(out.storage);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    std::memcpy(&in.sin6_addr, address.bytes().data(), 16);
    out.size = sizeof in;
  }
  return out;
}

// No text but the kernel's: callers put Docker's words before it, which end in Go's lower-case
// phrases.
std::string lower_errno(int code) {
  switch (code) {
    case EADDRINUSE:
      return "address already in use";
    case EADDRNOTAVAIL:
      return "cannot assign requested address";
    case EACCES:
      return "permission denied";
    default:
      return strerrordesc_np(code) != nullptr ? strerrordesc_np(code) : "unknown error";
  }
}

}  // namespace

std::string host_port_text(const IpAddress& address, uint16_t port) {
  return fmt::format(fmt::runtime(address.is_v4() ? "{}:{}" : "[{}]:{}"), address.to_string(),
                     port);
}

namespace {

Result<UniqueFd> bound_socket(Protocol protocol, const IpAddress& address, uint16_t port) {
  const bool udp = protocol == Protocol::udp;
  UniqueFd fd(::socket(address.is_v4() ? AF_INET : AF_INET6,
                       (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC,
                       protocol == Protocol::sctp ? IPPROTO_SCTP : 0));
  if (!fd) return errno_error(errno, "make a socket");
  const int on = 1;
  if (address.is_v6()) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  // Connections of a former server that linger (TIME_WAIT) must not be in the way.
  if (!udp) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  SocketAddress where = socket_address(address, port);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&where.storage), where.size) != 0)
    return errno_error(errno, "bind");
  return fd;
}

Result<uint16_t> port_of(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0)
    return errno_error(errno, "name of a socket");
  return ntohs(storage.ss_family == AF_INET ? reinterpret_cast<sockaddr_in&>(storage).sin_port
                                            : reinterpret_cast<sockaddr_in6&>(storage).sin6_port);
}

}  // namespace

Result<std::pair<UniqueFd, uint16_t>> hold_port(Protocol protocol, const IpAddress& address,
                                                uint16_t port) {
  const int off = 0;
  UniqueFd fd = TRY(bound_socket(protocol, address, port));
  const bool chosen_by_kernel = port == 0;
  if (chosen_by_kernel) port = TRY(port_of(fd.get()));
  if (protocol == Protocol::udp) {
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &off, sizeof off);  // stray datagrams go nowhere
    return std::pair(std::move(fd), port);
  }
  // A port that the kernel chose is let go when the socket stops listening; one asked for is not.
  if (chosen_by_kernel) fd = TRY(bound_socket(protocol, address, port));
  // With SO_REUSEADDR on both sides a bind is no protection: only a listener excludes others. So
  // listen, drop the option, and stop listening: the port stays bound, now exclusively, and
  // connecting to it is refused.
  if (::listen(fd.get(), 0) != 0) return errno_error(errno, "listen");
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &off, sizeof off);
  ::shutdown(fd.get(), SHUT_RDWR);
  return std::pair(std::move(fd), port);
}

bool HostPorts::taken(Protocol protocol, uint16_t port, const IpAddress& address) const {
  for (auto it = sockets_.lower_bound({protocol, port, IpAddress()}); it != sockets_.end(); ++it) {
    const auto& [other_protocol, other_port, other] = it->first;
    if (other_protocol != protocol || other_port != port) break;
    if (other.family() != address.family()) continue;
    if (other == address || other.is_unspecified() || address.is_unspecified()) return true;
  }
  return false;
}

// One host port on all addresses, or none. mutex_ held. Port 0: the first address's socket chooses.
Result<std::vector<PortMapping>> HostPorts::try_port(const PortRequest& request, uint16_t port,
                                                     std::span<const IpAddress> host_ips,
                                                     const std::string& target) {
  std::vector<PortMapping> mappings;
  std::vector<UniqueFd> held;
  for (const IpAddress& address : host_ips) {
    if (port != 0 && taken(request.protocol, port, address))
      return conflict("Bind for {} failed: port is already allocated",
                      host_port_text(address, port));
    auto socket = hold_port(request.protocol, address, port);
    if (!socket) {
      const int code = socket.error().code();
      return Error(code == EADDRINUSE ? ErrorKind::conflict : socket.error().kind(),
                   fmt::format("failed to bind host port for {}:{}:{}/{}: {}",
                               host_port_text(address, port), target, request.container_port,
                               to_string(request.protocol), lower_errno(code)),
                   code);
    }
    port = socket->second;
    held.push_back(std::move(socket->first));
    mappings.push_back({request.protocol, request.container_port, address, port});
  }
  for (size_t i = 0; i < mappings.size(); ++i)
    sockets_.insert_or_assign({request.protocol, port, mappings[i].host_ip}, std::move(held[i]));
  return mappings;
}

Result<std::vector<PortMapping>> HostPorts::reserve(const PortRequest& request,
                                                    std::span<const IpAddress> host_ips,
                                                    const std::string& target) {
  std::lock_guard lock(mutex_);
  if (request.host_port == 0) {
    // A port that the kernel chose for one address may be taken on the next: a few more draws.
    for (int draw = 0;; ++draw) {
      auto mappings = try_port(request, 0, host_ips, target);
      const bool again = !mappings && mappings.error().kind() == ErrorKind::conflict && draw < 32;
      if (!again) return mappings;
    }
  }
  const uint16_t last = std::max(request.host_port, request.host_port_end);
  for (uint32_t port = request.host_port;; ++port) {
    auto mappings = try_port(request, static_cast<uint16_t>(port), host_ips, target);
    if (mappings || port >= last || mappings.error().kind() != ErrorKind::conflict) return mappings;
  }
}

void HostPorts::restore(const PortMapping& mapping) {
  std::lock_guard lock(mutex_);
  const Key key{mapping.protocol, mapping.host_port, mapping.host_ip};
  if (const auto it = sockets_.find(key); it != sockets_.end() && it->second) return;
  auto socket = hold_port(mapping.protocol, mapping.host_ip, mapping.host_port);
  if (!socket)
    log::warn("hold the published port {}/{}: {}",
              host_port_text(mapping.host_ip, mapping.host_port), to_string(mapping.protocol),
              socket.error().message());
  sockets_.insert_or_assign(key, socket ? std::move(socket->first) : UniqueFd());
}

void HostPorts::release(const PortMapping& mapping) {
  std::lock_guard lock(mutex_);
  sockets_.erase({mapping.protocol, mapping.host_port, mapping.host_ip});
}

bool HostPorts::is_reserved(const PortMapping& mapping) const {
  std::lock_guard lock(mutex_);
  return sockets_.contains({mapping.protocol, mapping.host_port, mapping.host_ip});
}

}  // namespace gantry::drivers

#include "drivers/network/host_ports.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <random>

#include "base/log.h"
#include "base/sys.h"
#include "drivers/network/services.h"
#include "drivers/network/socket_holder.h"

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

// Any port of the range that the kernel chooses from.
Result<uint16_t> drawn_port() {
  const std::string range = TRY(read_sysctl("net.ipv4.ip_local_port_range"));
  unsigned first = 0, last = 0;
  if (std::sscanf(range.c_str(), "%u %u", &first, &last) != 2 || first < 1 || first > last ||
      last > 65535)
    return internal("net.ipv4.ip_local_port_range: {}", range);
  std::random_device random;
  return static_cast<uint16_t>(std::uniform_int_distribution<unsigned>(first, last)(random));
}

}  // namespace

Result<std::pair<UniqueFd, uint16_t>> hold_port(Protocol protocol, const IpAddress& address,
                                                uint16_t port) {
  const int off = 0;
  auto bound = bound_socket(protocol, address, port);
  if (protocol == Protocol::sctp && !bound &&
      (bound.error().code() == EPROTONOSUPPORT || bound.error().code() == ESOCKTNOSUPPORT))
    return std::pair(UniqueFd(), port != 0 ? port : TRY(drawn_port()));
  UniqueFd fd = TRY(std::move(bound));
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

const HostPorts::Held* HostPorts::taken(Protocol protocol, uint16_t port,
                                        const IpAddress& address) const {
  for (auto it = held_.lower_bound({protocol, port, IpAddress()}); it != held_.end(); ++it) {
    const auto& [other_protocol, other_port, other] = it->first;
    if (other_protocol != protocol || other_port != port) break;
    if (other.family() != address.family()) continue;
    if (other == address || other.is_unspecified() || address.is_unspecified()) return &it->second;
  }
  return nullptr;
}

// One host port on all addresses, or none. mutex_ held. Port 0: the first address's socket chooses.
Result<std::vector<PortMapping>> HostPorts::try_port(const PortRequest& request, uint16_t port,
                                                     std::span<const IpAddress> host_ips,
                                                     const std::string& target,
                                                     const std::string& container_id) {
  std::vector<PortMapping> mappings;
  std::vector<UniqueFd> sockets;
  const bool drawn = port == 0;
  for (const IpAddress& address : host_ips) {
    if (const Held* other = port != 0 ? taken(request.protocol, port, address) : nullptr)
      return conflict("Bind for {} failed: port is already allocated{}",
                      host_port_text(address, port),
                      other->container_id.empty() || !name_of_
                          ? ""
                          : fmt::format(" (by container {})", name_of_(other->container_id)));
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
    if (drawn && taken(request.protocol, port, address) != nullptr)  // it has no socket
      return conflict("Bind for {} failed: port is already allocated",
                      host_port_text(address, port));
    sockets.push_back(std::move(socket->first));
    mappings.push_back({request.protocol, request.container_port, address, port});
  }
  for (size_t i = 0; i < mappings.size(); ++i)
    held_.insert_or_assign({request.protocol, port, mappings[i].host_ip},
                           Held{std::move(sockets[i]), container_id});
  return mappings;
}

Result<std::vector<PortMapping>> HostPorts::reserve(const PortRequest& request,
                                                    std::span<const IpAddress> host_ips,
                                                    const std::string& target,
                                                    const std::string& container_id) {
  std::lock_guard lock(mutex_);
  if (request.host_port == 0) {
    // A port that the kernel chose for one address may be taken on the next: a few more draws.
    for (int draw = 0;; ++draw) {
      auto mappings = try_port(request, 0, host_ips, target, container_id);
      const bool again = !mappings && mappings.error().kind() == ErrorKind::conflict && draw < 32;
      if (!again) return mappings;
    }
  }
  const uint16_t last = std::max(request.host_port, request.host_port_end);
  for (uint32_t port = request.host_port;; ++port) {
    auto mappings = try_port(request, static_cast<uint16_t>(port), host_ips, target, container_id);
    if (mappings || mappings.error().kind() != ErrorKind::conflict) return mappings;
    if (port < last) continue;
    if (mappings.error().code() != EADDRINUSE) return mappings;
    for (const IpAddress& address : host_ips) {
      const std::string holder = holder_of_port(request.protocol, address, last);
      if (holder.empty()) continue;
      return Error(ErrorKind::conflict,
                   fmt::format("{} (by {})", mappings.error().message(), holder), EADDRINUSE);
    }
    return mappings;
  }
}

void HostPorts::restore(const PortMapping& mapping, const std::string& container_id) {
  std::lock_guard lock(mutex_);
  const Key key{mapping.protocol, mapping.host_port, mapping.host_ip};
  if (const auto it = held_.find(key); it != held_.end() && it->second.socket) return;
  auto socket = hold_port(mapping.protocol, mapping.host_ip, mapping.host_port);
  if (!socket) {
    const std::string holder = holder_of_port(mapping.protocol, mapping.host_ip, mapping.host_port);
    log::warn("hold the published port {}/{}: {}{}",
              host_port_text(mapping.host_ip, mapping.host_port), to_string(mapping.protocol),
              socket.error().message(), holder.empty() ? "" : fmt::format(" (by {})", holder));
  }
  held_.insert_or_assign(key, Held{socket ? std::move(socket->first) : UniqueFd(), container_id});
}

void HostPorts::release(const PortMapping& mapping) {
  std::lock_guard lock(mutex_);
  held_.erase({mapping.protocol, mapping.host_port, mapping.host_ip});
}

bool HostPorts::is_reserved(const PortMapping& mapping) const {
  std::lock_guard lock(mutex_);
  return held_.contains({mapping.protocol, mapping.host_port, mapping.host_ip});
}

UniqueFd HostPorts::share(const PortMapping& mapping) const {
  std::lock_guard lock(mutex_);
  const auto held = held_.find({mapping.protocol, mapping.host_port, mapping.host_ip});
  if (held == held_.end() || !held->second.socket) return {};
  auto copy = sys::dup(held->second.socket.get());
  return copy ? std::move(*copy) : UniqueFd();
}

}  // namespace gantry::drivers

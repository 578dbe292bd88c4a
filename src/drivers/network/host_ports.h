// The host's ports that are published: who has which, and a socket bound to each so that no other
// process takes it meanwhile.
#pragma once

#include <map>
#include <mutex>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "drivers/network/network_types.h"

namespace gantry::drivers {

// Thread-safe. Sockets are bound in the network namespace of the calling thread.
class HostPorts {
 public:
  // Reserves a host port for a request, the same one on all of `host_ips` (0.0.0.0 and :: for every
  // address). `target` is what the port leads to, for messages ("172.17.0.2"). conflict when the
  // port is taken, by one of ours ("Bind for … failed: port is already allocated") or by another
  // process ("failed to bind host port for …: address already in use").
  Result<std::vector<PortMapping>> reserve(const PortRequest& request,
                                           std::span<const IpAddress> host_ips,
                                           const std::string& target);
  // For a container that runs already; a port that somebody else has bound since is only logged.
  void restore(const PortMapping& mapping);
  void release(const PortMapping& mapping);
  bool is_reserved(const PortMapping& mapping) const;

 private:
  using Key = std::tuple<Protocol, uint16_t, IpAddress>;
  bool taken(Protocol protocol, uint16_t port, const IpAddress& address) const;  // mutex_ held
  Result<std::vector<PortMapping>> try_port(const PortRequest& request, uint16_t port,
                                            std::span<const IpAddress> host_ips,
                                            const std::string& target);

  mutable std::mutex mutex_;
  std::map<Key, UniqueFd> sockets_;  // an invalid descriptor: reserved by the table alone
};

// A socket that holds a port against every other process, and refuses whoever connects to it.
// `port` 0: the kernel chooses from net.ipv4.ip_local_port_range. Returns the socket and the port.
Result<std::pair<UniqueFd, uint16_t>> hold_port(Protocol protocol, const IpAddress& address,
                                                uint16_t port);

// "0.0.0.0:8080", "[::1]:8080"
std::string host_port_text(const IpAddress& address, uint16_t port);

}  // namespace gantry::drivers

// The host's ports that are published: who has which, and a socket bound to each so that no other
// process takes it meanwhile.
#pragma once

#include <functional>
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
  // `name_of` gives a container's name for messages.
  using NameOf = std::function<std::string(const std::string& container_id)>;
  explicit HostPorts(NameOf name_of = nullptr) : name_of_(std::move(name_of)) {}

  // Reserves a host port for a request of a container, the same one on all of `host_ips` (0.0.0.0
  // and :: for every address). `target` is what the port leads to, for messages ("172.17.0.2").
  // conflict when the port is taken, by one of ours ("Bind for … failed: port is already allocated
  // (by container …)") or by another process ("failed to bind host port for …: address already in
  // use (by nginx (pid 123))").
  Result<std::vector<PortMapping>> reserve(const PortRequest& request,
                                           std::span<const IpAddress> host_ips,
                                           const std::string& target,
                                           const std::string& container_id = {});
  // For a container that runs already; a port that somebody else has bound since is only logged.
  void restore(const PortMapping& mapping, const std::string& container_id = {});
  void release(const PortMapping& mapping);
  bool is_reserved(const PortMapping& mapping) const;
  // A copy of the socket that holds the port; invalid where there is none.
  UniqueFd share(const PortMapping& mapping) const;

 private:
  using Key = std::tuple<Protocol, uint16_t, IpAddress>;
  struct Held {
    UniqueFd socket;  // invalid: reserved by the table alone
    std::string container_id;
  };
  // Who has it; mutex_ held.
  const Held* taken(Protocol protocol, uint16_t port, const IpAddress& address) const;
  Result<std::vector<PortMapping>> try_port(const PortRequest& request, uint16_t port,
                                            std::span<const IpAddress> host_ips,
                                            const std::string& target,
                                            const std::string& container_id);

  const NameOf name_of_;
  mutable std::mutex mutex_;
  std::map<Key, Held> held_;
};

// A socket that holds a port against every other process, and refuses whoever connects to it.
// `port` 0: the kernel chooses from net.ipv4.ip_local_port_range. Returns the socket and the port.
// Where the kernel has no SCTP no other process can have its ports either: the socket is invalid
// then, and a port is drawn from the same range.
Result<std::pair<UniqueFd, uint16_t>> hold_port(Protocol protocol, const IpAddress& address,
                                                uint16_t port);

// "0.0.0.0:8080", "[::1]:8080"
std::string host_port_text(const IpAddress& address, uint16_t port);

}  // namespace gantry::drivers

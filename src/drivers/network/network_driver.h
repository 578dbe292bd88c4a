// The seam between the daemon and what connects containers: a driver per kind of network, and the
// set of them that one daemon instance runs.
//
// Life cycle of a network:   plan_network → (rows written) → create_network … remove_network
// Life cycle of an endpoint: plan_endpoint → (rows written) → join … leave → (rows deleted)
//
// plan_* chooses every name, address and port before anything exists, reserves them in memory
// (ports also by a bound socket, which dies with the process), and lists the resource rows to be
// written. join and create_network take from the system exactly what the rows name. Every row's
// kind is registered with the engine (NetworkSystem::resource_kinds), whose probe and release
// functions are the only undo: a job that fails between plan and join, a daemon that is killed, and
// `rm -f` all end there.
//
// Every method is thread-safe, may block (netlink round trips, tens of microseconds each) and is to
// be called from jobs, never from the I/O thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "drivers/network/network_types.h"
#include "engine/resource.h"

namespace gantry::drivers {

// Reservations in memory that a plan holds until its rows stand. Destroyed without keep(), it gives
// them back; after keep(), release of the rows does.
class Reservation {
 public:
  Reservation() = default;
  explicit Reservation(std::function<void()> give_back) : give_back_(std::move(give_back)) {}
  Reservation(Reservation&& other) noexcept
      : give_back_(std::exchange(other.give_back_, nullptr)) {}
  Reservation& operator=(Reservation&& other) noexcept {
    if (this != &other) {
      reset();
      give_back_ = std::exchange(other.give_back_, nullptr);
    }
    return *this;
  }
  ~Reservation() { reset(); }
  void keep() { give_back_ = nullptr; }
  void reset() {
    if (auto give_back = std::exchange(give_back_, nullptr)) give_back();
  }

 private:
  std::function<void()> give_back_;
};

struct NetworkPlan {
  NetworkConfig network;               // pools, gateways and options complete
  std::vector<engine::Resource> rows;  // owner "network:ID" or "container:ID"; for JobContext::take
  Reservation reservation;
};

struct EndpointPlan {
  Endpoint endpoint;
  std::vector<engine::Resource> rows;  // owner "network:ID" or "container:ID"; for JobContext::take
  Reservation reservation;
};

class NetworkDriver {
 public:
  virtual ~NetworkDriver() = default;
  virtual std::string_view name() const = 0;

  // Checks what is asked for (kind invalid), completes it (subnets from the address pools, gateway,
  // bridge name) and reserves it. Kind conflict when a subnet or a bridge is in use.
  virtual Result<NetworkPlan> plan_network(NetworkConfig wanted) = 0;
  // Makes the network real, or makes good what is missing of it (after a reboot): idempotent.
  virtual Status create_network(const NetworkConfig& network) = 0;
  // Takes it down; a part that is not there is success. The caller has checked that nothing is
  // connected.
  virtual Status remove_network(const NetworkConfig& network) = 0;
  // Only what is reserved in memory, at once: for a network whose rows are released in the
  // background.
  virtual void forget_network(const NetworkConfig& network) = 0;

  // Whether an endpoint there can carry a container's default route of that family, and the ports
  // that are published.
  virtual bool has_gateway(const NetworkConfig& network, IpFamily family) const = 0;
  // Kind conflict for an address or a port that is taken (Docker's wording), invalid for a request
  // that cannot be met, unavailable when the pool is exhausted.
  virtual Result<EndpointPlan> plan_endpoint(const NetworkConfig& network,
                                             EndpointRequest request) = 0;
  // Puts the planned interface into the namespace `netns` (borrowed), with addresses and routes,
  // and opens the published ports. On failure what was done so far stays for the rows' release.
  virtual Status join(const NetworkConfig& network, const Endpoint& endpoint, int netns) = 0;
  // Closes the endpoint's published ports, all in one transaction. Fast and idempotent, and only
  // that: the interface, the addresses and the reserved ports go with the release of their rows,
  // which is also how a running container is disconnected (NetworkSystem::rows_of).
  virtual Status leave(const NetworkConfig& network, const Endpoint& endpoint) = 0;
  // For a container that was running when the daemon came up: reserves its ports again and puts
  // back what the firewall lost.
  virtual Status adopt(const NetworkConfig& network, const Endpoint& endpoint) = 0;
};

}  // namespace gantry::drivers

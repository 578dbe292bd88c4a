// All that one daemon instance does to the network: its drivers, its addresses and ports, its firewall table,
// and the resource kinds through which every piece of it is probed and released.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "drivers/network/network_driver.h"

namespace gantry::drivers {

// A range from which subnets of `size` bits are cut for networks that name none (default-address-pools).
struct AddressPool {
  Cidr base;
  unsigned size = 16;
};
// Docker's: 172.17.0.0/16 … 172.31.0.0/16, then 192.168.0.0/16 in pieces of /20.
std::vector<AddressPool> default_address_pools();

struct NetworkOptions {
  std::string instance_id;  // of the data root; at least 12 hexadecimal digits, in every name we make
  // Publishing without a host address listens there (dockerd --ip).
  std::optional<IpAddress> default_host_ip;
  std::vector<AddressPool> address_pools = default_address_pools();
  // dockerd --ip-forward and --iptables: false leaves forwarding, or the whole firewall, to the administrator.
  bool manage_forwarding = true;
  bool manage_firewall = true;
};

// What the default bridge is made with (dockerd -b/--bridge, --bip, --fixed-cidr, --mtu, --icc, --ip-masq).
struct DefaultBridge {
  std::string link = "gantry0";
  std::optional<Cidr> bip;         // the bridge's address with its subnet
  std::optional<Cidr> fixed_cidr;  // containers' part of it
  unsigned mtu = 1500;
  bool icc = true;
  bool masquerade = true;
};

// How a kind of row is probed and released; handed to the engine's resource registry.
struct ResourceKindFunctions {
  std::string kind;
  bool deferred = false;  // released by the background releaser, never on a caller's path
  std::function<Result<bool>(const ResourceRow&)> probe;  // does it exist?
  std::function<Status(const ResourceRow&)> release;      // idempotent
};

// Thread-safe. One per daemon.
class NetworkSystem {
 public:
  virtual ~NetworkSystem() = default;

  // Opens netlink, finds out what the kernel can do, and makes (or takes over) the instance's firewall table.
  // Must be called in the network namespace the daemon serves.
  static Result<std::unique_ptr<NetworkSystem>> open(NetworkOptions options);

  // "bridge", "host", "none", …; kind not_found with Docker's wording otherwise.
  virtual Result<NetworkDriver*> driver(std::string_view name) = 0;
  // The request that the daemon passes to plan_network once for its default network, named "bridge".
  virtual NetworkConfig default_network(const DefaultBridge& bridge) const = 0;

  virtual std::vector<ResourceKindFunctions> resource_kinds() = 0;
  // At start-up, before any plan and before the reconciler releases anything: what the rows say is taken.
  // Rows of other kinds are skipped.
  virtual Status restore(std::span<const ResourceRow> rows) = 0;
};

}  // namespace gantry::drivers

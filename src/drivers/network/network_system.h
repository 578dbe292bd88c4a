// All that one daemon instance does to the network: its drivers, its addresses and ports, its
// firewall table, and the resource kinds through which every piece of it is probed and released.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "drivers/network/ipam.h"
#include "drivers/network/network_driver.h"

namespace gantry::drivers {

struct NetworkOptions {
  std::string
      instance_id;  // of the data root; at least 12 hexadecimal digits, in every name we make
  // Publishing without a host address listens there (dockerd --ip).
  std::optional<IpAddress> default_host_ip;
  std::vector<AddressPool> address_pools = default_address_pools();
  // dockerd --ip-forward and --iptables: false leaves forwarding, or the whole firewall, to the
  // administrator.
  bool manage_forwarding = true;
  bool manage_firewall = true;
};

// What the default bridge is made with (dockerd -b/--bridge, --bip, --fixed-cidr, --mtu, --icc,
// --ip-masq).
struct DefaultBridge {
  std::string link = "gantry0";
  std::optional<Cidr> bip;         // the bridge's address with its subnet
  std::optional<Cidr> fixed_cidr;  // containers' part of it
  unsigned mtu = 1500;
  bool icc = true;
  bool masquerade = true;
};

// Thread-safe. One per daemon.
class NetworkSystem {
 public:
  // Opens netlink and finds out what the kernel can do; changes nothing. Must be called in the
  // network namespace the daemon serves, and so must everything else.
  static Result<std::unique_ptr<NetworkSystem>> open(NetworkOptions options);
  ~NetworkSystem();

  // "bridge", "host", "none" (also by its driver name "null"); not_found with Docker's wording
  // otherwise.
  Result<NetworkDriver*> driver(std::string_view name);
  // The request that the daemon passes to plan_network once for its default network, named
  // "bridge".
  NetworkConfig default_network(const DefaultBridge& bridge) const;

  // ---- what a running container has, by its rows
  // Of `rows`, those of one endpoint: its interface and its addresses.
  std::vector<engine::Resource> rows_of(const std::string& network_id,
                                        const std::string& endpoint_id,
                                        std::span<const engine::ResourceRow> rows) const;
  // A row of kind net.port that leads to another endpoint; nothing when that has no address of the
  // port's family.
  static Result<std::optional<engine::Resource>> redirect(const engine::Resource& port,
                                                          const std::optional<Cidr>& ipv4,
                                                          const std::optional<Cidr>& ipv6);
  static Result<PortMapping> mapping_of(const engine::Resource& port);
  // Makes the firewall lead these ports where their rows say.
  Status publish(std::span<const engine::Resource> ports);

  // The kinds net.bridge, net.veth, net.address, net.port, net.sysctl, for engine::Resources::add.
  // They use this object, which must outlive the engine.
  std::vector<engine::ResourceKind> resource_kinds();
  // At start-up, before any plan and before the reconciler releases anything: what the rows say is
  // taken stays so. Rows of other kinds are skipped. The firewall is written with the first
  // create_network.
  Status restore(std::span<const engine::ResourceRow> rows);
  // Deletes the bridges with this instance's name that belong to none of `known` (ids): what is
  // left of networks whose records were lost.
  Status remove_lost(const std::set<std::string>& known);
  // For an orderly end with no container left running: bridges and firewall table go, the rows are
  // kept by the caller (create_network brings everything back).
  Status take_down(std::span<const NetworkConfig> networks);

 private:
  struct Parts;
  explicit NetworkSystem(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace gantry::drivers

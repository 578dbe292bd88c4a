// Which subnets and addresses of this instance are taken. In memory; built again at start from the
// networks and from the rows of kind net.address.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <span>
#include <string>

#include "base/result.h"
#include "drivers/network/network_types.h"

namespace gantry::drivers {

// A range from which subnets of `size` bits are cut for networks that name none
// (default-address-pools).
struct AddressPool {
  Cidr base;
  unsigned size = 16;
};
// Docker's: 172.17.0.0/16 … 172.31.0.0/16, then 192.168.0.0/16 in pieces of /20.
std::vector<AddressPool> default_address_pools();

// Thread-safe.
class Ipam {
 public:
  // The first piece of the pools that overlaps neither another network nor one of `in_use` (the
  // host's routes), reserved for `network_id`. unavailable when there is none.
  Result<Cidr> choose_subnet(std::span<const AddressPool> pools, IpFamily family,
                             std::span<const Cidr> in_use, const std::string& network_id);
  // conflict when it overlaps another network's.
  Status reserve_subnet(const Cidr& subnet, const std::string& network_id);
  // Forgets the network: its subnets and addresses.
  void release_network(const std::string& network_id);
  // The same for one that was only planned: not when it has addresses, which its containers use.
  void give_up_network(const std::string& network_id);

  // `wanted`, or the next free address after the last one given out (so that an address rests as
  // long as possible before it is used again). conflict when it is taken, invalid when it is
  // outside or reserved, unavailable when the pool is exhausted.
  Result<IpAddress> allocate(const NetworkConfig& network, IpFamily family,
                             const std::optional<IpAddress>& wanted);
  // From a row, at start.
  void restore(const std::string& network_id, const IpAddress& address);
  void release(const std::string& network_id, const IpAddress& address);
  bool is_taken(const std::string& network_id, const IpAddress& address) const;
  size_t taken(const std::string& network_id) const;

 private:
  struct Network {
    std::set<IpAddress> taken;
    std::map<IpFamily, IpAddress> last;
  };
  mutable std::mutex mutex_;
  std::map<Cidr, std::string> subnets_;  // subnet -> network id
  std::map<std::string, Network> networks_;
};

// The subnet checked and completed: gateway (the first address, unless given) inside it, range
// inside it.
Result<IpamPool> complete_pool(IpamPool pool);

}  // namespace gantry::drivers

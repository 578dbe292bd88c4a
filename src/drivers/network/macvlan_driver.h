// The macvlan driver: containers are neighbours on the network of one of the host's interfaces,
// each with a MAC address of its own, and everything else (routing, names of the outside,
// firewalls) is that network's. No port is published and nothing is translated. The host itself
// does not reach them by that interface (the kernel keeps a parent and its macvlans apart). Source:
// Linux Documentation/networking/, drivers/net/macvlan.c.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "base/unique_fd.h"
#include "drivers/network/network_driver.h"
#include "drivers/network/services.h"

namespace gantry::drivers {

// The driver options, read from NetworkConfig::options; one that is unknown is an error.
struct MacvlanSettings {
  std::string parent;  // "eth0"; "eth0.50" is made as a VLAN of eth0 where there is no such link
  uint32_t mode = 0;   // macvlan_mode: MACVLAN_MODE_BRIDGE, _PRIVATE, _VEPA, _PASSTHRU
  unsigned mtu = 0;    // 0: the parent's
  std::string interface_prefix = "eth";
  static Result<MacvlanSettings> read(const NetworkConfig& network);
  // "eth0.50" taken apart; nothing when the parent's name is not that of a VLAN.
  std::optional<std::pair<std::string, uint16_t>> vlan() const;
};

class MacvlanDriver : public NetworkDriver {
 public:
  explicit MacvlanDriver(NetworkServices& services) : services_(&services) {}

  std::string_view name() const override { return "macvlan"; }
  Status check_options(const NetworkConfig& network) const override;
  Result<NetworkPlan> plan_network(NetworkConfig wanted) override;
  Status create_network(const NetworkConfig& network) override;
  Status remove_network(const NetworkConfig& network) override;
  void forget_network(const NetworkConfig& network) override;
  bool has_gateway(const NetworkConfig& network, IpFamily family) const override;
  Result<EndpointPlan> plan_endpoint(const NetworkConfig& network,
                                     EndpointRequest request) override;
  Status join(const NetworkConfig& network, const Endpoint& endpoint, int netns) override;
  Status leave(const NetworkConfig& network, const Endpoint& endpoint) override;
  void found(const std::string& endpoint_id, int netns) override;
  Status adopt(const NetworkConfig& network, const Endpoint& endpoint) override;

  // Release and probe of rows: net.vlan, named as the link, and net.macvlan, named as link_name()
  // of the endpoint. A macvlan is seen in its container's namespace only, which is held here from
  // join() or found() to the release; one whose namespace is not known here has gone with it.
  Status release_vlan(const std::string& link);
  Result<engine::Presence> probe_vlan(const std::string& link);
  Status release_interface(const std::string& row_name, const std::string& data);
  engine::Presence probe_interface(const std::string& row_name) const;
  void restore_interface(const std::string& row_name);

 private:
  Status share_parent(const NetworkConfig& network, const MacvlanSettings& settings);
  Result<int> parent_index(const NetworkConfig& network, const MacvlanSettings& settings);

  struct User {
    std::string network_id, network_name;
    bool passthru = false;
  };
  NetworkServices* services_;
  mutable std::mutex mutex_;
  std::map<std::string, std::map<std::string, User>> parents_;  // by link, then network id
  std::map<std::string, UniqueFd> namespaces_;  // by row name; invalid: not known yet
};

}  // namespace gantry::drivers

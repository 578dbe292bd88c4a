// The bridge driver: a Linux bridge per network, a veth pair per endpoint, NAT and filter by the
// instance's nftables table.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "drivers/network/link.h"
#include "drivers/network/network_driver.h"
#include "drivers/network/services.h"

namespace gantry::drivers {

// The driver options of a bridge network, read from NetworkConfig::options. An unknown
// com.docker.network.* option is an error: one that is silently without effect would be worse.
struct BridgeSettings {
  std::string link;  // com.docker.network.bridge.name
  unsigned mtu = 1500;
  bool icc = true;
  bool masquerade = true;
  std::optional<IpAddress> host_ip4;  // com.docker.network.bridge.host_binding_ipv4
  std::optional<IpAddress> host_ip6;
  // com.docker.network.bridge.gateway_mode_ipv4 and 6: addresses are translated, or reached by
  // routes, or the bridge has none and the host is not reached either (internal networks only).
  enum class Mode : uint8_t { nat, routed, isolated };
  Mode mode4 = Mode::nat, mode6 = Mode::nat;
  Mode mode(IpFamily family) const { return family == IpFamily::v4 ? mode4 : mode6; }
  std::string interface_prefix = "eth";
  static Result<BridgeSettings> read(const NetworkConfig& network);
};

class BridgeDriver : public NetworkDriver {
 public:
  explicit BridgeDriver(NetworkServices& services) : services_(&services) {}

  std::string_view name() const override { return "bridge"; }
  Result<NetworkPlan> plan_network(NetworkConfig wanted) override;
  Status create_network(const NetworkConfig& network) override;
  Status remove_network(const NetworkConfig& network) override;
  void forget_network(const NetworkConfig& network) override;
  bool has_gateway(const NetworkConfig& network, IpFamily family) const override;
  Result<EndpointPlan> plan_endpoint(const NetworkConfig& network,
                                     EndpointRequest request) override;
  Status join(const NetworkConfig& network, const Endpoint& endpoint, int netns) override;
  Status leave(const NetworkConfig& network, const Endpoint& endpoint) override;
  Status adopt(const NetworkConfig& network, const Endpoint& endpoint) override;

  // Release and probe of rows.
  Status release_bridge(const std::string& link);
  Result<engine::Presence> probe_bridge(const std::string& link);
  Status release_sysctl(const std::string& row_name, const std::string& data);

 private:
  Status choose_pools(NetworkConfig& network);
  Status ensure_bridge(const NetworkConfig& network, const BridgeSettings& settings);
  Status reclaim(const Link& existing, const BridgeSettings& settings);
  Result<int> bridge_index(const NetworkConfig& network, const BridgeSettings& settings);
  Status plan_ports(const NetworkConfig& network, const EndpointRequest& request,
                    EndpointPlan& plan);
  std::vector<PortRule> port_rules(const Endpoint& endpoint) const;

  NetworkServices* services_;
  std::mutex mutex_;
  std::map<std::string, int> indexes_;  // bridge link -> interface index
};

}  // namespace gantry::drivers

// What every driver that gives containers interfaces plans alike: subnets and addresses.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "drivers/network/network_driver.h"
#include "drivers/network/services.h"

namespace gantry::drivers {

// Reserves the subnets that are asked for, chooses those that are missing from the address pools
// around the host's routes, and completes all of them. What was reserved goes with the network's id
// (Ipam::give_up_network), whether this succeeds or not.
Status choose_pools(NetworkServices& services, NetworkConfig& network);

// The endpoint's names, addresses, gateways and MAC address, with its rows of kind net.address. The
// plan's reservation gives the addresses back and then calls `give_back`.
Result<EndpointPlan> plan_addresses(NetworkServices& services, const NetworkDriver& driver,
                                    const NetworkConfig& network, const EndpointRequest& request,
                                    const std::string& interface_prefix,
                                    std::function<void()> give_back);

// Go's strconv.ParseBool, as Docker reads options.
Result<bool> read_bool_option(std::string_view key, std::string_view text);

}  // namespace gantry::drivers

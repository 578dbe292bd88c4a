// The values of gantryd's options that are about networks; the words of errors are dockerd's where
// it has any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "daemon/options.h"

namespace gantry::server {

// Each sets one option from the text of a flag.
Status set_bip(daemon::NetworkDefaults& network, std::string_view value);          // 10.0.0.1/24
Status set_bip6(daemon::NetworkDefaults& network, std::string_view value);         // fd00::1/64
Status set_fixed_cidr(daemon::NetworkDefaults& network, std::string_view value);   // 10.0.0.0/25
Status set_fixed_cidr6(daemon::NetworkDefaults& network, std::string_view value);  // fd00::/80
Status set_default_gateway(daemon::NetworkDefaults& network, std::string_view value);
Status set_default_gateway6(daemon::NetworkDefaults& network, std::string_view value);
Status set_host_ip(daemon::NetworkDefaults& network, std::string_view value);
Status set_mtu(daemon::NetworkDefaults& network, std::string_view value);
// "base=10.0.0.0/8,size=24"
Status add_address_pool(daemon::NetworkDefaults& network, std::string_view value);
// "bridge=com.docker.network.driver.mtu=1400"
Status add_network_option(daemon::NetworkDefaults& network, std::string_view value);
Status check_ip(std::string_view value);  // of a name server

// Members of daemon.json in the form of the flags: [{"base": "10.0.0.0/8", "size": 24}] and
// {"bridge": {"com.docker.network.driver.mtu": "1400"}}.
Result<std::vector<std::string>> address_pool_values(const json::value& value);
Result<std::vector<std::string>> network_option_values(const json::value& value);

// What fits only together, when all options are known.
Status check_network_options(const daemon::NetworkDefaults& network);

}  // namespace gantry::server

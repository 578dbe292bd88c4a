// What may be asked for one endpoint alone (`--driver-opt`), of every driver that makes an
// interface.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "drivers/network/ip_address.h"

namespace gantry::drivers {

struct EndpointOptions {
  std::string interface_name;  // com.docker.network.endpoint.ifname
  // com.docker.network.endpoint.sysctls, "net.ipv4.conf.IFNAME.log_martians=1,…": the path below
  // /proc/sys, with IFNAME still in it, and the value.
  std::vector<std::pair<std::string, std::string>> sysctls;

  // Kind invalid, with Docker's words; an unknown com.docker.network.* option is one.
  static Result<EndpointOptions> read(const std::map<std::string, std::string>& options);
};

// Writes them for the interface of that name inside the namespace (borrowed).
Status apply_sysctls(const EndpointOptions& options, const std::string& interface_name, int netns);

// The name asked for, or the prefix with the first number that makes a name not among `taken`.
Result<std::string> choose_interface_name(const EndpointOptions& options, const std::string& prefix,
                                          const std::vector<std::string>& taken);

// With the prefix lengths of RFC 3927 and RFC 4291; kind invalid for any other address.
Result<std::vector<Cidr>> link_local_addresses(const std::vector<IpAddress>& addresses);

}  // namespace gantry::drivers

#include "drivers/network/endpoint_options.h"

#include <algorithm>

#include "base/netlink.h"
#include "drivers/network/link.h"
#include "drivers/network/services.h"

namespace gantry::drivers {

namespace {

constexpr std::string_view kPrefix = "com.docker.network.";
constexpr std::string_view kInterfaceName = "com.docker.network.endpoint.ifname";
constexpr std::string_view kSysctls = "com.docker.network.endpoint.sysctls";
constexpr std::string_view kPlaceholder = "IFNAME";

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> out;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(separator, at), text.size());
    out.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

bool is_sysctl_word(std::string_view word) {
  return !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// "net.ipv4.conf.IFNAME.log_martians=1"
Result<std::pair<std::string, std::string>> read_sysctl_setting(const std::string& text) {
  const size_t equals = text.find('=');
  const std::vector<std::string> words = split(std::string_view(text).substr(0, equals), '.');
  const bool known_family =
      words.size() == 5 && (words[1] == "ipv4" || words[1] == "ipv6" || words[1] == "mpls");
  // The client makes small letters of it.
  if (equals == std::string::npos || !known_family || words[0] != "net" ||
      (words[3] != kPlaceholder && words[3] != "ifname") || !is_sysctl_word(words[2]) ||
      !is_sysctl_word(words[4]))
    return invalid(
        "unrecognised network interface sysctl '{}'; represent 'net.X.Y.ethN.Z=V' as "
        "'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'",
        text);
  return std::pair(fmt::format("net/{}/{}/{}/{}", words[1], words[2], kPlaceholder, words[4]),
                   text.substr(equals + 1));
}

}  // namespace

Result<EndpointOptions> EndpointOptions::read(const std::map<std::string, std::string>& options) {
  EndpointOptions out;
  for (const auto& [key, text] : options) {
    if (key == kInterfaceName) {
      TRY(check_link_name(text));
      out.interface_name = text;
    } else if (key == kSysctls) {
      for (const std::string& setting : split(text, ',')) {
        auto read = TRY(read_sysctl_setting(setting));
        out.sysctls.push_back(std::move(read));
      }
    } else if (std::string_view(key).starts_with(kPrefix)) {
      return invalid("endpoint option {} is not supported", key);
    }
  }
  return out;
}

Status apply_sysctls(const EndpointOptions& options, const std::string& interface_name, int netns) {
  if (options.sysctls.empty()) return {};
  return inside_netns(netns, [&]() -> Status {
    for (const auto& [path, value] : options.sysctls) {
      std::string name = path;
      name.replace(name.find(kPlaceholder), kPlaceholder.size(), interface_name);
      TRY(write_sysctl(name, value));
    }
    return {};
  });
}

Result<std::string> choose_interface_name(const EndpointOptions& options, const std::string& prefix,
                                          const std::vector<std::string>& taken) {
  const auto is_taken = [&](const std::string& name) {
    return std::find(taken.begin(), taken.end(), name) != taken.end();
  };
  if (!options.interface_name.empty()) {
    if (is_taken(options.interface_name))
      return conflict("interface name {} is taken in the container", options.interface_name);
    return options.interface_name;
  }
  for (size_t number = 0;; ++number) {
    std::string name = prefix + std::to_string(number);
    if (is_taken(name)) continue;
    TRY(check_link_name(name));
    return name;
  }
}

Result<std::vector<Cidr>> link_local_addresses(const std::vector<IpAddress>& addresses) {
  const Cidr v4 = TRY(Cidr::parse("169.254.0.0/16")), v6 = TRY(Cidr::parse("fe80::/64"));
  std::vector<Cidr> out;
  for (const IpAddress& address : addresses) {
    const Cidr& net = address.is_v4() ? v4 : v6;
    if (!net.contains(address))
      return invalid("invalid link-local IP address: {}", address.to_string());
    out.emplace_back(address, net.prefix());
  }
  return out;
}

}  // namespace gantry::drivers

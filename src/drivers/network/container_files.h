// The contents of the three files that tell a container who and where it is. Pure functions of
// their arguments; parsing of the host's resolv.conf is bounded by its size. Sources: hosts(5),
// resolv.conf(5).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "drivers/network/ip_address.h"

namespace gantry::drivers {

struct HostsEntry {
  std::string address;
  std::string names;  // separated by spaces
};
struct HostsFile {
  std::string hostname;
  std::string domainname;
  std::vector<IpAddress> addresses;  // the container's own, each naming it
  std::vector<HostsEntry> extra;     // --add-host, links
};
std::string build_hosts(const HostsFile& file);
// The file as it stands, with the container's own addresses as `file` has them: lines that name the
// container and are neither an own address nor among `extra` go, what is missing comes at the end,
// and everything else, which may be the container's own doing, stays.
std::string update_hosts(std::string_view text, const HostsFile& file);
std::string build_hostname(std::string_view hostname);

// "name:address" or "name=address" of --add-host; the address "host-gateway" stands for
// `host_gateway`. Docker's words for what is wrong.
Result<HostsEntry> parse_extra_host(std::string_view text,
                                    const std::optional<IpAddress>& host_gateway);

struct ResolvConf {
  std::vector<std::string> nameservers;
  std::vector<std::string> search;
  std::vector<std::string> options;
};
ResolvConf parse_resolv_conf(std::string_view text);

struct ResolvOverrides {  // --dns, --dns-search, --dns-option; empty: the host's
  std::vector<std::string> nameservers;
  std::vector<std::string> search;  // "." alone: none
  std::vector<std::string> options;
};
enum class Ipv6Servers { keep, drop };
// What a container without a DNS server of its own gets: the host's servers, except those on
// loopback addresses, which are another machine's loopback from in there; when none is left, public
// ones.
std::string build_resolv_conf(const ResolvConf& host, const ResolvOverrides& overrides,
                              Ipv6Servers ipv6);

// The file of a container that has a DNS server of its own, at `server`, and the servers that this
// one is to ask: those of --dns, else the host's (also on its loopback), else public ones.
struct NamedResolvConf {
  struct Server {
    std::string address;   // also with a zone: fe80::1%eth0
    bool of_host = false;  // of the host's file: to be asked from the host's network namespace
  };
  std::string text;
  std::vector<Server> servers;
  bool ndots_set = false;  // by the user, to more than none
};
NamedResolvConf build_named_resolv_conf(const ResolvConf& host, const ResolvOverrides& overrides,
                                        Ipv6Servers ipv6, std::string_view host_path,
                                        std::string_view server);

// The file to read the host's servers from: systemd-resolved's own when the host points at its
// stub.
std::string host_resolv_conf_path();

}  // namespace gantry::drivers

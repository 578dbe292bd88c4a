// The small languages inside flags: -p, -v, --mount, --ulimit, --device, -e, … Pure functions but
// for the files that are named; errors in Docker's wording.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace gantry::client {

// One -p value: [[ip:][hostPort[-hostPort]]:]containerPort[-containerPort][/proto].
struct PortMapping {
  std::string container;  // "80/tcp"
  std::string host_ip;
  std::string host_port;  // "", "8080" or "8000-8010"
};
Result<std::vector<PortMapping>> parse_port(std::string_view spec);
// One --expose value: "80", "80/udp", "80-90/tcp".
Result<std::vector<std::string>> parse_expose(std::string_view spec);

// One --mount value (CSV of key=value) as an entry of HostConfig.Mounts.
Result<json::object> parse_mount(std::string_view spec);
// One -v value. A relative host path ("./x") is made absolute. `anonymous`: "PATH" alone, a volume
// of the container's own, else `bind` is the value for HostConfig.Binds.
struct VolumeSpec {
  bool anonymous = false;
  std::string bind;
};
Result<VolumeSpec> parse_volume(std::string_view spec);
Result<json::object> parse_ulimit(std::string_view spec);   // name=soft[:hard]
Result<json::object> parse_device(std::string_view spec);   // host[:container[:rwm]]
Result<json::object> parse_restart(std::string_view spec);  // no, always, on-failure[:n], …
Result<json::object> parse_network_attachment(std::string_view spec,
                                              std::string& name);  // name | name=…,alias=…
Result<std::string> parse_add_host(std::string_view spec);         // name:ip, name=ip → "name:ip"
Result<json::object> parse_gpus(std::string_view spec);            // all | count
Result<json::object> parse_weight_device(std::string_view spec);   // path:weight
Result<json::object> parse_rate_device(std::string_view spec);     // path:rate[unit]

// What is only checked.
Status check_environment(std::string_view text);  // has a name
Status check_stream(std::string_view text);       // stdin, stdout, stderr
Status check_sysctl(std::string_view text);       // one that is namespaced
Status check_address(std::string_view text);      // IPv4 or IPv6
Status check_label(std::string_view text);        // has a name

// Lines of --env-file and --label-file: "K=V" as it is, "K" from our environment (env only), #
// comments.
enum class FileKind { environment, labels };
Result<std::vector<std::string>> read_lines_file(const std::string& path, FileKind kind);
// Files first, then the flags; "K" alone takes our own value (environment), or is left out when
// unset.
Result<std::vector<std::string>> collect_environment(const std::vector<std::string>& files,
                                                     const std::vector<std::string>& flags);
// "a=b" pairs as an object; "a" alone is "a": "".
json::object key_values(const std::vector<std::string>& pairs);
// Docker's --filter: name=value pairs as {"name": {"value": true}}. Errors: "bad format of filter
// …". The `set` of a --filter flag: refuses what has no "=".
Status set_filter(void* list, std::string_view text);
Result<std::string> filters_parameter(const std::vector<std::string>& filters);

// The keys that detach, as bytes:
// "ctrl-p,ctrl-q" is "\x10\x11". Errors: invalid.
Result<std::string> parse_detach_keys(std::string_view spec);

// Splits "name[:tag|@digest]": repository and tag ("latest" when `default_tag` and neither is
// there).
struct ImageName {
  std::string repository;
  std::string tag;     // "" when there is none
  std::string digest;  // "sha256:…" or ""
};
ImageName split_image(std::string_view reference);
// "Error: invalid reference format" and its kin; what a daemon would refuse anyway.
Status check_reference(std::string_view reference);

}  // namespace gantry::client

#include "daemon/network_ports.h"

#include <charconv>

namespace gantry::daemon {

namespace {

Result<uint16_t> read_port(std::string_view digits, std::string_view whole) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size())
    return invalid("invalid port specification: \"{}\"", whole);
  return port;
}

// "80/tcp", "80" (tcp)
Status read_container_port(std::string_view text, drivers::PortRequest& request) {
  const size_t slash = text.find('/');
  request.container_port = TRY(read_port(text.substr(0, slash), text));
  if (request.container_port == 0) return invalid("invalid port specification: \"{}\"", text);
  if (slash != std::string_view::npos)
    request.protocol = TRY(drivers::parse_protocol(text.substr(slash + 1)));
  return {};
}

// "", "8080", "8080-8090"
Status read_host_port(std::string_view text, drivers::PortRequest& request) {
  if (text.empty()) return {};
  const size_t dash = text.find('-');
  request.host_port = TRY(read_port(text.substr(0, dash), text));
  request.host_port_end = request.host_port;
  if (dash != std::string_view::npos)
    request.host_port_end = TRY(read_port(text.substr(dash + 1), text));
  if (request.host_port_end < request.host_port)
    return invalid("invalid port specification: \"{}\"", text);
  return {};
}

}  // namespace

Result<std::vector<drivers::PortRequest>> read_port_requests(const api::ContainerConfig& config,
                                                             const api::HostConfig& host) {
  std::vector<drivers::PortRequest> out;
  for (const auto& [port, bindings] : host.PortBindings) {
    drivers::PortRequest base;
    TRY(read_container_port(port, base));
    // No binding at all means any free port, as an empty one does.
    const std::vector<api::PortBinding> any = {{}};
    for (const api::PortBinding& binding : bindings && !bindings->empty() ? *bindings : any) {
      drivers::PortRequest request = base;
      if (!binding.HostIp.empty())
        request.host_ip =
            TRY(drivers::IpAddress::parse(binding.HostIp).context("invalid port binding"));
      TRY(read_host_port(binding.HostPort, request));
      out.push_back(std::move(request));
    }
  }
  if (host.PublishAllPorts) {
    for (const auto& [port, nothing] : config.ExposedPorts) {
      if (host.PortBindings.contains(port)) continue;
      drivers::PortRequest request;
      TRY(read_container_port(port, request));
      out.push_back(std::move(request));
    }
  }
  return out;
}

api::PortMap show_ports(const api::ContainerConfig& config,
                        const std::vector<drivers::PortMapping>& mappings) {
  api::PortMap out;
  for (const auto& [port, nothing] : config.ExposedPorts) out[port] = std::nullopt;
  for (const drivers::PortMapping& mapping : mappings) {
    auto& bindings = out[fmt::format("{}/{}", mapping.container_port, to_string(mapping.protocol))];
    if (mapping.routed) continue;  // open at the container's own address: no port of the host
    if (!bindings) bindings.emplace();
    bindings->push_back({mapping.host_ip.to_string(), std::to_string(mapping.host_port)});
  }
  return out;
}

}  // namespace gantry::daemon

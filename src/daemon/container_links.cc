#include "daemon/container_links.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <tuple>

namespace gantry::daemon {

namespace {

constexpr const char* kDefaultNetwork = "bridge";

std::string last_part(std::string_view path) {
  return std::string(path.substr(path.rfind('/') + 1));  // npos + 1 is 0
}

struct ExposedPort {
  std::string protocol;
  unsigned number = 0;
};

std::vector<ExposedPort> exposed_ports(const api::ContainerConfig& config) {
  std::vector<ExposedPort> out;
  for (const auto& [text, nothing] : config.ExposedPorts) {
    const size_t slash = std::min(text.find('/'), text.size());
    ExposedPort port;
    port.protocol = slash < text.size() ? text.substr(slash + 1) : "tcp";
    std::from_chars(text.data(), text.data() + slash, port.number);
    if (port.number != 0) out.push_back(std::move(port));
  }
  std::sort(out.begin(), out.end(), [](const ExposedPort& a, const ExposedPort& b) {
    return std::tie(a.number, a.protocol) < std::tie(b.number, b.protocol);
  });
  return out;
}

std::string variable_name(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return c == '-' ? '_' : std::toupper(c); });
  return text;
}

}  // namespace

Result<ContainerLink> parse_link(std::string_view text) {
  const size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  const std::string_view alias = colon == text.npos ? name : text.substr(colon + 1);
  // "/db:/web/alias" is how inspect shows it.
  ContainerLink link{std::string(name.starts_with('/') ? name.substr(1) : name), last_part(alias)};
  if (link.container.empty() || link.alias.empty() || alias.find(':') != alias.npos ||
      link.alias.find_first_of(" \t\n") != link.alias.npos)
    return invalid("bad format for links: {}", text);
  return link;
}

Result<std::string> link_hosts_line(const ContainerLink& link, const ContainerRecord& other) {
  const auto endpoint = other.networks.find(kDefaultNetwork);
  if (endpoint == other.networks.end() || endpoint->second.IPAddress.empty())
    return conflict("container {} not attached to default bridge network", other.name);
  std::string names = link.alias + " " + other.config.Hostname;
  if (link.alias != other.name) names += " " + other.name;
  return endpoint->second.IPAddress + "\t" + names;
}

std::vector<std::string> link_environment(const ContainerLink& link, const std::string& own_name,
                                          const ContainerRecord& other) {
  const std::string alias = variable_name(link.alias);
  const auto endpoint = other.networks.find(kDefaultNetwork);
  const std::string address =
      endpoint == other.networks.end() ? std::string() : endpoint->second.IPAddress;
  std::vector<std::string> out;
  const std::vector<ExposedPort> ports = exposed_ports(other.config);
  const auto url = [&](const ExposedPort& port) {
    return fmt::format("{}://{}:{}", port.protocol, address, port.number);
  };
  if (!ports.empty()) out.push_back(fmt::format("{}_PORT={}", alias, url(ports.front())));
  for (const ExposedPort& port : ports) {
    const std::string prefix =
        fmt::format("{}_PORT_{}_{}", alias, port.number, variable_name(port.protocol));
    out.push_back(prefix + "=" + url(port));
    out.push_back(prefix + "_ADDR=" + address);
    out.push_back(fmt::format("{}_PORT={}", prefix, port.number));
    out.push_back(prefix + "_PROTO=" + port.protocol);
  }
  out.push_back(fmt::format("{}_NAME=/{}/{}", alias, own_name, link.alias));
  for (const std::string& variable : other.config.Env) {
    const size_t equals = variable.find('=');
    const std::string name = variable.substr(0, equals);
    if (equals == variable.npos || name == "HOME" || name == "PATH") continue;
    out.push_back(fmt::format("{}_ENV_{}", alias, variable));
  }
  return out;
}

}  // namespace gantry::daemon

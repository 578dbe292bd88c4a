#include "drivers/network/container_files.h"

#include <algorithm>
#include <charconv>

#include "base/fs.h"

namespace gantry::drivers {

namespace {

constexpr std::string_view kPublicServers4[] = {"8.8.8.8", "8.8.4.4"};
constexpr std::string_view kPublicServers6[] = {"2001:4860:4860::8888", "2001:4860:4860::8844"};

std::vector<std::string> words(std::string_view line) {
  std::vector<std::string> out;
  size_t at = 0;
  while (at < line.size()) {
    at = line.find_first_not_of(" \t\r", at);
    if (at == std::string_view::npos) break;
    const size_t end = std::min(line.find_first_of(" \t\r", at), line.size());
    out.emplace_back(line.substr(at, end - at));
    at = end;
  }
  return out;
}

std::string join(const std::vector<std::string>& list) {
  std::string out;
  for (const std::string& item : list) out += (out.empty() ? "" : " ") + item;
  return out;
}

bool usable_server(const std::string& server, Ipv6Servers ipv6) {
  auto address = IpAddress::parse(server.substr(0, server.find('%')));
  if (!address || address->is_loopback()) return false;
  // A link-local server is reached through an interface that the container does not have.
  if (server.find('%') != std::string::npos) return false;
  return address->is_v4() || ipv6 == Ipv6Servers::keep;
}

std::string own_names(const HostsFile& file) {
  return file.domainname.empty() ? file.hostname
                                 : file.hostname + "." + file.domainname + " " + file.hostname;
}

}  // namespace

std::string build_hosts(const HostsFile& file) {
  std::string out =
      "127.0.0.1\tlocalhost\n"
      "::1\tlocalhost ip6-localhost ip6-loopback\n"
      "fe00::\tip6-localnet\n"
      "ff00::\tip6-mcastprefix\n"
      "ff02::1\tip6-allnodes\n"
      "ff02::2\tip6-allrouters\n";
  for (const HostsEntry& entry : file.extra) out += entry.address + "\t" + entry.names + "\n";
  if (!file.hostname.empty())
    for (const IpAddress& address : file.addresses)
      out += address.to_string() + "\t" + own_names(file) + "\n";
  return out;
}

std::string update_hosts(std::string_view text, const HostsFile& file) {
  if (file.hostname.empty()) return std::string(text);
  std::vector<std::string> missing;
  for (const IpAddress& address : file.addresses) missing.push_back(address.to_string());
  const std::vector<std::string> own = missing;
  const std::vector<std::string> names = words(own_names(file));
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    const std::vector<std::string> fields = words(line);
    const bool names_it = fields.size() == names.size() + 1 &&
                          std::equal(names.begin(), names.end(), fields.begin() + 1);
    const bool asked_for =
        std::any_of(file.extra.begin(), file.extra.end(), [&](const HostsEntry& entry) {
          return names_it && entry.address == fields[0] && words(entry.names) == names;
        });
    if (names_it && !asked_for) {
      if (std::find(own.begin(), own.end(), fields[0]) == own.end()) continue;
      std::erase(missing, fields[0]);
    }
    out.append(line).push_back('\n');
  }
  for (const std::string& address : missing) out += address + "\t" + own_names(file) + "\n";
  return out;
}

std::string build_hostname(std::string_view hostname) { return std::string(hostname) + "\n"; }

Result<HostsEntry> parse_extra_host(std::string_view text,
                                    const std::optional<IpAddress>& host_gateway) {
  // "=" is unambiguous; with ":" the name ends at the first one, since an IPv6 address has more.
  size_t at = text.find('=');
  if (at == std::string_view::npos) at = text.find(':');
  if (at == std::string_view::npos || at == 0)
    return invalid("bad format for add-host: \"{}\"", text);
  const std::string name(text.substr(0, at));
  std::string_view address = text.substr(at + 1);
  if (name.find_first_of(" \t\n") != std::string::npos)
    return invalid("bad format for add-host: \"{}\"", text);
  if (address == "host-gateway") {
    if (!host_gateway)
      return invalid("unable to derive the IP value for host-gateway: the container has no bridge");
    return HostsEntry{host_gateway->to_string(), name};
  }
  if (address.size() > 2 && address.front() == '[' && address.back() == ']')
    address = address.substr(1, address.size() - 2);
  auto parsed = IpAddress::parse(address);
  if (!parsed) return invalid("invalid IP address in add-host: \"{}\"", address);
  return HostsEntry{parsed->to_string(), name};
}

ResolvConf parse_resolv_conf(std::string_view text) {
  ResolvConf out;
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    std::vector<std::string> fields = words(line);
    if (fields.size() < 2 || fields[0][0] == '#' || fields[0][0] == ';') continue;
    const std::vector<std::string> rest(fields.begin() + 1, fields.end());
    if (fields[0] == "nameserver") {
      out.nameservers.push_back(rest[0]);
    } else if (fields[0] == "search" || fields[0] == "domain") {
      out.search = rest;  // the last one counts
    } else if (fields[0] == "options") {
      out.options.insert(out.options.end(), rest.begin(), rest.end());
    }
  }
  return out;
}

std::string build_resolv_conf(const ResolvConf& host, const ResolvOverrides& overrides,
                              Ipv6Servers ipv6) {
  std::vector<std::string> servers = overrides.nameservers;
  if (servers.empty()) {
    for (const std::string& server : host.nameservers)
      if (usable_server(server, ipv6)) servers.push_back(server);
    if (servers.empty()) {
      servers.assign(std::begin(kPublicServers4), std::end(kPublicServers4));
      if (ipv6 == Ipv6Servers::keep)
        servers.insert(servers.end(), std::begin(kPublicServers6), std::end(kPublicServers6));
    }
  }
  std::vector<std::string> search = overrides.search.empty() ? host.search : overrides.search;
  std::erase(search, ".");
  const std::vector<std::string>& options =
      overrides.options.empty() ? host.options : overrides.options;

  std::string out =
      "# Generated by Gantry from the host's resolv.conf and the container's options.\n";
  for (const std::string& server : servers) out += "nameserver " + server + "\n";
  if (!search.empty()) out += "search " + join(search) + "\n";
  if (!options.empty()) out += "options " + join(options) + "\n";
  return out;
}

NamedResolvConf build_named_resolv_conf(const ResolvConf& host, const ResolvOverrides& overrides,
                                        Ipv6Servers ipv6, std::string_view host_path,
                                        std::string_view server) {
  NamedResolvConf out;
  std::string shown;
  const bool own = !overrides.nameservers.empty();
  bool public_ones = false;
  const auto add = [&](std::string_view address) {
    const auto parsed = IpAddress::parse(address.substr(0, address.find('%')));
    if (!parsed) return;
    out.servers.push_back({std::string(address), !own});
    // Docker's way of saying that only the host can reach it.
    const bool of_host_only = !own && (parsed->is_loopback() || address.find('%') != address.npos);
    shown += (shown.empty() ? "" : " ") +
             (of_host_only ? fmt::format("host({})", address) : std::string(address));
  };
  for (const std::string& address : own ? overrides.nameservers : host.nameservers) add(address);
  if (out.servers.empty()) {
    public_ones = true;
    for (const std::string_view address : kPublicServers4) add(address);
    if (ipv6 == Ipv6Servers::keep)
      for (const std::string_view address : kPublicServers6) add(address);
  }

  std::vector<std::string> search = overrides.search.empty() ? host.search : overrides.search;
  std::erase(search, ".");
  std::vector<std::string> options = overrides.options.empty() ? host.options : overrides.options;
  constexpr std::string_view kNdots = "ndots:";
  const auto dots = [&](std::string_view option) {  // -1: none that counts
    int value = -1;
    if (!option.starts_with(kNdots)) return value;
    const std::string_view digits = option.substr(kNdots.size());
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc() && end == digits.data() + digits.size() ? std::max(value, -1) : -1;
  };
  std::erase_if(options, [&](const std::string& option) {
    return (option == "ndots" || option.starts_with(kNdots)) && dots(option) < 0;
  });
  std::string_view from = overrides.options.empty() ? "host" : "override";
  bool said = false;
  for (const std::string& option : options)
    if (const int value = dots(option); value >= 0) {
      said = true;
      out.ndots_set = value > 0;
    }
  if (!said) {  // names without a dot come here as they are
    options.emplace_back("ndots:0");
    from = "internal";
  }

  std::string overridden;
  for (const auto& [is, name] : {std::pair{own, "nameservers"},
                                 {!overrides.search.empty(), "search"},
                                 {!overrides.options.empty(), "options"}})
    if (is) overridden += (overridden.empty() ? "" : " ") + std::string(name);
  out.text = fmt::format(
      "# Generated by Gantry from the host's resolv.conf and the container's options.\n"
      "nameserver {}\n",
      server);
  if (!search.empty()) out.text += "search " + join(search) + "\n";
  out.text += "options " + join(options) + "\n";
  out.text += fmt::format("\n# Based on host file: '{}' (internal resolver)\n", host_path);
  if (public_ones) out.text += "# Used default nameservers.\n";
  out.text += fmt::format("# ExtServers: [{}]\n# Overrides: [{}]\n# Option ndots from: {}\n", shown,
                          overridden, from);
  return out;
}

std::string host_resolv_conf_path() {
  constexpr const char* kOwn = "/etc/resolv.conf";
  constexpr const char* kBehindStub = "/run/systemd/resolve/resolv.conf";
  auto text = fs::read_file(kOwn, 1 << 20);
  if (!text) return kOwn;
  const ResolvConf host = parse_resolv_conf(*text);
  const bool stub = host.nameservers == std::vector<std::string>{"127.0.0.53"};
  return stub && fs::exists(kBehindStub) ? kBehindStub : kOwn;
}

}  // namespace gantry::drivers

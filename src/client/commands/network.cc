#include <algorithm>

#include "base/clock.h"
#include "base/units.h"
#include "client/commands/commands.h"
#include "client/format/table.h"
#include "client/format/template.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

struct NetworkCreateOptions {
  bool attachable = false, config_only = false, ingress = false, internal = false;
  std::optional<bool> ipv4, ipv6;
  std::string driver = "bridge", ipam_driver = "default", scope, config_from;
  std::vector<std::string> aux_address, gateway, ip_range, ipam_opt, label, opt, subnet;
};
constexpr Flag kCreateFlags[] = {
    flag<&NetworkCreateOptions::attachable>("attachable", 0, "Enable manual container attachment"),
    flag<&NetworkCreateOptions::aux_address>(
        "aux-address", 0, "Auxiliary IPv4 or IPv6 addresses used by Network driver",
        {.type = "map", .default_text = "map[]"}),
    flag<&NetworkCreateOptions::config_from>("config-from", 0,
                                             "The network from which to copy the configuration"),
    flag<&NetworkCreateOptions::config_only>("config-only", 0,
                                             "Create a configuration only network"),
    flag<&NetworkCreateOptions::driver>("driver", 'd', "Driver to manage the Network",
                                        {.default_text = "\"bridge\""}),
    flag<&NetworkCreateOptions::gateway>("gateway", 0, "IPv4 or IPv6 Gateway for the master subnet",
                                         {.type = "strings"}),
    flag<&NetworkCreateOptions::ingress>("ingress", 0, "Create swarm routing-mesh network"),
    flag<&NetworkCreateOptions::internal>("internal", 0, "Restrict external access to the network"),
    flag<&NetworkCreateOptions::ip_range>("ip-range", 0, "Allocate container ip from a sub-range",
                                          {.type = "strings"}),
    flag<&NetworkCreateOptions::ipam_driver>("ipam-driver", 0, "IP Address Management Driver",
                                             {.default_text = "\"default\""}),
    flag<&NetworkCreateOptions::ipam_opt>("ipam-opt", 0, "Set IPAM driver specific options",
                                          {.type = "map", .default_text = "map[]"}),
    flag<&NetworkCreateOptions::ipv4>("ipv4", 0, "Enable or disable IPv4 address assignment",
                                      {.default_text = "true"}),
    flag<&NetworkCreateOptions::ipv6>("ipv6", 0, "Enable or disable IPv6 address assignment"),
    flag<&NetworkCreateOptions::label>("label", 0, "Set metadata on a network"),
    flag<&NetworkCreateOptions::opt>("opt", 'o', "Set driver specific options",
                                     {.type = "map", .default_text = "map[]"}),
    flag<&NetworkCreateOptions::scope>("scope", 0, "Control the network's scope"),
    flag<&NetworkCreateOptions::subnet>("subnet", 0,
                                        "Subnet in CIDR format that represents a network segment",
                                        {.type = "strings"}),
};
const FlagGroup kCreateGroups[] = {own_flags(kCreateFlags)};

struct NetworkConnectOptions {
  std::vector<std::string> alias, driver_opt, link, link_local_ip;
  std::string ip, ip6;
  int64_t gw_priority = 0;
};
constexpr Flag kConnectFlags[] = {
    flag<&NetworkConnectOptions::alias>("alias", 0, "Add network-scoped alias for the container",
                                        {.type = "strings"}),
    flag<&NetworkConnectOptions::driver_opt>("driver-opt", 0, "driver options for the network",
                                             {.type = "strings"}),
    flag<&NetworkConnectOptions::gw_priority>(
        "gw-priority", 0,
        "Highest gw-priority provides the default gateway. Accepts positive and negative values."),
    flag<&NetworkConnectOptions::ip>("ip", 0, "IPv4 address (e.g., \"172.30.100.104\")"),
    flag<&NetworkConnectOptions::ip6>("ip6", 0, "IPv6 address (e.g., \"2001:db8::33\")"),
    flag<&NetworkConnectOptions::link>("link", 0, "Add link to another container"),
    flag<&NetworkConnectOptions::link_local_ip>(
        "link-local-ip", 0, "Add a link-local address for the container", {.type = "strings"}),
};
const FlagGroup kConnectGroups[] = {own_flags(kConnectFlags)};

struct NetworkForceOption {
  bool force = false;
  std::vector<std::string> filter;
};
constexpr Flag kDisconnectFlags[] = {flag<&NetworkForceOption::force>(
    "force", 'f', "Force the container to disconnect from a network")};
constexpr Flag kRemoveFlags[] = {
    flag<&NetworkForceOption::force>("force", 'f', "Do not error if the network does not exist")};
constexpr Flag kPruneFlags[] = {
    flag<&NetworkForceOption::filter>("filter", 0,
                                      "Provide filter values (e.g. \"until=<timestamp>\")",
                                      {.type = "filter", .set = set_filter}),
    flag<&NetworkForceOption::force>("force", 'f', "Do not prompt for confirmation")};
const FlagGroup kDisconnectGroups[] = {own_flags(kDisconnectFlags)};
const FlagGroup kRemoveGroups[] = {own_flags(kRemoveFlags)};
const FlagGroup kPruneGroups[] = {own_flags(kPruneFlags)};

struct NetworkListOptions {
  bool no_trunc = false, quiet = false;
  std::string format;
  std::vector<std::string> filter;
};
constexpr Flag kListFlags[] = {
    flag<&NetworkListOptions::filter>("filter", 'f',
                                      "Provide filter values (e.g. \"driver=bridge\")",
                                      {.type = "filter", .set = set_filter}),
    flag<&NetworkListOptions::format>("format", 0, kFormatUsage),
    flag<&NetworkListOptions::no_trunc>("no-trunc", 0, "Do not truncate the output"),
    flag<&NetworkListOptions::quiet>("quiet", 'q', "Only display network IDs"),
};
const FlagGroup kListGroups[] = {own_flags(kListFlags)};

json::array strings(const std::vector<std::string>& list) {
  json::array out;
  for (const std::string& item : list) out.push_back(json::value(item));
  return out;
}

// The subnets with what belongs to each: the n-th range and gateway go to the n-th subnet of their
// family.
Result<json::array> ipam_config(const NetworkCreateOptions& options) {
  json::array out;
  auto family = [](std::string_view text) { return text.find(':') != text.npos; };
  if (options.subnet.empty()) {
    if (!options.ip_range.empty() || !options.gateway.empty() || !options.aux_address.empty())
      return invalid("every ip-range or gateway must have a corresponding subnet");
    return out;
  }
  for (const std::string& subnet : options.subnet) out.push_back(json::object{{"Subnet", subnet}});
  auto assign = [&](const std::vector<std::string>& list, std::string_view member) -> Status {
    for (const std::string& text : list) {
      json::object* target = nullptr;
      for (json::value& entry : out)
        if (!target && !entry.as_object().contains(member) &&
            family(std::string_view(entry.as_object()["Subnet"].as_string())) == family(text))
          target = &entry.as_object();
      if (!target)
        return invalid("no matching subnet for {} {}", member == "IPRange" ? "range" : "gateway",
                       text);
      (*target)[member] = text;
    }
    return {};
  };
  TRY(assign(options.ip_range, "IPRange"));
  TRY(assign(options.gateway, "Gateway"));
  for (const auto& entry : key_values(options.aux_address)) {
    json::object* target = nullptr;
    for (json::value& subnet : out)
      if (family(std::string_view(subnet.as_object()["Subnet"].as_string())) ==
          family(std::string_view(entry.value().as_string())))
        target = target ? target : &subnet.as_object();
    if (!target)
      return invalid("no matching subnet for aux-address {}",
                     std::string_view(entry.value().as_string()));
    if (!target->contains("AuxiliaryAddresses")) (*target)["AuxiliaryAddresses"] = json::object();
    (*target)["AuxiliaryAddresses"].as_object()[entry.key()] = entry.value();
  }
  return out;
}

Result<int> run_create(Cli& cli, NetworkCreateOptions& options, Arguments& names) {
  json::object request{{"Name", names[0]},
                       {"Driver", options.driver},
                       {"Internal", options.internal},
                       {"Attachable", options.attachable},
                       {"Ingress", options.ingress},
                       {"ConfigOnly", options.config_only},
                       {"Options", key_values(options.opt)},
                       {"Labels", key_values(options.label)}};
  if (!options.scope.empty()) request["Scope"] = options.scope;
  if (options.ipv4) request["EnableIPv4"] = *options.ipv4;
  if (options.ipv6) request["EnableIPv6"] = *options.ipv6;
  if (!options.config_from.empty())
    request["ConfigFrom"] = json::object{{"Network", options.config_from}};
  json::array subnets = TRY(ipam_config(options));
  request["IPAM"] = json::object{{"Driver", options.ipam_driver},
                                 {"Options", key_values(options.ipam_opt)},
                                 {"Config", std::move(subnets)}};
  Api* api = TRY(cli.api());
  std::string body = TRY(api->call("POST", Path("/networks/create"), request));
  json::value answer = TRY(json::parse(body));
  if (std::string warning = text_of(answer, "Warning"); !warning.empty())
    print_error("WARNING: " + warning);
  print_out("{}\n", text_of(answer, "Id"));
  return 0;
}

Result<int> run_connect(Cli& cli, NetworkConnectOptions& options, Arguments& names) {
  json::object endpoint{{"Links", strings(options.link)},
                        {"Aliases", strings(options.alias)},
                        {"DriverOpts", key_values(options.driver_opt)},
                        {"GwPriority", options.gw_priority}};
  json::object ipam;
  if (!options.ip.empty()) ipam["IPv4Address"] = options.ip;
  if (!options.ip6.empty()) ipam["IPv6Address"] = options.ip6;
  if (!options.link_local_ip.empty()) ipam["LinkLocalIPs"] = strings(options.link_local_ip);
  if (!ipam.empty()) endpoint["IPAMConfig"] = std::move(ipam);
  Api* api = TRY(cli.api());
  TRY(api->call("POST", Path::of({"networks", names[0], "connect"}),
                json::object{{"Container", names[1]}, {"EndpointConfig", std::move(endpoint)}}));
  return 0;
}

Result<int> run_disconnect(Cli& cli, NetworkForceOption& options, Arguments& names) {
  Api* api = TRY(cli.api());
  TRY(api->call("POST", Path::of({"networks", names[0], "disconnect"}),
                json::object{{"Container", names[1]}, {"Force", options.force}}));
  return 0;
}

Result<int> run_remove(Cli& cli, NetworkForceOption& options, Arguments& names) {
  Api* api = TRY(cli.api());
  return for_each_name(names, EchoNames::yes, [&](const std::string& name) -> Status {
    auto removed = api->call("DELETE", Path::of({"networks", name}));
    if (!removed && !(options.force && removed.error().kind() == ErrorKind::not_found))
      return std::move(removed).error();
    return {};
  });
}

Result<int> run_list(Cli& cli, NetworkListOptions& options, Arguments&) {
  std::string format = options.format.empty() && !options.quiet
                           ? cli.config_string("networksFormat")
                           : options.format;
  Path path("/networks");
  const std::string filters = TRY(filters_parameter(options.filter));
  path.add_if("filters", filters);
  Api* api = TRY(cli.api());
  json::value list = TRY(api->get(path));
  if (!list.is_array()) return internal("the daemon's list of networks is no list");
  std::ranges::sort(list.get_array(), {},
                    [](const json::value& network) { return text_of(network, "Name"); });
  Listing listing;
  listing.type_name = "*formatter.networkContext";
  listing.headings = {{"ID", "NETWORK ID"},     {"Name", "NAME"},     {"Driver", "DRIVER"},
                      {"Scope", "SCOPE"},       {"IPv4", "IPV4"},     {"IPv6", "IPV6"},
                      {"Internal", "INTERNAL"}, {"Labels", "LABELS"}, {"CreatedAt", "CREATED AT"}};
  listing.table = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";
  for (const json::value& network : list.get_array()) {
    json::object row;
    std::string id = text_of(network, "Id");
    if (!options.no_trunc) id = id.substr(0, 12);
    if (options.quiet && format.empty()) {
      print_out("{}\n", id);
      continue;
    }
    row["ID"] = id;
    for (std::string_view member : {"Name", "Driver", "Scope"})
      row[member] = text_of(network, member);
    row["IPv4"] = flag_of(network, "EnableIPv4") ? "true" : "false";
    row["IPv6"] = flag_of(network, "EnableIPv6") ? "true" : "false";
    row["Internal"] = flag_of(network, "Internal") ? "true" : "false";
    row["Labels"] = comma_pairs(object_of(network, "Labels"));
    row["CreatedAt"] = go_time(text_of(network, "Created"));
    row[kMethods] = json::object{{"Label", object_of(network, "Labels")}};
    listing.rows.push_back(std::move(row));
  }
  if (options.quiet && format.empty()) return 0;
  const std::string shown = TRY(render(listing, format));
  print_out(shown);
  return 0;
}

Result<int> run_prune(Cli& cli, NetworkForceOption& options, Arguments&) {
  Path path("/networks/prune");
  const std::string filters = TRY(filters_parameter(options.filter));
  path.add_if("filters", filters);
  if (!options.force) {
    bool yes =
        TRY(confirm("WARNING! This will remove all custom networks not used by at least one "
                    "container.\nAre you sure you want to continue?"));
    if (!yes) return invalid("network prune has been cancelled");
  }
  Api* api = TRY(cli.api());
  std::string body = TRY(api->call("POST", path));
  json::value answer = TRY(json::parse(body));
  if (const json::array& deleted = array_of(answer, "NetworksDeleted"); !deleted.empty()) {
    print_out("Deleted Networks:\n");
    for (const json::value& name : deleted) print_out("{}\n", std::string_view(name.get_string()));
    print_out("\n");
  }
  return 0;
}

constexpr std::string_view kListAliases[] = {"list"};
constexpr std::string_view kRemoveAliases[] = {"remove"};

}  // namespace

std::span<const Command> network_commands() {
  static const Command commands[] = {
      command<NetworkConnectOptions, run_connect>({.name = "connect",
                                                   .use = "[OPTIONS] NETWORK CONTAINER",
                                                   .summary = "Connect a container to a network",
                                                   .arity = exactly(2),
                                                   .flags = kConnectGroups}),
      command<NetworkCreateOptions, run_create>({.name = "create",
                                                 .use = "[OPTIONS] NETWORK",
                                                 .summary = "Create a network",
                                                 .arity = exactly(1),
                                                 .flags = kCreateGroups}),
      command<NetworkForceOption, run_disconnect>(
          {.name = "disconnect",
           .use = "[OPTIONS] NETWORK CONTAINER",
           .summary = "Disconnect a container from a network",
           .arity = exactly(2),
           .flags = kDisconnectGroups}),
      command<NetworkListOptions, run_list>({.name = "ls",
                                             .aliases = kListAliases,
                                             .use = "[OPTIONS]",
                                             .summary = "List networks",
                                             .arity = exactly(0),
                                             .flags = kListGroups}),
      command<NetworkForceOption, run_prune>({.name = "prune",
                                              .use = "[OPTIONS]",
                                              .summary = "Remove all unused networks",
                                              .arity = exactly(0),
                                              .flags = kPruneGroups}),
      command<NetworkForceOption, run_remove>({.name = "rm",
                                               .aliases = kRemoveAliases,
                                               .use = "NETWORK [NETWORK...]",
                                               .summary = "Remove one or more networks",
                                               .arity = at_least(1),
                                               .flags = kRemoveGroups}),
  };
  return commands;
}

}  // namespace gantry::client

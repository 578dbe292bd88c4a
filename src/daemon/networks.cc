#include "daemon/networks.h"

#include <algorithm>

#include "base/clock.h"
#include "daemon/events.h"
#include "daemon/options.h"
#include "drivers/network/network_system.h"
#include "engine/engine.h"

namespace gantry::daemon {

namespace {

using graph::NodeKind;

api::StringMap or_empty(const api::StringMap& map) { return map; }

json::object ipam_json(const NetworkRecord& record) {
  json::array config;
  for (const drivers::IpamPool& pool : record.config.pools) {
    json::object entry;
    entry["Subnet"] = pool.subnet.to_string();
    if (pool.range) entry["IPRange"] = pool.range->to_string();
    if (pool.gateway) entry["Gateway"] = pool.gateway->to_string();
    if (!pool.auxiliary.empty()) entry["AuxiliaryAddresses"] = json::encode(pool.auxiliary);
    config.push_back(std::move(entry));
  }
  json::object out;
  out["Driver"] = record.ipam_driver;
  out["Options"] =
      record.ipam_options.empty() ? json::value(nullptr) : json::encode(record.ipam_options);
  out["Config"] = std::move(config);
  return out;
}

// --- filters of GET /networks: a function a key; an unknown key is an error, as Docker's.
using Matcher = bool (*)(const NetworkRecord& record, size_t endpoints, const std::string& wanted);
struct Filter {
  std::string_view key;
  Matcher matches;
};

bool label_matches(const NetworkRecord& record, size_t, const std::string& wanted) {
  const size_t equals = wanted.find('=');
  const auto label = record.config.labels.find(wanted.substr(0, equals));
  if (label == record.config.labels.end()) return false;
  return equals == std::string::npos || label->second == wanted.substr(equals + 1);
}

constexpr Filter kFilters[] = {
    {"name", [](const NetworkRecord& r, size_t,
                const std::string& w) { return r.config.name.find(w) != std::string::npos; }},
    {"id", [](const NetworkRecord& r, size_t,
              const std::string& w) { return r.config.id.find(w) != std::string::npos; }},
    {"driver",
     [](const NetworkRecord& r, size_t, const std::string& w) { return r.config.driver == w; }},
    {"scope", [](const NetworkRecord& r, size_t, const std::string& w) { return r.scope == w; }},
    {"type",
     [](const NetworkRecord& r, size_t, const std::string& w) {
       return w == (is_predefined(r.config.name) ? "builtin" : "custom");
     }},
    {"label", label_matches},
    {"dangling",
     [](const NetworkRecord& r, size_t endpoints, const std::string& w) {
       const bool dangling = endpoints == 0 && !is_predefined(r.config.name);
       return dangling == (w == "true" || w == "1");
     }},
};

}  // namespace

bool is_predefined(std::string_view network) {
  return network == "bridge" || network == "host" || network == "none";
}

Networks::Networks(engine::Engine& engine, Events& events, const Options& options)
    : engine_(engine), events_(events), options_(options) {}
Networks::~Networks() = default;

Result<std::unique_ptr<Networks>> Networks::open(engine::Engine& engine, Events& events,
                                                 const Options& options,
                                                 const std::string& instance) {
  std::unique_ptr<Networks> networks(new Networks(engine, events, options));
  networks->system_ = TRY(drivers::NetworkSystem::open({.instance_id = instance}));
  for (engine::ResourceKind& kind : networks->system_->resource_kinds())
    TRY(engine.resources().add(std::move(kind)));
  const std::vector<engine::ResourceRow> rows = TRY(engine.resources().list());
  TRY(networks->system_->restore(rows));

  Networks* self = networks.get();
  const engine::JobOptions durable{.job_class = engine::JobClass::container,
                                   .durability = graph::Durability::full};
  // A removal gives space back, and a start on a full disk is to succeed.
  engine::JobOptions needed = durable;
  needed.space = graph::Space::reserve;
  engine.add<NetworkCreate>(
      [self](engine::JobContext& job, NetworkCreate::Input input) {
        return self->create(job, std::move(input));
      },
      durable);
  engine.add<NetworkRemove>([self](engine::JobContext& job,
                                   NetworkRemove::Input input) { return self->remove(job, input); },
                            needed);
  engine.add<NetworkPrune>([self](engine::JobContext& job,
                                  NetworkPrune::Input input) { return self->prune(job, input); },
                           needed);
  engine.add<NetworkRestore>(
      [self](engine::JobContext& job, NetworkRestore::Input) { return self->restore(job); },
      needed);
  return networks;
}

Status Networks::remove_lost() const {
  std::set<std::string> known;
  for (const graph::Node& node : TRY(engine_.graph().read().list(NodeKind::network)))
    known.insert(node.key);
  return system_->remove_lost(known);
}

Result<std::vector<NetworkRecord>> Networks::records() const {
  graph::View view = engine_.graph().read();
  std::vector<NetworkRecord> out;
  for (const graph::Node& node : TRY(view.list(NodeKind::network))) {
    NetworkRecord record =
        TRY(json::parse<NetworkRecord>(node.data).context("network {}", node.key));
    out.push_back(std::move(record));
  }
  return out;
}

Result<NetworkRecord> Networks::find(const std::string& network) const {
  graph::View view = engine_.graph().read();
  const auto read = [](const graph::Node& node) { return json::parse<NetworkRecord>(node.data); };
  if (!network.empty()) {
    if (auto named = view.get_by_name(NodeKind::network, network)) return read(*named);
    auto prefixed = view.find_by_key_prefix(NodeKind::network, network);
    if (prefixed) return read(*prefixed);
    if (prefixed.error().kind() == ErrorKind::conflict)
      return invalid("network {} is ambiguous ({} or more matches found based on ID prefix)",
                     network, 2);
  }
  return not_found("network {} not found", network);
}

json::object Networks::to_json(const NetworkRecord& record, bool with_containers) const {
  const drivers::NetworkConfig& config = record.config;
  json::object containers;
  if (with_containers) {
    std::lock_guard lock(mutex_);
    if (const auto network = connected_.find(config.id); network != connected_.end()) {
      const auto text = [](const std::optional<drivers::Cidr>& address) {
        return address ? address->to_string() : std::string();
      };
      for (const auto& [id, endpoint] : network->second->endpoints)
        containers[id] = {{"Name", endpoint->container_name()},
                          {"EndpointID", endpoint->endpoint_id},
                          {"MacAddress", endpoint->mac},
                          {"IPv4Address", text(endpoint->ipv4)},
                          {"IPv6Address", text(endpoint->ipv6)}};
    }
  }
  json::object out;
  out["Name"] = config.name;
  out["Id"] = config.id;
  out["Created"] = format_time(record.created);
  out["Scope"] = record.scope;
  out["Driver"] = config.driver;
  out["EnableIPv4"] = config.ipv4;
  out["EnableIPv6"] = config.ipv6;
  out["IPAM"] = ipam_json(record);
  out["Internal"] = config.internal;
  out["Attachable"] = record.attachable;
  out["Ingress"] = false;
  out["ConfigFrom"] = json::object{{"Network", record.config_from}};
  out["ConfigOnly"] = record.config_only;
  out["Containers"] = std::move(containers);
  out["Options"] = json::encode(or_empty(config.options));
  out["Labels"] = json::encode(or_empty(config.labels));
  return out;
}

Result<json::array> Networks::list(const std::map<std::string, api::Strings>& filters) const {
  for (const auto& [key, values] : filters) {
    const bool known =
        std::any_of(std::begin(kFilters), std::end(kFilters),
                    [&key = key](const Filter& filter) { return filter.key == key; });
    if (!known) return invalid("invalid filter '{}'", key);
  }
  json::array out;
  for (const NetworkRecord& record : TRY(records())) {
    size_t endpoints = 0;
    {
      std::lock_guard lock(mutex_);
      if (const auto network = connected_.find(record.config.id); network != connected_.end())
        endpoints = network->second->endpoints.size();
    }
    bool wanted = true;
    for (const Filter& filter : kFilters) {
      const auto values = filters.find(std::string(filter.key));
      if (values == filters.end() || values->second.empty()) continue;
      // Several labels must all match; several values of another key are alternatives.
      const auto match = [&](const std::string& value) {
        return filter.matches(record, endpoints, value);
      };
      wanted = wanted && (filter.key == "label"
                              ? std::all_of(values->second.begin(), values->second.end(), match)
                              : std::any_of(values->second.begin(), values->second.end(), match));
    }
    if (wanted) out.push_back(to_json(record, false));
  }
  return out;
}

Result<json::object> Networks::inspect(const std::string& network, bool) const {
  const NetworkRecord record = TRY(find(network));
  return to_json(record, true);
}

Status Networks::take_down() {
  std::vector<drivers::NetworkConfig> configs;
  for (NetworkRecord& record : TRY(records())) configs.push_back(std::move(record.config));
  return system_->take_down(configs);
}

}  // namespace gantry::daemon

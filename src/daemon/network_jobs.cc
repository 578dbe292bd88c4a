// The handlers of network_jobs.h.
#include "daemon/network_jobs.h"

#include <algorithm>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "daemon/events.h"
#include "daemon/filters.h"
#include "daemon/networks.h"
#include "daemon/options.h"
#include "drivers/network/network_system.h"
#include "engine/engine.h"

namespace gantry::daemon {

namespace {

using graph::NodeKind;

Result<drivers::IpamPool> read_pool(const IpamEntry& entry) {
  if (entry.Subnet.empty())
    return invalid("invalid network config: a subnet is needed for each IPAM entry");
  drivers::IpamPool pool;
  pool.subnet = TRY(drivers::Cidr::parse(entry.Subnet).context("invalid network config"));
  if (!entry.IPRange.empty())
    pool.range = TRY(drivers::Cidr::parse(entry.IPRange).context("invalid network config"));
  if (!entry.Gateway.empty())
    pool.gateway = TRY(drivers::IpAddress::parse(entry.Gateway).context("invalid network config"));
  for (const auto& [name, text] : entry.AuxiliaryAddresses) {
    const drivers::IpAddress address =
        TRY(drivers::IpAddress::parse(text).context("invalid network config"));
    pool.auxiliary.emplace(name, address);
  }
  return pool;
}

Result<NetworkRecord> read_record(NetworkCreate::Input input) {
  NetworkRecord record;
  record.created = now_ns();
  record.attachable = input.Attachable;
  drivers::NetworkConfig& config = record.config;
  config.id = new_id();
  config.name = std::move(input.Name);
  config.driver = input.Driver.empty() || input.Driver == "default" ? "bridge" : input.Driver;
  config.ipv4 = input.EnableIPv4.value_or(true);
  config.ipv6 = input.EnableIPv6.value_or(false);
  config.internal = input.Internal;
  config.options = std::move(input.Options);
  config.labels = std::move(input.Labels);
  if (input.ipam.Driver != "default" && !input.ipam.Driver.empty())
    return not_found("could not find plugin {} in v1 plugin registry: plugin not found",
                     input.ipam.Driver);
  record.ipam_options = std::move(input.ipam.Options);
  for (const IpamEntry& entry : input.ipam.Config) {
    if (entry.Subnet.empty() && entry.Gateway.empty() && entry.IPRange.empty()) continue;
    drivers::IpamPool pool = TRY(read_pool(entry));
    const bool v6 = pool.subnet.family() == drivers::IpFamily::v6;
    if (v6 ? !config.ipv6 : !config.ipv4) {
      if (!v6 || input.EnableIPv6.has_value())
        return invalid("{} subnet {} given for a network without {}", v6 ? "IPv6" : "IPv4",
                       pool.subnet.to_string(), v6 ? "IPv6" : "IPv4");
      config.ipv6 = true;
    }
    config.pools.push_back(std::move(pool));
  }
  return record;
}

// For what is being given back when every address pool is taken.
constexpr std::chrono::seconds kDrainTime{5};

}  // namespace

// Makes the network and its record; the caller holds the lock on its name.
Status Networks::store(engine::JobContext& job, NetworkRecord record) {
  drivers::NetworkDriver* driver = TRY(system_->driver(record.config.driver));
  record.config.driver = driver->name();
  Result<drivers::NetworkPlan> planned = driver->plan_network(record.config);
  if (!planned && planned.error().kind() == ErrorKind::unavailable && planned.error().code() == 0) {
    // The pools are exhausted (no system call has failed). The bridges of removed networks go in
    // the background, and have their routes until then.
    engine_.drain_releases(kDrainTime);
    planned = driver->plan_network(record.config);
  }
  drivers::NetworkPlan plan = TRY(std::move(planned));
  if (!plan.rows.empty()) TRY(job.take(plan.rows));
  // Until the network stands, its subnets go back with the job and not with the rows, whose release
  // comes later: the same may be asked for again at once.
  job.after_commit([reservation = std::make_shared<drivers::Reservation>(
                        std::move(plan.reservation))] { reservation->keep(); });
  record.config = plan.network;
  TRY(driver->create_network(record.config));
  graph::Graph& graph = engine_.graph();
  job.on_commit([&graph, record](graph::Transaction& tx) { return remember(graph, tx, record); });
  return {};
}

Status Networks::remember(graph::Graph& graph, graph::Transaction& tx,
                          const NetworkRecord& record) {
  graph::Node node{.kind = NodeKind::network, .key = record.config.id, .data = json::dump(record)};
  const graph::NodeId id = TRY(graph.put(tx, node));
  // A network that is made anew at start has its name already.
  auto named = graph.read(tx).get_by_name(NodeKind::network, record.config.name);
  if (named && named->id == id) return {};
  return graph.claim_name(tx, NodeKind::network, record.config.name, id);
}

// Docker's rules and words.
Result<NetworkRecord> Networks::configured(NetworkRecord record,
                                           const NetworkCreate::Input& input) const {
  const std::string& from = input.ConfigFrom.Network;
  if (input.ConfigOnly) {
    if (input.Ingress || input.Internal || input.Attachable || !input.Scope.empty())
      return make_error(
          ErrorKind::permission,
          "configuration network can only contain network specific fields. Network operator fields "
          "like [ ingress | internal | attachable | scope ] are not supported.");
    if (!from.empty())
      return make_error(ErrorKind::permission,
                        "a configuration network cannot depend on another configuration network");
    record.config_only = true;
    record.config.driver = "null";
  }
  if (from.empty()) return record;
  const auto source = find(from);
  if (!source || !source->config_only)
    return not_found("configuration network \"{}\" does not exist", from);
  if (input.EnableIPv6.value_or(false) || !input.Labels.empty() || !input.ipam.Options.empty() ||
      !input.ipam.Config.empty())
    return make_error(ErrorKind::permission,
                      "user specified configurations are not supported if the network depends on a "
                      "configuration network");
  if (!input.Options.empty())
    return make_error(ErrorKind::permission,
                      "network driver options are not supported if the network depends on a "
                      "configuration network");
  record.config_from = source->config.name;
  record.config.ipv4 = source->config.ipv4;
  record.config.ipv6 = source->config.ipv6;
  record.config.pools = source->config.pools;
  record.config.options = source->config.options;
  record.config.labels = source->config.labels;
  record.ipam_driver = source->ipam_driver;
  record.ipam_options = source->ipam_options;
  return record;
}

Result<NetworkCreate::Output> Networks::create(engine::JobContext& job,
                                               NetworkCreate::Input input) {
  if (input.Name.empty() || input.Name.find_first_of("/ \t\n") != std::string::npos)
    return invalid("invalid network name: \"{}\"", input.Name);
  if (is_predefined(input.Name) || input.Name == "default")
    return make_error(ErrorKind::permission, "operation is not permitted on predefined {} network",
                      input.Name);
  if (input.Ingress || (!input.Scope.empty() && input.Scope != "local"))
    return unsupported("swarm networks are not supported by Gantry");
  for (const char* single : {"host", "null", "none"})
    if (input.Driver == single)
      return make_error(ErrorKind::permission, "only one instance of \"{}\" network is allowed",
                        input.Driver);
  std::vector<engine::LockName> locks = {{engine::LockKind::network, input.Name}};
  if (const std::string& from = input.ConfigFrom.Network; !from.empty() && from != input.Name)
    locks.push_back({engine::LockKind::network, from, engine::LockMode::shared});
  TRY(job.lock(std::move(locks)));
  if (engine_.graph().read().get_by_name(NodeKind::network, input.Name))
    return conflict("network with name {} already exists", input.Name);

  NetworkRecord record = TRY(read_record(input));
  record = TRY(configured(std::move(record), input));
  const std::string id = record.config.id, name = record.config.name, driver = record.config.driver;
  if (record.config_only)
    job.on_commit([&graph = engine_.graph(), record](graph::Transaction& tx) {
      return remember(graph, tx, record);
    });
  else
    TRY(store(job, std::move(record)));
  job.after_commit([this, id, name, driver] {
    events_.publish({"network", "create", id, {{"name", name}, {"type", driver}}});
  });
  return NetworkCreate::Output{id, ""};
}

Result<NetworkRemove::Output> Networks::remove(engine::JobContext& job,
                                               const NetworkRemove::Input& input) {
  NetworkRecord record = TRY(find(input.network));
  const std::string id = record.config.id, name = record.config.name,
                    driver_name = record.config.driver;
  if (is_predefined(name))
    return make_error(ErrorKind::permission, "{} is a pre-defined network and cannot be removed",
                      name);
  TRY(job.lock({{engine::LockKind::network, name}}));
  for (const NetworkRecord& other : TRY(records()))
    if (record.config_only && other.config_from == name)
      return make_error(ErrorKind::permission, "configuration network \"{}\" is in use", name);
  if (const SharedNetworkNames connected = names_of(id)) {
    std::string who;
    for (const auto& [container, endpoint] : connected->endpoints)
      who += fmt::format("{}name:\"{}\" id:\"{}\"", who.empty() ? "" : ", ",
                         endpoint->container_name(), short_id(container));
    return make_error(ErrorKind::permission,
                      "error while removing network: network {} has active endpoints ({})", name,
                      who);
  }
  drivers::NetworkDriver* driver = TRY(system_->driver(driver_name));
  TRY(job.release_owned("network:" + id));
  graph::Graph& graph = engine_.graph();
  job.on_commit([&graph, id](graph::Transaction& tx) -> Status {
    const graph::Node node = TRY(graph.read(tx).get(NodeKind::network, id));
    return graph.remove(tx, node.id);
  });
  job.after_commit([this, driver, config = record.config, id, name, driver_name] {
    driver->forget_network(config);
    events_.publish({"network", "destroy", id, {{"name", name}, {"type", driver_name}}});
  });
  return NetworkRemove::Output{};
}

Result<NetworkPrune::Output> Networks::prune(engine::JobContext& job,
                                             const NetworkPrune::Input& input) {
  TRY(check_filter_keys(input.filters, {"label", "label!", "until"}));
  const int64_t until = TRY(until_filter(input.filters));
  NetworkPrune::Output output;
  for (const NetworkRecord& record : TRY(records())) {
    const std::string& name = record.config.name;
    if (is_predefined(name) || record.config_only || names_of(record.config.id)) continue;
    if (until != 0 && record.created > until) continue;
    if (!matches_labels(input.filters, record.config.labels)) continue;
    auto removed = job.run<NetworkRemove>({record.config.id});
    if (removed)
      output.NetworksDeleted.push_back(name);
    else
      log::warn("prune: network {}: {}", name, removed.error().message());
    TRY(job.check());
  }
  return output;
}

// What the reconciler found vanished has lost its rows too, so they are taken again first.
Status Networks::make_good(engine::JobContext& job, const NetworkRecord& record) {
  drivers::NetworkDriver* driver = TRY(system_->driver(record.config.driver));
  drivers::NetworkPlan plan = TRY(driver->plan_network(record.config));
  std::erase_if(plan.rows, [&](const engine::Resource& row) {
    return engine_.resources().get(row.kind, row.name).has_value();
  });
  if (!plan.rows.empty()) TRY(job.take(plan.rows));
  plan.reservation.keep();
  return driver->create_network(record.config);
}

Result<NetworkRestore::Output> Networks::restore(engine::JobContext& job) {
  TRY(job.lock({{engine::LockKind::network, "bridge"}}));
  std::vector<NetworkRecord> wanted;
  for (const char* name : {"host", "none"}) {
    if (engine_.graph().read().get_by_name(NodeKind::network, name)) continue;
    NetworkRecord record;
    record.created = now_ns();
    record.config.id = new_id();
    record.config.name = name;
    record.config.driver = name;
    wanted.push_back(std::move(record));
  }

  if (options_.bridge != "none") {
    drivers::DefaultBridge bridge{.link = options_.bridge};
    if (!options_.bip.empty())
      bridge.bip = TRY(drivers::Cidr::parse(options_.bip).context("--bip"));
    NetworkRecord record;
    record.created = now_ns();
    record.config = system_->default_network(bridge);
    record.config.id = new_id();
    auto former = find("bridge");
    bool keep = false;
    if (former) {
      // The daemon's options may have changed since; what they do not say stays as it was.
      const auto& pools = former->config.pools;
      keep = former->config.options == record.config.options &&
             (!bridge.bip || (!pools.empty() && pools[0].gateway == bridge.bip->address() &&
                              pools[0].subnet == bridge.bip->network()));
      if (!keep) {
        log::info("the default network is made anew with the daemon's new options");
        record.config.id = former->config.id;
        drivers::NetworkDriver* driver = TRY(system_->driver("bridge"));
        TRY(job.release_owned("network:" + former->config.id));
        TRY(driver->remove_network(former->config));
        TRY(job.commit_now());
      }
    }
    if (!keep) wanted.push_back(std::move(record));
  }
  for (NetworkRecord& record : wanted) {
    const std::string name = record.config.name;
    TRY(store(job, std::move(record)).context("network {}", name));
  }
  // Bridges are gone after a reboot. One network that cannot be had must not keep the daemon from
  // starting.
  for (const NetworkRecord& record : TRY(records())) {
    if (record.config_only) continue;
    Status made = make_good(job, record);
    if (!made) log::error("network {}: {}", record.config.name, made.error().message());
  }
  return NetworkRestore::Output{};
}

}  // namespace gantry::daemon

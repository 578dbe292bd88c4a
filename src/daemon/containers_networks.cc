// Connecting containers to networks, and disconnecting them, running or not.
#include "base/failpoint.h"
#include "base/id.h"
#include "base/log.h"
#include "daemon/containers_impl.h"
#include "daemon/name_service.h"
#include "engine/leave.h"

namespace gantry::daemon {
namespace {

bool is_mode(const ContainerRecord& record, std::string_view mode) {
  return record.host_config.NetworkMode == mode;
}

// Docker's rules of which networks go together.
Status check_connect(const ContainerRecord& record, const NetworkRecord& network) {
  const std::string& driver = network.config.driver;
  if (network.config_only) return Networks::config_only(network);
  if (is_mode(record, "host") || driver == "host")
    return invalid(
        "container cannot be disconnected from host network or connected to host network");
  if (record.host_config.NetworkMode.starts_with("container:"))
    return invalid(
        "container sharing network namespace with another container or host cannot be connected to "
        "any other network");
  for (const auto& [name, settings] : record.networks)
    if (name != network.config.name && (name == "none" || network.config.name == "none"))
      return invalid(
          "container cannot be connected to multiple networks with one of the networks in private "
          "(none) mode");
  return {};
}

}  // namespace

// The record changes with the job's closing transaction, and everything else that has changed by
// then is undone unless that is written.
Status Containers::Impl::change_networks(engine::JobContext& job,
                                         const std::shared_ptr<Container>& container,
                                         const ContainerRecord& before, NetworkChange change) {
  Networks& networks = daemon.networks();
  const std::shared_ptr<drivers::Instance> instance = container->instance();
  if (!instance || instance->netns_fd() < 0)
    return conflict("container {} is not running", short_id(before.id));
  const std::string directory = directory_of(before.id);
  if (!change.taken.empty()) TRY(job.take(change.taken));
  if (change.attachment) change.attachment->plan.reservation.keep();
  TRY(failpoint("network.change"));
  auto undo = std::make_shared<Undo>(
      [&networks, before, after = change.record, ports = change.ports_before, instance, directory] {
        const std::string what = "container " + before.id;
        log::ignored(what, networks.settle(before, ports, instance->netns_fd()));
        log::ignored(what, networks.update_files(directory, after, before));
      });
  job.after_commit([undo] { undo->keep(); });
  TRY(networks.carry_out(change, instance->netns_fd()));
  // Its first network with names gives it a DNS server, before resolv.conf says so.
  auto serving = TRY(daemon.names().serve_running(change.record, *instance));
  job.after_commit([serving] {
    if (serving) serving->keep();
  });
  TRY(networks.update_files(directory, before, change.record));
  for (const engine::Resource& port : change.ports_after)
    TRY(engine::set_data_on_commit(job, port.kind, port.name, port.data));
  for (const engine::Resource& row : change.left)
    TRY(engine::release_after_commit(job, row.kind, row.name));
  return {};
}

Result<NetworkConnect::Output> Containers::Impl::connect(engine::JobContext& job,
                                                         NetworkConnect::Input input) {
  Networks& networks = daemon.networks();
  const NetworkRecord network = TRY(networks.find(input.network));
  const std::string& name = network.config.name;
  std::shared_ptr<Container> container = TRY(find_locked(job, input.Container));
  TRY(job.lock({{engine::LockKind::network, name, engine::LockMode::shared}}));
  TRY(networks.find(network.config.id));  // it is still there
  ContainerRecord record = *container->record();
  TRY(check_connect(record, network));
  api::EndpointSettings settings = std::move(input.EndpointConfig);
  settings.NetworkID = network.config.id;
  settings.EndpointID.clear();
  TRY(networks.validate_endpoint(&network, name, settings));
  if (!record.running()) {
    // A second time it gets the new settings, as with Docker.
    if (settings.MacAddress.empty())
      record.macs.erase(name);
    else
      record.macs[name] = settings.MacAddress;
    record.networks.insert_or_assign(name, std::move(settings));
  } else {
    const auto known = record.networks.find(name);
    if (known != record.networks.end() && !known->second.EndpointID.empty())
      return make_error(ErrorKind::permission, "endpoint with name {} already exists in network {}",
                        record.name, name);
    const std::shared_ptr<drivers::Instance> instance = container->instance();
    if (!instance || instance->netns_fd() < 0)
      return conflict("container {} is not running", short_id(record.id));
    NetworkChange change =
        TRY(networks.plan_connect(record, network, settings, instance->netns_fd()));
    ContainerRecord after = change.record;
    TRY(change_networks(job, container, record, std::move(change)));
    record = std::move(after);
  }
  job.on_commit([this, record](graph::Transaction& tx) { return store(tx, record); });
  job.after_commit([this, container, record, network] {
    container->publish(record);
    if (!record.running()) return;
    daemon.networks().connected(record);
    daemon.networks().publish_event("connect", network.config, record.id);
  });
  return NetworkConnect::Output{};
}

Result<NetworkDisconnect::Output> Containers::Impl::disconnect(engine::JobContext& job,
                                                               NetworkDisconnect::Input input) {
  Networks& networks = daemon.networks();
  const auto network = networks.find(input.network);
  if (!network && !input.Force) return std::move(network).error();
  std::shared_ptr<Container> container = TRY(find_locked(job, input.Container));
  // A network that is gone is known by the name that the container has for it.
  const std::string name = network ? network->config.name : input.network;
  TRY(job.lock({{engine::LockKind::network, name, engine::LockMode::shared}}));
  ContainerRecord record = *container->record();
  if (is_mode(record, "host") && name == "host")
    return invalid(
        "container cannot be disconnected from host network or connected to host network");
  const auto endpoint = record.networks.find(name);
  if (endpoint == record.networks.end())
    return make_error(ErrorKind::permission, "container {} is not connected to network {}",
                      record.id, name);
  const std::string network_id = endpoint->second.NetworkID;
  const bool wired = record.running() && !endpoint->second.EndpointID.empty();
  if (!wired) {
    record.networks.erase(name);
    record.macs.erase(name);
  } else {
    NetworkChange change = TRY(networks.plan_disconnect(record, name));
    ContainerRecord after = change.record;
    TRY(change_networks(job, container, record, std::move(change)));
    record = std::move(after);
  }
  job.on_commit([this, record](graph::Transaction& tx) { return store(tx, record); });
  job.after_commit([this, container, record, wired, network_id,
                    config = network ? network->config : drivers::NetworkConfig{}] {
    container->publish(record);
    if (!wired) return;
    daemon.networks().disconnected(record, network_id);
    daemon.networks().publish_event("disconnect", config, record.id);
  });
  return NetworkDisconnect::Output{};
}

}  // namespace gantry::daemon

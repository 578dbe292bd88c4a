// Who is connected to which network, and by what names.
#include <algorithm>

#include "base/id.h"
#include "base/log.h"
#include "daemon/events.h"
#include "daemon/networks.h"

namespace gantry::daemon {

namespace {

std::optional<drivers::Cidr> address_of(const std::string& text, int prefix) {
  const auto address = drivers::IpAddress::parse(text);
  if (!address) return std::nullopt;  // it has none of that family
  return drivers::Cidr(*address, static_cast<unsigned>(prefix));
}

SharedEndpointNames endpoint_names(const ContainerRecord& record,
                                   const api::EndpointSettings& settings) {
  auto endpoint = std::make_shared<EndpointNames>();
  endpoint->container_id = record.id;
  endpoint->endpoint_id = settings.EndpointID;
  endpoint->names = dns_names(record, settings.Aliases);
  for (const std::string& link : settings.Links) {
    const size_t colon = link.find(':');
    const std::string other = link.substr(0, colon);
    endpoint->links.emplace_back(other,
                                 colon == std::string::npos ? other : link.substr(colon + 1));
  }
  endpoint->mac = settings.MacAddress;
  endpoint->ipv4 = address_of(settings.IPAddress, settings.IPPrefixLen);
  endpoint->ipv6 = address_of(settings.GlobalIPv6Address, settings.GlobalIPv6PrefixLen);
  return endpoint;
}

}  // namespace

std::vector<std::string> dns_names(const ContainerRecord& record, const api::Strings& aliases) {
  std::vector<std::string> names = {record.name};
  const auto add = [&](const std::string& name) {
    if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(name);
  };
  for (const std::string& alias : aliases) add(alias);
  add(short_id(record.id));
  add(record.config.Hostname);
  return names;
}

void Networks::on_names_changed(std::function<void(const std::string&)> changed) {
  names_changed_ = std::move(changed);
}

void Networks::set_endpoint(const std::string& network_id, const std::string& container_id,
                            SharedEndpointNames endpoint) {
  // What its record says, which is read once for all of a network's endpoints.
  auto changed = std::make_shared<NetworkNames>();
  if (const SharedNetworkNames known = names_of(network_id)) {
    changed->id = known->id;
    changed->name = known->name;
    changed->internal = known->internal;
    changed->user_defined = known->user_defined;
  } else if (endpoint) {
    auto record = find(network_id);
    if (!record)
      return log::error("container {}: {}", short_id(container_id), record.error().message());
    changed->id = record->config.id;
    changed->name = record->config.name;
    changed->internal = record->config.internal;
    changed->user_defined = !is_predefined(changed->name);
  } else {
    return;
  }
  {
    std::lock_guard lock(mutex_);
    const auto now = connected_.find(network_id);
    if (now != connected_.end()) changed->endpoints = now->second->endpoints;
    if (endpoint)
      changed->endpoints.insert_or_assign(container_id, std::move(endpoint));
    else if (changed->endpoints.erase(container_id) == 0)
      return;
    if (changed->endpoints.empty())
      connected_.erase(network_id);
    else
      connected_.insert_or_assign(network_id, std::move(changed));
  }
  if (names_changed_) names_changed_(network_id);
}

void Networks::connected(const ContainerRecord& record) {
  for (const auto& [name, settings] : record.networks)
    if (!settings.EndpointID.empty())
      set_endpoint(settings.NetworkID, record.id, endpoint_names(record, settings));
}

void Networks::disconnected(const ContainerRecord& record) {
  for (const SharedNetworkNames& network : networks_of(record.id))
    set_endpoint(network->id, record.id, nullptr);
}

void Networks::disconnected(const ContainerRecord& record, const std::string& network_id) {
  set_endpoint(network_id, record.id, nullptr);
}

void Networks::publish_event(const std::string& action, const drivers::NetworkConfig& network,
                             const std::string& container_id) {
  events_.publish(
      {"network",
       action,
       network.id,
       {{"container", container_id}, {"name", network.name}, {"type", network.driver}}});
}

void Networks::publish_events(const std::string& action, const ContainerRecord& record) {
  for (const auto& [name, settings] : record.networks) {
    if (settings.EndpointID.empty()) continue;
    if (const auto network = find(settings.NetworkID))
      publish_event(action, network->config, record.id);
  }
}

SharedNetworkNames Networks::names_of(const std::string& network_id) const {
  std::lock_guard lock(mutex_);
  const auto network = connected_.find(network_id);
  return network == connected_.end() ? nullptr : network->second;
}

std::vector<SharedNetworkNames> Networks::networks_of(const std::string& container_id) const {
  std::vector<SharedNetworkNames> out;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, network] : connected_)
      if (network->endpoints.contains(container_id)) out.push_back(network);
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a->name < b->name; });
  return out;
}

size_t Networks::endpoints() const {
  std::lock_guard lock(mutex_);
  size_t count = 0;
  for (const auto& [id, network] : connected_) count += network->endpoints.size();
  return count;
}

}  // namespace gantry::daemon

#include "daemon/name_service.h"

#include <net/if.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "daemon/options.h"
#include "drivers/exec/exec_driver.h"

namespace gantry::daemon {

namespace {

namespace dns = drivers::dns;

dns::Host host_of(const EndpointNames& endpoint) {
  dns::Host host;
  host.name = endpoint.container_name();
  host.aliases.assign(endpoint.names.begin() + 1, endpoint.names.end());
  for (const auto& address : {endpoint.ipv4, endpoint.ipv6})
    if (address) host.addresses.push_back(address->address());
  return host;
}

std::map<std::string, std::string> links_of(
    const std::vector<std::pair<std::string, std::string>>& links) {
  std::map<std::string, std::string> out;
  for (const auto& [target, name] : links)
    out.emplace(dns::lower_case(name), dns::lower_case(target));
  return out;
}

std::vector<std::pair<std::string, std::string>> read_links(const api::Strings& links) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const std::string& link : links) {
    const size_t colon = link.find(':');
    const std::string target = link.substr(0, colon);
    out.emplace_back(target, colon == std::string::npos ? target : link.substr(colon + 1));
  }
  return out;
}

// The two that open_sockets() made, as a shim gave them back.
Result<dns::Sockets> recognize(std::vector<UniqueFd> kept) {
  if (kept.size() != 2) return not_found("the shim keeps no sockets");
  for (const auto& [fd, wanted] :
       {std::pair{kept[0].get(), SOCK_DGRAM}, {kept[1].get(), SOCK_STREAM}}) {
    int type = 0;
    socklen_t size = sizeof type;
    if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == -1 || type != wanted)
      return internal("the shim keeps other sockets");
  }
  dns::Sockets sockets;
  sockets.udp = std::move(kept[0]);
  sockets.tcp = std::move(kept[1]);
  return sockets;
}

}  // namespace

drivers::NamedResolvConf resolv_conf_of(const ContainerRecord& record, const Options& options,
                                        Resolver resolver, drivers::Ipv6Servers ipv6) {
  const api::HostConfig& own = record.host_config;
  const auto either = [](const api::Strings& wanted, const std::vector<std::string>& daemons) {
    return std::vector<std::string>(wanted.empty() ? daemons : wanted);
  };
  const drivers::ResolvOverrides overrides{either(own.Dns, options.dns),
                                           either(own.DnsSearch, options.dns_search),
                                           either(own.DnsOptions, options.dns_options)};
  const std::string path =
      resolver == Resolver::host ? "/etc/resolv.conf" : drivers::host_resolv_conf_path();
  std::string text = fs::read_file(path, 1 << 20).value_or("");
  // A container in the host's namespace reaches the host's loopback servers, so it gets the file as
  // it is.
  if (resolver == Resolver::host && overrides.nameservers.empty() && overrides.search.empty() &&
      overrides.options.empty())
    return {std::move(text), {}, false};
  const drivers::ResolvConf host = drivers::parse_resolv_conf(text);
  if (resolver == Resolver::named)
    return drivers::build_named_resolv_conf(host, overrides, ipv6, path, dns::kServerAddress);
  return {drivers::build_resolv_conf(host, overrides, ipv6), {}, false};
}

NameService::NameService(Networks& networks, const Options& options,
                         std::unique_ptr<dns::Server> server)
    : networks_(networks), options_(options), server_(std::move(server)) {}

NameService::~NameService() { networks_.on_names_changed(nullptr); }

Result<std::unique_ptr<NameService>> NameService::create(Networks& networks,
                                                         const Options& options) {
  std::unique_ptr<dns::Server> server = TRY(dns::Server::create());
  std::unique_ptr<NameService> names(new NameService(networks, options, std::move(server)));
  networks.on_names_changed([self = names.get()](const std::string& id) { self->changed(id); });
  return names;
}

NameService::Network& NameService::network_of(const std::string& id, const std::string& name) {
  Network& network = by_network_[id];
  if (!network.zone) network.zone = std::make_shared<dns::Zone>(name);
  return network;
}

void NameService::forget_if_unused(const std::string& network) {
  const auto found = by_network_.find(network);
  if (found != by_network_.end() && !found->second.seen && found->second.starting.empty())
    by_network_.erase(found);
}

NameService::Served NameService::served_of(const ContainerRecord& record) const {
  auto ipv6 = drivers::Ipv6Servers::drop;
  for (const auto& [name, settings] : record.networks)
    if (!settings.GlobalIPv6Address.empty()) ipv6 = drivers::Ipv6Servers::keep;
  // Not out of the container's own file, which the container can write.
  const auto file = resolv_conf_of(record, options_, Resolver::named, ipv6);
  Served served;
  served.ndots_set = file.ndots_set;
  for (const auto& server : file.servers) {
    const size_t percent = server.address.find('%');
    const auto address = drivers::IpAddress::parse(server.address.substr(0, percent));
    if (!address) continue;
    dns::Upstream upstream;
    upstream.address = *address;
    // The user who says --dns 127.0.0.1 means the container's own.
    upstream.inside = !server.of_host && address->is_loopback();
    if (percent != std::string::npos)
      upstream.scope = ::if_nametoindex(server.address.c_str() + percent + 1);
    served.upstreams.push_back(upstream);
  }
  return served;
}

std::shared_ptr<const NameService::View> NameService::view_of(const std::string& container,
                                                              const Served& served) {
  auto view = std::make_shared<View>();
  view->upstreams = served.upstreams;
  view->ndots_set = served.ndots_set;
  view->forward = false;
  for (const SharedNetworkNames& network : networks_.networks_of(container)) {
    view->forward |= !network->internal;
    if (!network->user_defined) continue;
    const SharedEndpointNames& endpoint = network->endpoints.at(container);
    view->networks.push_back(
        {network_of(network->id, network->name).zone, links_of(endpoint->links)});
  }
  return view;
}

void NameService::changed(const std::string& id) {
  std::lock_guard lock(mutex_);
  const SharedNetworkNames now = networks_.names_of(id);
  const auto known = by_network_.find(id);
  if (!now && known == by_network_.end()) return;
  Network& network = now ? network_of(id, now->name) : known->second;
  const SharedNetworkNames before = std::exchange(network.seen, now);
  std::set<std::string> affected;
  static const std::map<std::string, SharedEndpointNames> kNone;
  const auto& old = before ? before->endpoints : kNone;
  const auto& current = now ? now->endpoints : kNone;
  for (const auto& [container, endpoint] : current) {
    const auto was = old.find(container);
    if (was != old.end() && was->second == endpoint) continue;
    network.zone->put(container, host_of(*endpoint));
    network.starting.erase(container);
    affected.insert(container);
  }
  for (const auto& [container, endpoint] : old) {
    if (current.contains(container)) continue;
    if (!network.starting.contains(container)) network.zone->erase(container);
    affected.insert(container);
  }
  for (const std::string& container : affected)
    if (const auto served = served_.find(container); served != served_.end())
      (void)server_->set_view(container, view_of(container, served->second));
  forget_if_unused(id);
}

Status NameService::add(const std::string& container, Served served, dns::Sockets sockets,
                        std::shared_ptr<const View> view) {
  if (begun_)
    TRY(server_->add(container, std::move(sockets), std::move(view)));
  else
    served.waiting = std::move(sockets);
  served_.insert_or_assign(container, std::move(served));
  return {};
}

Result<std::shared_ptr<NameService::Serving>> NameService::serve(const ContainerRecord& record,
                                                                 const SandboxPlan& plan,
                                                                 int netns) {
  bool wanted = false;
  for (const SandboxPlan::Attachment& attachment : plan.attachments)
    wanted |= !is_predefined(attachment.network.name);
  if (plan.mode != SandboxMode::own || !wanted) return std::shared_ptr<Serving>();

  dns::Sockets sockets = TRY(dns::open_sockets(netns));
  auto serving = std::make_shared<Serving>(*this, record.id);
  serving->copies_ = TRY(sockets.duplicate());
  ContainerRecord planned = record;
  planned.networks = plan.settings;
  Served served = served_of(planned);
  auto view = std::make_shared<View>();
  view->upstreams = served.upstreams;
  view->ndots_set = served.ndots_set;
  view->forward = false;

  std::lock_guard lock(mutex_);
  for (const SandboxPlan::Attachment& attachment : plan.attachments) {
    const drivers::NetworkConfig& config = attachment.network;
    view->forward |= !config.internal;
    if (is_predefined(config.name)) continue;
    Network& network = network_of(config.id, config.name);
    const api::EndpointSettings& settings = plan.settings.at(config.name);
    view->networks.push_back({network.zone, links_of(read_links(settings.Links))});
    dns::Host host;
    std::vector<std::string> names = dns_names(record, settings.Aliases);
    host.name = names.front();
    host.aliases.assign(names.begin() + 1, names.end());
    const drivers::Endpoint& endpoint = attachment.plan.endpoint;
    for (const auto& address : {endpoint.ipv4, endpoint.ipv6})
      if (address) host.addresses.push_back(address->address());
    network.zone->put(record.id, std::move(host));
    network.starting.insert(record.id);
  }
  TRY(add(record.id, std::move(served), std::move(sockets), std::move(view)));
  return serving;
}

void NameService::end(const std::string& container) {
  server_->remove(container);
  std::lock_guard lock(mutex_);
  served_.erase(container);
  for (auto network = by_network_.begin(); network != by_network_.end();) {
    const auto next = std::next(network);
    if (network->second.starting.erase(container) != 0) {
      const SharedNetworkNames& seen = network->second.seen;
      if (!seen || !seen->endpoints.contains(container)) network->second.zone->erase(container);
      forget_if_unused(network->first);
    }
    network = next;
  }
}

Result<std::shared_ptr<NameService::Serving>> NameService::serve_running(
    const ContainerRecord& record, drivers::Instance& instance) {
  bool wanted = false;
  for (const auto& [name, settings] : record.networks)
    wanted |= !settings.EndpointID.empty() && !is_predefined(name);
  {
    std::lock_guard lock(mutex_);
    if (!wanted || served_.contains(record.id)) return std::shared_ptr<Serving>();
  }
  dns::Sockets sockets = TRY(dns::open_sockets(instance.netns_fd()));
  // A shim of an earlier version keeps nothing: the next daemon makes new ones.
  log::ignored("names of container " + record.name,
               instance.keep({sockets.udp.get(), sockets.tcp.get()}));
  auto serving = std::make_shared<Serving>(*this, record.id);
  Served served = served_of(record);
  std::lock_guard lock(mutex_);
  auto view = view_of(record.id, served);
  TRY(add(record.id, std::move(served), std::move(sockets), std::move(view)));
  return serving;
}

Status NameService::adopt(const ContainerRecord& record, drivers::Instance& instance) {
  auto sockets = recognize(instance.take_kept());
  if (!sockets) {  // of an older version, or it had none
    auto serving = TRY(serve_running(record, instance));
    if (serving) serving->keep();
    return {};
  }
  Served served = served_of(record);
  std::lock_guard lock(mutex_);
  auto view = view_of(record.id, served);
  return add(record.id, std::move(served), std::move(*sockets), std::move(view));
}

void NameService::begin() {
  std::lock_guard lock(mutex_);
  begun_ = true;
  for (auto& [container, served] : served_) {
    if (!served.waiting.udp) continue;
    Status added = server_->add(container, std::move(served.waiting), view_of(container, served));
    log::ignored("names of container " + short_id(container), added);
  }
}

}  // namespace gantry::daemon

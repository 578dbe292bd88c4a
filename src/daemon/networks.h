// Networks as the daemon knows them: their records in the graph, the queries of front ends, and
// what a container's start and end need. Thread-safe.
//
// The start of a container, in its job:
//
//   SandboxPlan plan = TRY(networks.plan(record));
//   TRY(job.take(plan.rows));                 // together with the job's other intents
//   plan.keep();                              // from here on the rows give everything back
//   … write plan.hosts, plan.hostname, plan.resolv_conf; create the container up to its gate …
//   TRY(networks.join(plan, netns_fd));
//   record.networks = plan.settings; record.ports = plan.ports;   // into the closing transaction
//   job.after_commit([=] { networks.connected(record); });
//
// Its end:  job.release_owned("container:" + id, kNetworkKinds); networks.disconnected(record).
//
// Names. Whoever answers for names (a DNS server) never asks the database: connected() and
// disconnected() keep, for each network that has endpoints, an immutable NetworkNames, replaced
// whole. names_of(network id) gives it, networks_of(container id) those of all networks that one
// container is connected to, and on_names_changed() tells when to look again.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "daemon/container_record.h"
#include "daemon/network_jobs.h"
#include "drivers/network/container_files.h"
#include "drivers/network/network_driver.h"
#include "engine/resource.h"
#include "graph/graph.h"

namespace gantry::engine {
class Engine;
class JobContext;
}  // namespace gantry::engine
namespace gantry::drivers {
class NetworkSystem;
}

namespace gantry::daemon {

class Events;
struct Options;

// The kinds of rows that a container's network consists of; released in reverse order of taking.
inline const std::vector<std::string_view> kNetworkKinds = {"net.port", "net.veth", "net.address"};

// A network as the graph keeps it: node kind network, key the id, name claimed.
struct NetworkRecord {
  drivers::NetworkConfig config;
  int64_t created = 0;  // ns since the epoch
  std::string scope = "local";
  bool attachable = false;
  bool config_only = false;  // a configuration for others, which nothing is connected to
  std::string config_from;   // name of the one that this network has its configuration from
  std::string ipam_driver = "default";
  api::StringMap ipam_options;
};

enum class SandboxMode {
  own,   // a network namespace of its own, with the planned endpoints ("bridge", a name, "none")
  host,  // the host's
  container,  // another container's: SandboxPlan::shared_with
};

struct SandboxPlan {
  SandboxMode mode = SandboxMode::own;
  std::string shared_with;  // container: the id or name given
  std::vector<engine::Resource> rows;
  // What inspect shows, by network name, with addresses.
  std::map<std::string, api::EndpointSettings> settings;
  api::PortMap ports;
  // Contents of /etc/hosts, /etc/hostname, /etc/resolv.conf. Of mode container the other one's are
  // used.
  std::string hosts, hostname, resolv_conf;

  struct Attachment {
    drivers::NetworkConfig network;
    drivers::EndpointPlan plan;
  };
  std::vector<Attachment> attachments;

  void keep() {
    for (Attachment& attachment : attachments) attachment.plan.reservation.keep();
  }
};

// What it takes to connect a running container to one network more, or one less.
struct NetworkChange {
  ContainerRecord record;                             // as it will be stored
  std::optional<SandboxPlan::Attachment> attachment;  // connect: what is to be joined
  std::vector<engine::Resource> taken;                // rows to be written before
  std::vector<engine::Resource> left;                 // rows to be given back afterwards
  // Published ports follow the default route: rows of ports that stay, as they were and as they
  // will be.
  std::vector<engine::Resource> ports_before, ports_after;
};

// A connected endpoint and what it is called.
struct EndpointNames {
  std::string container_id, endpoint_id;
  // The container's name, then its aliases on this network, its short id and its host name: each
  // once, as it was given. They lead to all of the addresses; several endpoints may have the same
  // one.
  std::vector<std::string> names;
  // What only this container calls others: (container as it was written, the name for it).
  std::vector<std::pair<std::string, std::string>> links;
  std::string mac;
  std::optional<drivers::Cidr> ipv4, ipv6;  // with the network's prefix length

  const std::string& container_name() const { return names.front(); }
};
// Of the networks that every daemon has. All others are user-defined: names are served on them.
bool is_predefined(std::string_view network);
// Docker's list of what a container is called on a network.
std::vector<std::string> dns_names(const ContainerRecord& record, const api::Strings& aliases);
using SharedEndpointNames = std::shared_ptr<const EndpointNames>;

// All endpoints of one network.
struct NetworkNames {
  std::string id, name;
  bool internal = false;      // nothing of it may reach the outside, questions for names included
  bool user_defined = false;  // names are served
  std::map<std::string, SharedEndpointNames> endpoints;  // by container id
};
using SharedNetworkNames = std::shared_ptr<const NetworkNames>;

class Networks {
 public:
  // Opens the network system of the instance, registers its resource kinds and the jobs of
  // network_jobs.h, and restores what the rows say. To be called before Engine::reconcile(); then
  // run NetworkRestore.
  static Result<std::unique_ptr<Networks>> open(engine::Engine& engine, Events& events,
                                                const Options& options,
                                                const std::string& instance);
  ~Networks();

  // ---- queries
  // An array of networks; filters: name, id, driver, type, scope, label, dangling.
  Result<json::array> list(const std::map<std::string, api::Strings>& filters) const;
  Result<json::object> inspect(const std::string& network, bool verbose = false) const;
  // By name, id, or a prefix of the id that only one has. not_found: "network NAME not found".
  Result<NetworkRecord> find(const std::string& network) const;

  // ---- for container jobs
  // What is wrong with the networks of a container that is about to be created (unknown ones are
  // refused at start, as Docker does): modes that exclude each other, static addresses on the
  // default network.
  Status validate(const ContainerRecord& record) const;
  // For a container that is made: every network by its name, the one of its mode among them.
  void complete(ContainerRecord& record) const;
  Result<SandboxPlan> plan(const ContainerRecord& record);
  // By a thread of the job. `netns` is borrowed; unused in modes host and container.
  Status join(const SandboxPlan& plan, int netns);

  // ---- for a container that runs, with its lock held; `netns` is borrowed
  Result<NetworkChange> plan_connect(const ContainerRecord& record, const NetworkRecord& network,
                                     const api::EndpointSettings& wanted, int netns);
  Result<NetworkChange> plan_disconnect(const ContainerRecord& record, const std::string& network);
  // Joins what is to be joined, and makes routes and ports those of the changed record.
  Status carry_out(const NetworkChange& change, int netns);
  // Makes routes and ports those of `record` again, after a change that failed: `ports` are
  // NetworkChange::ports_before.
  Status settle(const ContainerRecord& record, const std::vector<engine::Resource>& ports,
                int netns);
  // For a container that is found running: puts the default routes back that a change which was
  // interrupted has left elsewhere, and leaves alone what the container has set itself.
  Status settle_adopted(const ContainerRecord& record, int netns);
  // The container's /etc/hosts and /etc/resolv.conf, of the directory that has them: after a change
  // of its networks from `before` to `after` (the same: what is missing is put back). Written in
  // place, since they are mounted, and only when they differ.
  Status update_files(const std::string& directory, const ContainerRecord& before,
                      const ContainerRecord& after) const;
  static Error config_only(const NetworkRecord& network);  // nothing can be connected to one
  // What is wrong with the settings of an endpoint; Docker's words.
  Status validate_endpoint(const NetworkRecord* network, const std::string& name,
                           const api::EndpointSettings& wanted) const;

  // Who is connected is kept in memory for inspect; at start the daemon calls connected() for each
  // running container.
  void connected(const ContainerRecord& record);
  void disconnected(const ContainerRecord& record);
  void disconnected(const ContainerRecord& record, const std::string& network_id);  // from one
  // "connect" and "disconnect", as Docker tells of them; for all networks of a container that has
  // been started, or has ended.
  void publish_event(const std::string& action, const drivers::NetworkConfig& network,
                     const std::string& container_id);
  void publish_events(const std::string& action, const ContainerRecord& record);
  size_t endpoints() const;

  // ---- names; from any thread, no database and no lock that is held for long
  SharedNetworkNames names_of(const std::string& network_id) const;  // null: nothing is connected
  // The networks that the container is connected to, by name.
  std::vector<SharedNetworkNames> networks_of(const std::string& container_id) const;
  // `changed` is called after every change of who is connected to a network, with the network's id,
  // by a thread of a job: it must not block. To be set once, before the first container.
  void on_names_changed(std::function<void(const std::string& network_id)> changed);

  // For system.rebuild: bridges of networks whose records were lost go.
  Status remove_lost() const;

  // For an orderly end with nothing running: bridges and firewall go. The next start makes them
  // again.
  Status take_down();

 private:
  Networks(engine::Engine& engine, Events& events, const Options& options);
  // With `endpoint` in place of what the container had on the network; null: without one.
  void set_endpoint(const std::string& network_id, const std::string& container_id,
                    SharedEndpointNames endpoint);

  json::object to_json(const NetworkRecord& record, bool with_containers) const;
  Result<std::vector<NetworkRecord>> records() const;
  Result<NetworkCreate::Output> create(engine::JobContext& job, NetworkCreate::Input input);
  Result<NetworkRemove::Output> remove(engine::JobContext& job, const NetworkRemove::Input& input);
  Result<NetworkPrune::Output> prune(engine::JobContext& job, const NetworkPrune::Input& input);
  Result<NetworkRestore::Output> restore(engine::JobContext& job);
  Status store(engine::JobContext& job, NetworkRecord record);
  // With the configuration of the network that it names.
  Result<NetworkRecord> configured(NetworkRecord record, const NetworkCreate::Input& input) const;
  static Status remember(graph::Graph& graph, graph::Transaction& tx, const NetworkRecord& record);
  Status make_good(engine::JobContext& job, const NetworkRecord& record);
  // A container's endpoint as it is wanted, or as it is.
  struct Wanted {
    std::string name;
    NetworkRecord network;
    api::EndpointSettings settings;
  };
  // Which of them carry the default routes; null where none can.
  struct Gateways {
    const Wanted* v4 = nullptr;
    const Wanted* v6 = nullptr;
    const Wanted* ports() const { return v4 != nullptr ? v4 : v6; }
  };
  Result<Gateways> choose_gateways(const std::vector<Wanted>& endpoints) const;
  Result<std::vector<Wanted>> endpoints_of(const ContainerRecord& record) const;
  struct PlannedEndpoint {
    SandboxPlan::Attachment attachment;
    api::EndpointSettings shown;
  };
  Result<PlannedEndpoint> plan_endpoint(const ContainerRecord& record, const Wanted& wanted,
                                        const Gateways& gateways,
                                        std::vector<drivers::PortRequest> ports,
                                        const std::vector<std::string>& taken_names);
  Result<Wanted> wanted(const std::string& name, const api::EndpointSettings& settings) const;
  Status move_ports(const std::optional<drivers::Cidr>& ipv4,
                    const std::optional<drivers::Cidr>& ipv6, NetworkChange& change) const;
  Status set_routes(const ContainerRecord& record, int netns, bool only_lost);
  // What the files say that tell a container who and where it is.
  struct Files {
    drivers::HostsFile hosts;
    std::string hosts_text, hostname, resolv_conf;
  };
  Files files_of(const ContainerRecord& record, SandboxMode mode) const;

  engine::Engine& engine_;
  Events& events_;
  const Options& options_;
  std::unique_ptr<drivers::NetworkSystem> system_;

  std::function<void(const std::string&)> names_changed_;
  mutable std::mutex mutex_;
  std::map<std::string, SharedNetworkNames> connected_;  // by network id; none that is empty
};

}  // namespace gantry::daemon

namespace gantry::json {
template <>
struct Schema<daemon::NetworkRecord> {
  using T = daemon::NetworkRecord;
  static constexpr Field fields[] = {field<&T::config>("config"),
                                     field<&T::created>("created"),
                                     field<&T::scope>("scope"),
                                     field<&T::attachable>("attachable", kOmitEmpty),
                                     field<&T::config_only>("config_only", kOmitEmpty),
                                     field<&T::config_from>("config_from", kOmitEmpty),
                                     field<&T::ipam_driver>("ipam_driver"),
                                     field<&T::ipam_options>("ipam_options", kOmitEmpty)};
};
}  // namespace gantry::json

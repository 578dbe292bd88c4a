// Names inside containers: gives each container on a user-defined network its DNS server (sockets
// in its network namespace) and keeps what that server knows in step with who is connected where.
//
// A container's start, in its job:
//
//   auto serving = TRY(names.serve(record, plan, netns));   // after join; null: it needs no server
//   TRY(instance->start(serving.sockets()));                // the shim keeps copies
//   job.after_commit([=] { serving->keep(); });             // else it ends with the last reference
//
// Its end: names.end(id). A container that was running when the daemon came up: names.adopt(), and
// when all of them are known again, names.begin(): from then on queries are answered.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "daemon/container_record.h"
#include "daemon/networks.h"
#include "drivers/network/container_files.h"
#include "drivers/network/dns/server.h"

namespace gantry::drivers {
class Instance;
}

namespace gantry::daemon {

struct Options;

// /etc/resolv.conf of a container, and whom its DNS server asks, if it has one.
enum class Resolver { host, direct, named };  // the host's file; other servers; a server of its own
drivers::NamedResolvConf resolv_conf_of(const ContainerRecord& record, const Options& options,
                                        Resolver resolver, drivers::Ipv6Servers ipv6);

// Thread-safe.
class NameService {
 public:
  // `networks` must outlive it.
  static Result<std::unique_ptr<NameService>> create(Networks& networks, const Options& options);
  ~NameService();

  // For the daemon's one reactor: run() is to be called when descriptor() is readable, on its
  // thread.
  int descriptor() const { return server_->descriptor(); }
  void run() { server_->run(); }

  // A container that is served until this is destroyed, unless it is kept.
  class Serving {
   public:
    Serving(NameService& names, std::string container)
        : names_(names), container_(std::move(container)) {}
    Serving(const Serving&) = delete;
    ~Serving() {
      if (!kept_) names_.end(container_);
    }
    void keep() {
      kept_ = true;
      copies_ = {};
    }
    // For the shim; borrowed, until keep().
    std::vector<int> sockets() const { return {copies_.udp.get(), copies_.tcp.get()}; }

   private:
    friend class NameService;
    NameService& names_;
    std::string container_;
    drivers::dns::Sockets copies_;
    bool kept_ = false;
  };
  // Null when no network of the plan has names. From here on the container's own names are known,
  // before its program runs.
  Result<std::shared_ptr<Serving>> serve(const ContainerRecord& record, const SandboxPlan& plan,
                                         int netns);
  // For a running container that is being connected to a network, with its record as it will be:
  // null when it has its server, or needs none. The network's names are known from
  // Networks::connected() on.
  Result<std::shared_ptr<Serving>> serve_running(const ContainerRecord& record,
                                                 drivers::Instance& instance);
  void end(const std::string& container);

  Status adopt(const ContainerRecord& record, drivers::Instance& instance);
  void begin();

  drivers::dns::Server::Counts counts() const { return server_->counts(); }

 private:
  using View = drivers::dns::View;
  struct Network {
    std::shared_ptr<drivers::dns::Zone> zone;
    SharedNetworkNames seen;
    std::set<std::string> starting;  // containers that are not in `seen` yet
  };
  struct Served {
    std::vector<drivers::dns::Upstream> upstreams;
    bool ndots_set = false;
    drivers::dns::Sockets waiting;  // until begin()
  };

  NameService(Networks& networks, const Options& options,
              std::unique_ptr<drivers::dns::Server> server);
  void changed(const std::string& network);
  Network& network_of(const std::string& id, const std::string& name);
  void forget_if_unused(const std::string& network);
  std::shared_ptr<const View> view_of(const std::string& container, const Served& served);
  Served served_of(const ContainerRecord& record) const;
  Status add(const std::string& container, Served served, drivers::dns::Sockets sockets,
             std::shared_ptr<const View> view);

  Networks& networks_;
  const Options& options_;
  std::unique_ptr<drivers::dns::Server> server_;
  mutable std::mutex mutex_;
  bool begun_ = false;
  std::map<std::string, Network> by_network_;
  std::map<std::string, Served> served_;
};

}  // namespace gantry::daemon

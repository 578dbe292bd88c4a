// The composition root of gantryd: opens the state, builds the drivers, registers the job handlers
// and brings back what was running. Front ends (the server) use the accessors; everything that
// changes state goes through engine().
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "daemon/options.h"

namespace gantry::engine {
class Engine;
}
namespace gantry::graph {
class Graph;
class Database;
class ContentStore;
}  // namespace gantry::graph
namespace gantry::drivers {
class GraphDriver;
class NetworkDriver;
class ExecDriver;
}  // namespace gantry::drivers

namespace gantry::daemon {

class Containers;
class Events;
class Images;
class Maintenance;
class NameService;
class Networks;
class Transfers;
class Trust;
class Volumes;

class Daemon {
 public:
  // Opens or makes the state below options.data_root and options.exec_root. A second daemon on the
  // same root is a `conflict`. Short: what is long is start()'s.
  static Result<std::unique_ptr<Daemon>> open(Options options);
  ~Daemon();

  const Options& options() const { return options_; }
  // Names this instance: 12 hexadecimal digits made with the data root. Part of every name that it
  // gives to something in the kernel, so that several daemons keep out of each other's way.
  const std::string& instance() const { return instance_; }

  engine::Engine& engine();
  graph::Graph& graph();
  drivers::GraphDriver& graph_driver();
  drivers::ExecDriver& exec_driver();
  Containers& containers() { return *containers_; }
  Images& images() { return *images_; }
  Transfers& transfers() { return *transfers_; }
  Trust& trust() { return *trust_; }
  Networks& networks() { return *networks_; }
  NameService& names() { return *names_; }
  Volumes& volumes() { return *volumes_; }
  Events& events() { return *events_; }

  // Goes on in the background when the listeners are up: adopts the containers that still run and
  // loads the archives of images_dirs (now it is ready()), then reconciles with the kernel and
  // starts what restart policies say.
  void start();
  // Until it is ready, nothing may be asked of it but its options, engine and events.
  bool ready() const { return phase_ != Phase::starting; }
  bool reconciled() const { return phase_ == Phase::reconciled; }
  // Calls `fn` once it is ready, on the thread that finds it so; at once when it is.
  void on_ready(std::function<void()> fn);
  // Stops accepting jobs, waits for those that run, leaves containers running under their shims.
  void shut_down();

 private:
  Daemon();
  void adopt_and_reconcile();
  void become_ready();
  struct State;  // declared last to first in the order of destruction

  Options options_;
  std::string instance_;
  bool recovered_ = false;  // the database was made again, and nobody has had that repaired yet
  enum class Phase { starting, ready, reconciled };
  std::atomic<Phase> phase_{Phase::starting};
  std::unique_ptr<State> state_;
  std::unique_ptr<Events> events_;
  std::unique_ptr<Images> images_;
  std::unique_ptr<Transfers> transfers_;
  std::unique_ptr<Trust> trust_;
  std::unique_ptr<Networks> networks_;
  std::unique_ptr<NameService> names_;
  std::unique_ptr<Volumes> volumes_;
  std::unique_ptr<Containers> containers_;
  std::unique_ptr<Maintenance> maintenance_;
};

}  // namespace gantry::daemon

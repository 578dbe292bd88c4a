// The composition root of gantryd: opens the state, builds the drivers, registers the job handlers
// and brings back what was running. Front ends (the server) use the accessors; everything that
// changes state goes through engine().
#pragma once

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
class Networks;
class Volumes;

class Daemon {
 public:
  // Opens or makes the state below options.data_root and options.exec_root. A second daemon on the
  // same root is a `conflict`. Containers that still run are adopted before this returns.
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
  Networks& networks() { return *networks_; }
  Volumes& volumes() { return *volumes_; }
  Events& events() { return *events_; }

  // After the listeners are up: reconciles with the kernel, loads the archives of images_dirs,
  // starts what restart policies say. Runs in the background.
  void resume();
  // Stops accepting jobs, waits for those that run, leaves containers running under their shims.
  void shut_down();

 private:
  Daemon();
  struct State;  // declared last to first in the order of destruction

  Options options_;
  std::string instance_;
  std::unique_ptr<State> state_;
  std::unique_ptr<Events> events_;
  std::unique_ptr<Images> images_;
  std::unique_ptr<Networks> networks_;
  std::unique_ptr<Volumes> volumes_;
  std::unique_ptr<Containers> containers_;
};

}  // namespace gantry::daemon

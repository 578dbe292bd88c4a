// [::1] of the host: the one address from which the kernel does not translate (a packet from ::1 is
// never routed to another interface), so what is published there, or on every IPv6 address, is
// relayed. One thread and one epoll for all of them. It is in the way of no other client.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"
#include "drivers/network/network_types.h"

namespace gantry::drivers {

// Thread-safe.
class LoopbackRelay {
 public:
  static Result<std::unique_ptr<LoopbackRelay>> start();
  ~LoopbackRelay();  // and with it every connection

  // Whether a port that is published like this is to be relayed: TCP and UDP, of IPv6.
  static bool relays(const PortMapping& mapping);
  // Takes what comes to `holder`, a socket that holds the port (HostPorts::share), to another
  // address from now on. A port that is served already leads there for what begins from then on.
  Status serve(Protocol protocol, uint16_t port, const IpAddress& to, uint16_t to_port,
               UniqueFd holder);
  // Ends its connections, too. Not served: nothing.
  void stop(Protocol protocol, uint16_t port);
  size_t connections() const;

 private:
  struct State;
  explicit LoopbackRelay(std::unique_ptr<State> state);
  void run();

  const std::unique_ptr<State> state_;
  UniqueFd stop_;
  std::thread thread_;
};

}  // namespace gantry::drivers

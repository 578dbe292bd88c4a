// The DNS server of all containers: answers what their networks know, asks others for the rest.
//
//   auto server = TRY(dns::Server::create());
//   reactor.watch(server->descriptor(), [&] { server->run(); });   // the I/O thread
//   TRY(server->add(container, std::move(sockets), view));         // any thread
//
// It has no thread: descriptor() is readable when there is something to do, and run() does it
// without blocking, a bounded amount at a time. Every query that is forwarded has a socket of its
// own (a source port that the kernel draws), a random id, and a deadline; an answer counts only
// when it comes from the server that was asked, with that id and that question. Sources: RFC 1035,
// 5452, 6891, 7766.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/result.h"
#include "drivers/network/dns/sockets.h"
#include "drivers/network/dns/zone.h"

namespace gantry::drivers::dns {

struct ServerOptions {
  size_t queries_of_one = 256;  // forwarded at a time for one container; more are SERVFAIL
  size_t queries = 4096;        // for all of them
  size_t connections_of_one = 64;
  // Of one server for one query, so that several fit into the five seconds that clients wait.
  std::chrono::milliseconds attempt{2000};
  std::chrono::milliseconds all_attempts{4500};
  std::chrono::milliseconds idle{10000};     // a connection without a question
  std::chrono::milliseconds suspect{30000};  // a server that did not answer is asked last
};

class Server {
 public:
  static Result<std::unique_ptr<Server>> create(ServerOptions options = {});
  ~Server();
  Server(const Server&) = delete;

  int descriptor() const;
  // On one thread at a time.
  void run();

  // Serves `key` (a container) on these sockets; what it had before is given up. From any thread,
  // like the following.
  Status add(const std::string& key, Sockets sockets, std::shared_ptr<const View> view);
  // false: `key` is not served.
  bool set_view(const std::string& key, std::shared_ptr<const View> view);
  // Closes its sockets and drops its queries.
  void remove(const std::string& key);

  struct Counts {
    size_t served = 0, connections = 0, queries = 0;
  };
  Counts counts() const;

  struct Impl;  // private to dns/

 private:
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gantry::drivers::dns

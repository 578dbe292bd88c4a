// The firewall table of one daemon instance: `inet gantry-INSTANCE`. Its chains and rules are fixed
// in number; a bridge is an element of a few sets, a published port an element of an exact-match
// map, so that the packet path and the cost of a change are the same at any count.
//
//   prerouting, output  (nat)     destination of published ports: (address, protocol, port), then,
//   for the
//                                 host's own addresses, (protocol, port)
//   postrouting         (nat)     masquerade what leaves a bridge; hairpin and loopback clients too
//                                 (not what leaves one whose addresses are routed)
//   forward             (filter)  translated packets in; within a bridge; out of bridges that are
//   not
//                                 internal; everything else into a bridge is dropped
//   guard               (filter)  prerouting, before connection tracking: nothing from a bridge
//   reaches, or
//                                 claims to come from, 127.0.0.0/8 (route_localnet is on there)
//
// The table is `owner persist` where the kernel has it (Linux 6.9): nobody else can change or flush
// it while the daemon lives, it stays when the daemon dies, and the next daemon takes it over.
// Elsewhere it is an ordinary table, and is put back when someone flushes it. What stands in it is
// also kept here, so that it can be written anew, whole, in one transaction.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "drivers/network/network_types.h"
#include "drivers/network/nft.h"

namespace gantry::drivers {

// A published port as the kernel is told it.
struct PortRule {
  Protocol protocol = Protocol::tcp;
  IpAddress host_ip;  // unspecified: every address of the host, of this family
  uint16_t host_port = 0;
  IpAddress to;
  uint16_t to_port = 0;
  std::string comment;  // whose: a short container id
  // Nothing is translated: what is sent to `to` itself is let through (`host_ip` and `host_port`
  // are the same).
  bool routed = false;

  using Key = std::tuple<Protocol, IpAddress, uint16_t>;
  Key key() const { return {protocol, host_ip, host_port}; }
};

struct BridgeRules {
  std::string link;
  bool masquerade = true;
  bool internal = false;
  bool icc = true;            // containers of the bridge may talk to each other
  std::vector<Cidr> subnets;  // whose sources are clients of the bridge itself
  // The outside reaches its addresses by routes: of that family nothing is masqueraded, and echo
  // requests pass.
  bool routed4 = false, routed6 = false;
};

// Thread-safe: one mutex around the socket that owns the table and the picture of what stands in
// it.
class Firewall {
 public:
  enum class Ownership { owned, plain };

  // Opens the sockets and finds out about an earlier table; changes nothing yet. unsupported when
  // the kernel has no nf_tables.
  static Result<std::unique_ptr<Firewall>> open(const std::string& instance_id);
  ~Firewall();

  static std::string table_name(const std::string& instance_id) { return "gantry-" + instance_id; }

  // Writes the whole table, with these bridges and ports, in one transaction, in place of whatever
  // stood there under its name; conflict when another living process owns it.
  Status install(std::vector<BridgeRules> bridges, std::vector<PortRule> ports);
  // What install() would be given, remembered only: the first add_bridge() or publish() writes all
  // of it.
  void remember(std::vector<BridgeRules> bridges, std::vector<PortRule> ports);
  bool installed() const;
  Ownership ownership() const { return ownership_; }
  // Deletes the table. Not there: success.
  Status remove();

  Status add_bridge(const BridgeRules& bridge);
  Status remove_bridge(const std::string& link);
  // One transaction for all of them. A port that is published already leads to the new address from
  // then on, with no moment between in which it leads nowhere.
  Status publish(const std::vector<PortRule>& ports);
  Status unpublish(const std::vector<PortRule>& ports);
  // Asks the kernel.
  Result<bool> has_port(const PortRule& port);
  Result<bool> has_table();

 private:
  explicit Firewall(std::string instance_id) : table_(table_name(instance_id)) {}
  Status write_all();  // mutex_ held
  Status install_with(uint32_t flags);

  const std::string table_;
  mutable std::mutex mutex_;
  std::optional<NetlinkSocket> socket_;
  Ownership ownership_ = Ownership::plain;
  bool installed_ = false;
  std::map<std::string, BridgeRules> bridges_;
  std::map<PortRule::Key, PortRule> ports_;

  // For a table that others can flush: listens for its deletion.
  UniqueFd watch_stop_;
  std::thread watcher_;
};

}  // namespace gantry::drivers

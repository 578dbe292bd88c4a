// The names of one network, and what one container may ask.
//
// A *zone* holds the names of the endpoints that are connected to a network. A *view* is what a
// container sees: the zones of its own networks, its links, and where other names are asked for.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "drivers/network/dns/message.h"
#include "drivers/network/ip_address.h"

namespace gantry::drivers::dns {

// What a connected endpoint is called.
struct Host {
  std::string name;                  // the container's: what an address is resolved to
  std::vector<std::string> aliases;  // further names: aliases, the short id
  std::vector<IpAddress> addresses;
};

// Thread-safe. Names are compared without case. A name that several hosts have stands for all their
// addresses.
class Zone {
 public:
  explicit Zone(std::string network) : network_(lower_case(network)) {}

  // `key` names the endpoint; what it had before is replaced, at once.
  void put(const std::string& key, Host host);
  void erase(const std::string& key);

  // Lower-case names. false: there is no such name; true without addresses: of the other family
  // only.
  bool find(std::string_view name, IpFamily family, std::vector<IpAddress>& out) const;
  bool has(std::string_view name) const;
  // "web.network", or "".
  std::string name_of(const IpAddress& address) const;
  const std::string& network() const { return network_; }
  size_t size() const;

 private:
  struct Named {
    std::string key;
    IpAddress address;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  void forget(const std::string& key);

  const std::string network_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Host> hosts_;  // by key
  std::unordered_map<std::string, std::vector<Named>, Hash, std::equal_to<>> names_;
  std::map<IpAddress, std::vector<Named>> addresses_;  // Named::address is not used
};

// A server that is asked for what no zone has.
struct Upstream {
  IpAddress address;
  uint16_t port = 53;
  uint32_t scope = 0;   // interface index, of a link-local address
  bool inside = false;  // is asked from the container's own network namespace
  friend auto operator<=>(const Upstream&, const Upstream&) = default;
};

// Not changed once it is given to a server: a new one takes its place.
struct View {
  struct Membership {
    std::shared_ptr<const Zone> zone;
    std::map<std::string, std::string> links;  // --link: names of this container alone, to the
                                               // target's name; lower case
  };
  std::vector<Membership> networks;  // in the order in which they are asked
  std::vector<Upstream> upstreams;
  bool forward = true;     // false: every network is internal, nothing goes upstream
  bool ndots_set = false;  // by the user: names without a dot are not asked for upstream
};

// The answer to a query out of the view, or nothing: it is to be forwarded (which View::forward may
// forbid). `random` chooses which of several addresses comes first.
std::optional<std::string> resolve(const View& view, std::string_view query, const Message& message,
                                   size_t limit, uint64_t random);

}  // namespace gantry::drivers::dns

// What the administrator's own firewall lets in, as values: read from its files (ufw.h), applied to
// published ports by our table (firewall.h), and told of each port.
//
// A packet for a published port never meets the host's input rules, since it is translated before.
// With a policy it is treated as if it had: the first rule that it matches decides, and otherwise
// the policy does.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "drivers/network/network_types.h"

namespace gantry::drivers {

enum class PolicyAction : uint8_t { allow, drop, reject };
std::string_view to_string(PolicyAction action);

struct PortRange {
  uint16_t first = 0, last = 0;  // both included
  bool contains(uint16_t port) const { return first <= port && port <= last; }
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

struct PolicyRule {
  PolicyAction action = PolicyAction::allow;
  std::optional<Protocol> protocol;         // unset: any
  std::vector<PortRange> ports;             // of the host; empty: every
  std::vector<PortRange> source_ports;      // empty: every
  std::optional<Cidr> source, destination;  // unset: any
  std::string interface;                    // that it comes in by; "": any
  std::string text;                         // as its administrator would say it
  friend bool operator==(const PolicyRule&, const PolicyRule&) = default;
};

struct HostPolicy {
  std::string firewall;                    // "ufw"
  std::vector<PolicyRule> rules4, rules6;  // of each family, in order
  PolicyAction otherwise = PolicyAction::drop;
  const std::vector<PolicyRule>& rules(IpFamily family) const {
    return family == IpFamily::v4 ? rules4 : rules6;
  }
  friend bool operator==(const HostPolicy&, const HostPolicy&) = default;
};

// Whether somebody outside of the host reaches a published port.
struct PortState {
  enum class State : uint8_t { allowed, blocked, unknown };
  State state = State::allowed;
  std::string by;                 // what says so; "": nothing stands against it
  std::vector<std::string> from;  // allowed for these alone ("10.0.0.0/8", "eth0"); empty: for all
};
std::string_view to_string(PortState::State state);

PortState evaluate(const HostPolicy& policy, const PortMapping& port);

}  // namespace gantry::drivers

#include "drivers/network/host_policy.h"

#include <algorithm>

namespace gantry::drivers {

namespace {

// Whether packets to the port can match; where they come from is another question.
bool concerns(const PolicyRule& rule, const PortMapping& port) {
  if (rule.protocol && *rule.protocol != port.protocol) return false;
  if (!rule.ports.empty() &&
      std::none_of(rule.ports.begin(), rule.ports.end(),
                   [&](const PortRange& range) { return range.contains(port.host_port); }))
    return false;
  // A port on every address may be asked for on the one that is meant.
  return !rule.destination || port.host_ip.is_unspecified() ||
         rule.destination->contains(port.host_ip);
}

std::string who(const PolicyRule& rule) {
  std::string out = rule.source ? rule.source->to_string() : "";
  if (!rule.interface.empty()) out += (out.empty() ? "" : " on ") + rule.interface;
  return out;
}

}  // namespace

std::string_view to_string(PolicyAction action) {
  switch (action) {
    case PolicyAction::allow:
      return "allow";
    case PolicyAction::drop:
      return "deny";
    case PolicyAction::reject:
      return "reject";
  }
  return "deny";
}

std::string_view to_string(PortState::State state) {
  switch (state) {
    case PortState::State::allowed:
      return "allowed";
    case PortState::State::blocked:
      return "blocked";
    case PortState::State::unknown:
      return "unknown";
  }
  return "unknown";
}

PortState evaluate(const HostPolicy& policy, const PortMapping& port) {
  if (port.host_ip.is_loopback()) return {};  // the host's own, which no firewall is asked about
  PortState out;
  for (const PolicyRule& rule : policy.rules(port.host_ip.family())) {
    if (!concerns(rule, port)) continue;
    const bool allows = rule.action == PolicyAction::allow;
    // Only for some: they are let in here, or come no further.
    const bool some = rule.source || !rule.interface.empty() || !rule.source_ports.empty() ||
                      (rule.destination && port.host_ip.is_unspecified());
    if (some) {
      if (!allows) continue;
      std::string whom = who(rule);
      if (whom.empty() && rule.destination) whom = "to " + rule.destination->to_string();
      if (whom.empty()) whom = "some source ports";
      out.from.push_back(std::move(whom));
      if (out.by.empty()) out.by = policy.firewall + ": " + rule.text;
      continue;
    }
    if (allows) return {PortState::State::allowed, policy.firewall + ": " + rule.text, {}};
    if (!out.from.empty()) return out;
    return {PortState::State::blocked, policy.firewall + ": " + rule.text, {}};
  }
  if (policy.otherwise == PolicyAction::allow)
    return {PortState::State::allowed, policy.firewall + ": default allow", {}};
  if (!out.from.empty()) return out;
  return {PortState::State::blocked,
          fmt::format("{}: default {}", policy.firewall, to_string(policy.otherwise)),
          {}};
}

}  // namespace gantry::drivers

#include "drivers/network/dns/zone.h"

#include <algorithm>

namespace gantry::drivers::dns {

namespace {

constexpr uint32_t kTtl = 600;  // Docker's

// Calls `visit` for each zone of the view in which `name`, or a part of it before the network's
// name, may be found, until it returns true.
template <typename Visit>
bool each_candidate(const View& view, std::string_view name, Visit&& visit) {
  for (const View::Membership& network : view.networks)
    if (visit(network, name)) return true;
  // "a.b.c" is "a.b" of the network "c", and then "a" of the network "b.c".
  for (size_t dot = name.rfind('.'); dot != std::string_view::npos && dot > 0;
       dot = name.rfind('.', dot - 1))
    for (const View::Membership& network : view.networks)
      if (network.zone->network() == name.substr(dot + 1) && visit(network, name.substr(0, dot)))
        return true;
  return false;
}

// A link's name stands for its target in the network in which it was made.
std::string_view target_of(const View::Membership& network, const std::string& name) {
  const auto link = network.links.find(name);
  return link == network.links.end() ? std::string_view(name) : std::string_view(link->second);
}

struct Found {
  bool known = false;
  std::vector<IpAddress> addresses;
};

Found find(const View& view, const std::string& name, IpFamily family) {
  Found found;
  for (const View::Membership& network : view.networks) {  // before what others are called
    const auto link = network.links.find(name);
    if (link == network.links.end()) continue;
    found.known |= network.zone->find(target_of(network, name), family, found.addresses);
    if (!found.addresses.empty()) return found;
  }
  if (found.known) return found;
  each_candidate(view, name, [&](const View::Membership& network, std::string_view wanted) {
    found.known |= network.zone->find(wanted, family, found.addresses);
    return !found.addresses.empty();
  });
  return found;
}

bool known(const View& view, const std::string& name) {
  for (const View::Membership& network : view.networks)
    if (network.links.contains(name) && network.zone->has(target_of(network, name))) return true;
  return each_candidate(view, name, [](const View::Membership& network, std::string_view wanted) {
    return network.zone->has(wanted);
  });
}

std::string pointer_target(const View& view, const std::string& name) {
  const auto address = address_of_pointer_name(name);
  if (!address) return {};
  for (const View::Membership& network : view.networks)
    if (std::string found = network.zone->name_of(*address); !found.empty()) return found;
  return {};
}

}  // namespace

void Zone::put(const std::string& key, Host host) {
  std::lock_guard lock(mutex_);
  forget(key);
  const auto add = [&](const std::string& name) {
    std::vector<Named>& entries = names_[lower_case(name)];
    for (const IpAddress& address : host.addresses) {
      const bool twice = std::any_of(entries.begin(), entries.end(), [&](const Named& other) {
        return other.key == key && other.address == address;
      });
      if (!twice) entries.push_back({key, address});
    }
  };
  if (host.addresses.empty()) return;
  add(host.name);
  for (const std::string& alias : host.aliases) add(alias);
  for (const IpAddress& address : host.addresses) addresses_[address].push_back({key, address});
  hosts_.insert_or_assign(key, std::move(host));
}

void Zone::erase(const std::string& key) {
  std::lock_guard lock(mutex_);
  forget(key);
}

void Zone::forget(const std::string& key) {
  const auto host = hosts_.find(key);
  if (host == hosts_.end()) return;
  const auto is_its = [&](const Named& entry) { return entry.key == key; };
  const auto remove = [&](const std::string& name) {
    const auto entries = names_.find(lower_case(name));
    if (entries == names_.end()) return;
    std::erase_if(entries->second, is_its);
    if (entries->second.empty()) names_.erase(entries);
  };
  remove(host->second.name);
  for (const std::string& alias : host->second.aliases) remove(alias);
  for (const IpAddress& address : host->second.addresses) {
    const auto entries = addresses_.find(address);
    if (entries == addresses_.end()) continue;
    std::erase_if(entries->second, is_its);
    if (entries->second.empty()) addresses_.erase(entries);
  }
  hosts_.erase(host);
}

bool Zone::find(std::string_view name, IpFamily family, std::vector<IpAddress>& out) const {
  std::lock_guard lock(mutex_);
  const auto entries = names_.find(name);
  if (entries == names_.end()) return false;
  for (const Named& entry : entries->second)
    if (entry.address.family() == family) out.push_back(entry.address);
  return true;
}

bool Zone::has(std::string_view name) const {
  std::lock_guard lock(mutex_);
  return names_.contains(name);
}

std::string Zone::name_of(const IpAddress& address) const {
  std::lock_guard lock(mutex_);
  const auto entries = addresses_.find(address);
  if (entries == addresses_.end()) return {};
  const auto host = hosts_.find(entries->second.back().key);
  return host == hosts_.end() ? std::string() : host->second.name + "." + network_;
}

size_t Zone::size() const {
  std::lock_guard lock(mutex_);
  return hosts_.size();
}

std::optional<std::string> resolve(const View& view, std::string_view query, const Message& message,
                                   size_t limit, uint64_t random) {
  if (message.klass != kClassIn && message.klass != kClassAny) return std::nullopt;
  const auto respond = [&](const std::vector<Answer>& answers) {
    return make_response(query, message, Rcode::no_error, answers, kTtl, limit);
  };
  if (message.type == type::kPtr) {
    const std::string target = pointer_target(view, message.name);
    const auto wire = target.empty() ? std::nullopt : write_name(target);
    if (wire) return respond({{type::kPtr, *wire}});
    return std::nullopt;
  }
  if (message.type != type::kA && message.type != type::kAaaa) {
    // The name is ours: what it has no record of is not to be asked of others.
    if (known(view, message.name)) return respond({});
    return std::nullopt;
  }
  const IpFamily family = message.type == type::kA ? IpFamily::v4 : IpFamily::v6;
  Found found = find(view, message.name, family);
  if (!found.known) {
    // The client goes on with its search domains, as Docker has it.
    if (view.forward && view.ndots_set && message.name.find('.') == std::string::npos)
      return respond({});
    return std::nullopt;
  }
  if (found.addresses.size() > 1)
    std::rotate(found.addresses.begin(),
                found.addresses.begin() + static_cast<long>(random % found.addresses.size()),
                found.addresses.end());
  std::vector<Answer> answers;
  answers.reserve(found.addresses.size());
  for (const IpAddress& address : found.addresses) answers.push_back(address_answer(address));
  return respond(answers);
}

}  // namespace gantry::drivers::dns

#include "drivers/network/ipam.h"

#include <algorithm>

namespace gantry::drivers {

namespace {

IpAddress plus(const IpAddress& address, Uint128 n) {
  return IpAddress::from_number(address.family(), address.number() + n);
}

// First and last address that hosts may have: IPv4 keeps the network's and the broadcast address
// (not of /31 and /32, RFC 3021), IPv6 the subnet-router anycast address (RFC 4291 2.6.1).
struct Span {
  IpAddress first;
  IpAddress last;
};
Span usable(const IpamPool& pool) {
  Span span{pool.subnet.first(), pool.subnet.last()};
  const bool tiny = pool.subnet.bits() - pool.subnet.prefix() < 2;
  if (!tiny) {
    span.first = plus(span.first, 1);
    if (span.last.is_v4()) span.last = IpAddress::from_number(IpFamily::v4, span.last.number() - 1);
  }
  if (pool.range) {
    span.first = std::max(span.first, pool.range->first());
    span.last = std::min(span.last, pool.range->last());
  }
  return span;
}

bool reserved(const IpamPool& pool, const IpAddress& address) {
  if (pool.gateway == address) return true;
  return std::any_of(pool.auxiliary.begin(), pool.auxiliary.end(),
                     [&](const auto& entry) { return entry.second == address; });
}

}  // namespace

std::vector<AddressPool> default_address_pools() {
  std::vector<AddressPool> pools;
  for (uint32_t second = 17; second < 32; ++second)
    pools.push_back({Cidr(IpAddress::v4(172u << 24 | second << 16), 16), 16});
  pools.push_back({Cidr(IpAddress::v4(192u << 24 | 168u << 16), 16), 20});
  return pools;
}

Result<Cidr> Ipam::choose_subnet(std::span<const AddressPool> pools, IpFamily family,
                                 std::span<const Cidr> in_use, const std::string& network_id) {
  std::lock_guard lock(mutex_);
  for (const AddressPool& pool : pools) {
    if (pool.base.family() != family) continue;
    const Uint128 step = Uint128{1} << (pool.base.bits() - pool.size);
    for (Cidr piece(pool.base.first(), pool.size); pool.base.contains(piece);) {
      const auto overlaps = [&](const Cidr& other) { return other.overlaps(piece); };
      const bool taken = std::any_of(in_use.begin(), in_use.end(), overlaps) ||
                         std::any_of(subnets_.begin(), subnets_.end(),
                                     [&](const auto& entry) { return overlaps(entry.first); });
      if (!taken) {
        subnets_.emplace(piece, network_id);
        return piece;
      }
      if (piece.last() == pool.base.last()) break;
      piece = Cidr(plus(piece.first(), step), pool.size);
    }
  }
  return make_error(ErrorKind::unavailable,
                    "all predefined address pools have been fully subnetted");
}

Status Ipam::reserve_subnet(const Cidr& subnet, const std::string& network_id) {
  std::lock_guard lock(mutex_);
  for (const auto& [other, owner] : subnets_)
    if (owner != network_id && other.overlaps(subnet))
      return conflict("invalid pool request: Pool overlaps with other one on this address space");
  subnets_.emplace(subnet.network(), network_id);
  return {};
}

void Ipam::release_network(const std::string& network_id) {
  std::lock_guard lock(mutex_);
  std::erase_if(subnets_, [&](const auto& entry) { return entry.second == network_id; });
  networks_.erase(network_id);
}

void Ipam::give_up_network(const std::string& network_id) {
  if (taken(network_id) == 0) release_network(network_id);
}

Result<IpAddress> Ipam::allocate(const NetworkConfig& network, IpFamily family,
                                 const std::optional<IpAddress>& wanted) {
  const IpamPool* pool = nullptr;
  for (const IpamPool& candidate : network.pools) {
    if (candidate.subnet.family() != family) continue;
    if (wanted && !candidate.subnet.contains(*wanted)) continue;
    pool = &candidate;
    break;
  }
  if (pool == nullptr && wanted)
    return invalid("invalid address {}: It does not belong to any of this network's subnets",
                   wanted->to_string());
  if (pool == nullptr) return invalid("network {} has no subnet of that family", network.name);

  std::lock_guard lock(mutex_);
  Network& state = networks_[network.id];
  if (wanted) {
    const bool edge = *wanted == pool->subnet.first() ||
                      (family == IpFamily::v4 && *wanted == pool->subnet.last());
    if (edge && pool->subnet.bits() - pool->subnet.prefix() >= 2)
      return invalid("invalid address {}: it is the network's or the broadcast address of {}",
                     wanted->to_string(), pool->subnet.to_string());
    if (reserved(*pool, *wanted) || !state.taken.insert(*wanted).second)
      return conflict("Address already in use: {}", wanted->to_string());
    return *wanted;
  }

  const Span span = usable(*pool);
  const auto free_from = [&](IpAddress from, const IpAddress& to) -> std::optional<IpAddress> {
    for (; from <= to; from = plus(from, 1)) {
      if (!reserved(*pool, from) && state.taken.insert(from).second) return from;
      if (from == to) break;
    }
    return std::nullopt;
  };
  std::optional<IpAddress> found;
  const auto last = state.last.find(family);
  const bool resume =
      last != state.last.end() && span.first <= last->second && last->second < span.last;
  if (resume) found = free_from(plus(last->second, 1), span.last);
  if (!found) found = free_from(span.first, resume ? last->second : span.last);
  if (!found)
    return make_error(ErrorKind::unavailable,
                      "no available {} addresses on this network's address pools: {} ({})",
                      family == IpFamily::v4 ? "IPv4" : "IPv6", network.name, network.id);
  state.last.insert_or_assign(family, *found);
  return *found;
}

void Ipam::restore(const std::string& network_id, const IpAddress& address) {
  std::lock_guard lock(mutex_);
  Network& state = networks_[network_id];
  state.taken.insert(address);
  auto [last, added] = state.last.emplace(address.family(), address);
  if (!added && last->second < address) last->second = address;
}

void Ipam::release(const std::string& network_id, const IpAddress& address) {
  std::lock_guard lock(mutex_);
  const auto network = networks_.find(network_id);
  if (network != networks_.end()) network->second.taken.erase(address);
}

bool Ipam::is_taken(const std::string& network_id, const IpAddress& address) const {
  std::lock_guard lock(mutex_);
  const auto network = networks_.find(network_id);
  return network != networks_.end() && network->second.taken.contains(address);
}

size_t Ipam::taken(const std::string& network_id) const {
  std::lock_guard lock(mutex_);
  const auto network = networks_.find(network_id);
  return network == networks_.end() ? 0 : network->second.taken.size();
}

Result<IpamPool> complete_pool(IpamPool pool) {
  if (pool.subnet.address() != pool.subnet.first())
    return invalid("invalid subnet {}: it should be {}", pool.subnet.to_string(),
                   pool.subnet.network().to_string());
  if (pool.range && !pool.subnet.contains(*pool.range))
    return invalid("invalid ip-range {}: it is not part of subnet {}", pool.range->to_string(),
                   pool.subnet.to_string());
  if (pool.gateway && !pool.subnet.contains(*pool.gateway))
    return invalid("invalid gateway address {}: not in subnet {}", pool.gateway->to_string(),
                   pool.subnet.to_string());
  for (const auto& [name, address] : pool.auxiliary)
    if (!pool.subnet.contains(address))
      return invalid("invalid auxiliary address {}={}: not in subnet {}", name, address.to_string(),
                     pool.subnet.to_string());
  if (!pool.gateway) {
    IpAddress gateway = usable(pool).first;
    while (reserved(pool, gateway) && gateway < usable(pool).last) gateway = plus(gateway, 1);
    pool.gateway = gateway;
  }
  return pool;
}

}  // namespace gantry::drivers

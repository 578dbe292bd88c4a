#include "server/network_options.h"

#include <charconv>

namespace gantry::server {

namespace {

using daemon::NetworkDefaults;
using drivers::Cidr;
using drivers::IpAddress;
using drivers::IpFamily;

constexpr unsigned kSmallestMtu = 68;  // RFC 791

const char* name_of(IpFamily family) { return family == IpFamily::v4 ? "IPv4" : "IPv6"; }

template <typename Number>
bool read_number(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

Result<Cidr> read_cidr(std::string_view value, IpFamily family) {
  const Cidr cidr = TRY(Cidr::parse(value));
  if (cidr.family() != family) return invalid("an {} subnet is expected", name_of(family));
  return cidr;
}

Result<IpAddress> read_address(std::string_view value, IpFamily family) {
  const IpAddress address = TRY(IpAddress::parse(value));
  if (address.family() != family) return invalid("an {} address is expected", name_of(family));
  return address;
}

// An address of the bridge with its subnet.
Result<Cidr> read_bip(std::string_view value, IpFamily family) {
  const Cidr bip = TRY(read_cidr(value, family));
  const bool v4 = family == IpFamily::v4;
  const bool tiny = bip.bits() - bip.prefix() < 2;
  if (!tiny && (bip.address() == bip.first() || (v4 && bip.address() == bip.last())))
    return invalid(
        "it is no address that the bridge could have: give one inside of the subnet, like {}",
        Cidr(IpAddress::from_number(family, bip.first().number() + 1), bip.prefix()).to_string());
  return bip;
}

Status check_family(const char* suffix, const std::optional<Cidr>& bip,
                    const std::optional<Cidr>& part, const std::optional<IpAddress>& gateway) {
  if (bip && part && !bip->network().contains(*part))
    return invalid("fixed-cidr{} {} is not a part of the bridge's subnet {} (bip{})", suffix,
                   part->to_string(), bip->network().to_string(), *suffix == 0 ? "" : "6");
  if (!gateway) return {};
  if (!bip && !part)
    return invalid("default-gateway{} {} needs bip{} or fixed-cidr{}, which say the subnet", suffix,
                   gateway->to_string(), *suffix == 0 ? "" : "6", suffix);
  const Cidr subnet = bip ? bip->network() : part->network();
  if (!subnet.contains(*gateway))
    return invalid("default-gateway{} {} is not in the bridge's subnet {}", suffix,
                   gateway->to_string(), subnet.to_string());
  return {};
}

}  // namespace

Status set_bip(NetworkDefaults& network, std::string_view value) {
  network.bridge.bip = TRY(read_bip(value, IpFamily::v4));
  return {};
}
Status set_bip6(NetworkDefaults& network, std::string_view value) {
  network.bridge.bip6 = TRY(read_bip(value, IpFamily::v6));
  return {};
}
Status set_fixed_cidr(NetworkDefaults& network, std::string_view value) {
  network.bridge.fixed_cidr = TRY(read_cidr(value, IpFamily::v4)).network();
  return {};
}
Status set_fixed_cidr6(NetworkDefaults& network, std::string_view value) {
  network.bridge.fixed_cidr6 = TRY(read_cidr(value, IpFamily::v6)).network();
  return {};
}
Status set_default_gateway(NetworkDefaults& network, std::string_view value) {
  network.bridge.gateway4 = TRY(read_address(value, IpFamily::v4));
  return {};
}
Status set_default_gateway6(NetworkDefaults& network, std::string_view value) {
  network.bridge.gateway6 = TRY(read_address(value, IpFamily::v6));
  return {};
}
Status set_host_ip(NetworkDefaults& network, std::string_view value) {
  network.bridge.host_ip = TRY(IpAddress::parse(value));
  return {};
}
Status set_mtu(NetworkDefaults& network, std::string_view value) {
  unsigned mtu = 0;
  if (!read_number(value, mtu) || (mtu != 0 && mtu < kSmallestMtu) || mtu > 65535)
    return invalid("expected {} to 65535", kSmallestMtu);
  network.bridge.mtu = mtu == 0 ? drivers::DefaultBridge().mtu : mtu;  // 0: dockerd's own default
  return {};
}

Status add_address_pool(NetworkDefaults& network, std::string_view value) {
  std::optional<Cidr> base;
  std::optional<unsigned> size;
  for (std::string_view rest = value; !rest.empty();) {
    const std::string_view field = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(field.size() + 1, rest.size()));
    const size_t equals = field.find('=');
    if (equals == std::string_view::npos)
      return invalid("invalid field '{}': it must be a key=value pair", field);
    const std::string_view key = field.substr(0, equals), text = field.substr(equals + 1);
    if (key == "base") {
      base = TRY(Cidr::parse(text).context("invalid base pool"));
    } else if (key == "size") {
      unsigned number = 0;
      if (!read_number(text, number)) return invalid("invalid size value: \"{}\"", text);
      size = number;
    } else {
      return invalid("unexpected key '{}' in '{}'", key, field);
    }
  }
  if (!base || !size) return invalid("expected base=SUBNET,size=PREFIX-LENGTH");
  if (*size < base->prefix() || *size > base->bits())
    return invalid("networks of size /{} cannot be cut from {}: a size of {} to {} is expected",
                   *size, base->to_string(), base->prefix(), base->bits());
  network.address_pools.push_back({base->network(), *size});
  return {};
}

Status add_network_option(NetworkDefaults& network, std::string_view value) {
  const size_t first = value.find('=');
  const size_t second = first == std::string_view::npos ? first : value.find('=', first + 1);
  if (first == 0 || second == std::string_view::npos || second == first + 1)
    return invalid("expected DRIVER=OPTION=VALUE");
  network.options[std::string(value.substr(0, first))]
                 [std::string(value.substr(first + 1, second - first - 1))] =
      value.substr(second + 1);
  return {};
}

Status check_ip(std::string_view value) {
  if (!IpAddress::parse(value)) return invalid("{} is not an ip address", value);
  return {};
}

Result<std::vector<std::string>> address_pool_values(const json::value& value) {
  if (!value.is_array()) return json::type_error("an array", value);
  std::vector<std::string> out;
  for (const json::value& item : value.get_array()) {
    if (!item.is_object()) return json::type_error("an object with base and size", item);
    std::string text;
    for (const auto& member : item.get_object()) {
      const json::value& field = member.value();
      if (!text.empty()) text += ',';
      text += std::string(member.key()) + '=';
      if (field.is_int64())
        text += std::to_string(field.get_int64());
      else if (field.is_string())
        text += field.get_string().c_str();
      else
        return json::type_error("a string or an integer", field);
    }
    out.push_back(std::move(text));
  }
  return out;
}

Result<std::vector<std::string>> network_option_values(const json::value& value) {
  if (!value.is_object()) return json::type_error("an object", value);
  std::vector<std::string> out;
  for (const auto& driver : value.get_object()) {
    if (!driver.value().is_object()) return json::type_error("an object", driver.value());
    for (const auto& option : driver.value().get_object()) {
      if (!option.value().is_string()) return json::type_error("a string", option.value());
      out.push_back(std::string(driver.key()) + '=' + std::string(option.key()) + '=' +
                    option.value().get_string().c_str());
    }
  }
  return out;
}

Status check_network_options(const NetworkDefaults& network) {
  const drivers::DefaultBridge& bridge = network.bridge;
  TRY(check_family("", bridge.bip, bridge.fixed_cidr, bridge.gateway4));
  if (!bridge.ipv6 && (bridge.bip6 || bridge.fixed_cidr6 || bridge.gateway6))
    return invalid("bip6, fixed-cidr-v6 and default-gateway-v6 need ipv6, which is not on");
  return check_family("-v6", bridge.bip6, bridge.fixed_cidr6, bridge.gateway6);
}

}  // namespace gantry::server

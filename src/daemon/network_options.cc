#include "daemon/network_options.h"

#include <algorithm>
#include <charconv>

#include "drivers/network/ip_address.h"

namespace gantry::daemon {

Result<std::pair<std::string, unsigned>> parse_address_pool(std::string_view text) {
  std::string base;
  unsigned size = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view field = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(field.size() + 1, rest.size()));
    const size_t equals = std::min(field.find('='), field.size());
    const std::string_view name = field.substr(0, equals);
    const std::string_view value = equals < field.size() ? field.substr(equals + 1) : "";
    if (name == "base") {
      base = value;
      continue;
    }
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), size);
    if (name != "size" || error != std::errc() || end != value.data() + value.size())
      return invalid("expected base=CIDR,size=PREFIX");
  }
  const drivers::Cidr cidr =
      TRY(drivers::Cidr::parse(base).context("invalid base pool \"{}\"", base));
  if (size < cidr.prefix() || size > cidr.bits() - 2)
    return invalid("invalid size {} of the subnets of {}: {} to {} is expected", size, base,
                   cidr.prefix(), cidr.bits() - 2);
  return std::pair(cidr.network().to_string(), size);
}

Status check_address(std::string_view text) {
  TRY(drivers::IpAddress::parse(text));
  return {};
}

Status check_subnet(std::string_view text) {
  TRY(drivers::Cidr::parse(text));
  return {};
}

}  // namespace gantry::daemon

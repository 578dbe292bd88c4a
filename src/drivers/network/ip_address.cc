#include "drivers/network/ip_address.h"

#include <arpa/inet.h>

#include <charconv>

#include <fmt/core.h>

namespace gantry::drivers {

Result<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string terminated(text);
  uint8_t raw[16];
  if (terminated.size() == text.size() && terminated.find('\0') == std::string::npos) {
    if (inet_pton(AF_INET, terminated.c_str(), raw) == 1) return from_bytes(IpFamily::v4, raw);
    if (inet_pton(AF_INET6, terminated.c_str(), raw) == 1) return from_bytes(IpFamily::v6, raw);
  }
  return invalid("invalid IP address: {}", text);
}

IpAddress IpAddress::from_bytes(IpFamily family, const void* network_order) {
  const auto* raw = static_cast<const uint8_t*>(network_order);
  Uint128 number = 0;
  for (size_t i = 0; i < (family == IpFamily::v4 ? 4u : 16u); ++i) number = number << 8 | raw[i];
  return {family, number};
}

std::array<uint8_t, 16> IpAddress::bytes() const {
  std::array<uint8_t, 16> out{};
  Uint128 rest = number_;
  for (size_t i = size(); i-- > 0; rest >>= 8) out[i] = static_cast<uint8_t>(rest);
  return out;
}

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN];
  const auto raw = bytes();
  return inet_ntop(is_v4() ? AF_INET : AF_INET6, raw.data(), text, sizeof text);
}

bool IpAddress::is_loopback() const { return is_v4() ? (number_ >> 24) == 127 : number_ == 1; }

bool IpAddress::is_multicast() const {
  return is_v4() ? (number_ >> 28) == 0xe : (number_ >> 120) == 0xff;
}

Result<Cidr> Cidr::parse(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return invalid("invalid CIDR address: {}", text);
  auto address = IpAddress::parse(text.substr(0, slash));
  const std::string_view digits = text.substr(slash + 1);
  unsigned prefix = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
  if (!address || error != std::errc() || end != digits.data() + digits.size() ||
      prefix > (address->is_v4() ? 32u : 128u))
    return invalid("invalid CIDR address: {}", text);
  return Cidr(*address, prefix);
}

namespace {
// The host part's bits, all ones.
Uint128 host_mask(unsigned bits, unsigned prefix) {
  const unsigned host_bits = bits - prefix;
  return host_bits >= 128 ? ~Uint128{0} : (Uint128{1} << host_bits) - 1;
}
}  // namespace

IpAddress Cidr::first() const {
  return IpAddress::from_number(family(), address_.number() & ~host_mask(bits(), prefix_));
}
IpAddress Cidr::last() const {
  return IpAddress::from_number(family(), address_.number() | host_mask(bits(), prefix_));
}
bool Cidr::contains(const IpAddress& address) const {
  return address.family() == family() && first() <= address && address <= last();
}
bool Cidr::contains(const Cidr& inner) const {
  return inner.prefix() >= prefix_ && contains(inner.address());
}
bool Cidr::overlaps(const Cidr& other) const {
  return family() == other.family() && first() <= other.last() && other.first() <= last();
}
std::string Cidr::to_string() const { return fmt::format("{}/{}", address_.to_string(), prefix_); }

Result<MacAddress> parse_mac(std::string_view text) {
  MacAddress mac{};
  bool good = text.size() == 17;
  for (size_t i = 0; good && i < 6; ++i) {
    const char* at = text.data() + 3 * i;
    const auto [end, error] = std::from_chars(at, at + 2, mac[i], 16);
    good = error == std::errc() && end == at + 2 && (i == 5 || at[2] == ':' || at[2] == '-');
  }
  if (!good) return invalid("invalid MAC address: {}", text);
  return mac;
}

std::string format_mac(const MacAddress& mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3],
                     mac[4], mac[5]);
}

MacAddress mac_from_ipv4(const IpAddress& address) {
  const auto raw = address.bytes();
  return {0x02, 0x42, raw[0], raw[1], raw[2], raw[3]};
}

}  // namespace gantry::drivers

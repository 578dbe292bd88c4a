// IPv4 and IPv6 addresses and subnets as values, with the arithmetic that address management needs.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace gantry::drivers {

using Uint128 = unsigned __int128;

enum class IpFamily : uint8_t { v4, v6 };

// An address of one family. In JSON it is a string; the empty string is not an address, so optional
// fields are std::optional<IpAddress>.
class IpAddress {
 public:
  IpAddress() = default;  // 0.0.0.0
  // "192.0.2.1" or "2001:db8::1"; no zone, no prefix, no port. Kind invalid otherwise.
  static Result<IpAddress> parse(std::string_view text);
  static IpAddress v4(uint32_t host_order) { return {IpFamily::v4, host_order}; }
  static IpAddress from_number(IpFamily family, Uint128 number) { return {family, number}; }
  static IpAddress from_bytes(IpFamily family, const void* network_order);

  IpFamily family() const { return family_; }
  bool is_v4() const { return family_ == IpFamily::v4; }
  bool is_v6() const { return family_ == IpFamily::v6; }
  Uint128 number() const { return number_; }
  size_t size() const { return is_v4() ? 4 : 16; }  // bytes on the wire
  // Network byte order; the first size() bytes count.
  std::array<uint8_t, 16> bytes() const;
  std::string to_string() const;

  bool is_unspecified() const { return number_ == 0; }  // 0.0.0.0 or ::
  bool is_loopback() const;                             // 127.0.0.0/8 or ::1
  bool is_multicast() const;

  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  IpAddress(IpFamily family, Uint128 number) : family_(family), number_(number) {}
  IpFamily family_ = IpFamily::v4;
  Uint128 number_ = 0;
};

// A subnet, or an interface address with its prefix length (host bits are kept as given).
class Cidr {
 public:
  Cidr() = default;
  Cidr(IpAddress address, unsigned prefix) : address_(address), prefix_(prefix) {}
  // "172.17.0.0/16"; the prefix is required and must fit the family.
  static Result<Cidr> parse(std::string_view text);

  const IpAddress& address() const { return address_; }
  unsigned prefix() const { return prefix_; }
  IpFamily family() const { return address_.family(); }
  unsigned bits() const { return address_.is_v4() ? 32 : 128; }
  IpAddress first() const;  // network address
  IpAddress last() const;   // broadcast address of IPv4
  Cidr network() const { return {first(), prefix_}; }
  bool contains(const IpAddress& address) const;
  bool contains(const Cidr& inner) const;
  bool overlaps(const Cidr& other) const;
  std::string to_string() const;

  friend auto operator<=>(const Cidr&, const Cidr&) = default;

 private:
  IpAddress address_;
  unsigned prefix_ = 0;
};

// "02:42:ac:11:00:02" <-> six bytes.
using MacAddress = std::array<uint8_t, 6>;
Result<MacAddress> parse_mac(std::string_view text);
std::string format_mac(const MacAddress& mac);
// Docker's: 02:42 and the four bytes of an IPv4 address, so that an address that is given out again
// keeps the neighbours' ARP entries right.
MacAddress mac_from_ipv4(const IpAddress& address);

}  // namespace gantry::drivers

namespace gantry::json {
template <>
struct CodecOf<drivers::IpAddress> {
  static Status decode(void* out, const value& in) {
    std::string text;
    TRY(decode_string(text, in));
    if (in.is_null()) return {};
    *static_cast<drivers::IpAddress*>(out) = TRY(drivers::IpAddress::parse(text));
    return {};
  }
  static value encode(const void* in) {
    return value(boost::json::string(static_cast<const drivers::IpAddress*>(in)->to_string()));
  }
  static bool empty(const void*) { return false; }
};
template <>
struct CodecOf<drivers::Cidr> {
  static Status decode(void* out, const value& in) {
    std::string text;
    TRY(decode_string(text, in));
    if (in.is_null()) return {};
    *static_cast<drivers::Cidr*>(out) = TRY(drivers::Cidr::parse(text));
    return {};
  }
  static value encode(const void* in) {
    return value(boost::json::string(static_cast<const drivers::Cidr*>(in)->to_string()));
  }
  static bool empty(const void*) { return false; }
};
}  // namespace gantry::json

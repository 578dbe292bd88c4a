#include <arpa/inet.h>

#include <charconv>

#include "client/options/specs.h"

namespace gantry::client {
namespace {

struct Range {
  unsigned first = 0;
  unsigned last = 0;
};

Result<Range> parse_range(std::string_view text) {
  auto number = [](std::string_view digits) -> Result<unsigned> {
    unsigned value = 0;
    auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (digits.empty() || end != digits.data() + digits.size())
      return invalid("strconv.ParseUint: parsing \"{}\": invalid syntax", digits);
    if (failure != std::errc() || value > 65535)
      return invalid("strconv.ParseUint: parsing \"{}\": value out of range", digits);
    return value;
  };
  if (text.empty()) return invalid("empty string specified for ports");
  size_t dash = text.find('-');
  Range range;
  range.first = TRY(number(text.substr(0, dash)));
  range.last = range.first;
  if (dash != text.npos) range.last = TRY(number(text.substr(dash + 1)));
  if (range.last < range.first) return invalid("invalid range specified for port: {}", text);
  return range;
}

bool is_address(const std::string& text) {
  unsigned char bytes[16];
  return ::inet_pton(AF_INET, text.c_str(), bytes) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), bytes) == 1;
}

Result<std::string> take_protocol(std::string_view& spec) {
  size_t slash = spec.rfind('/');
  std::string protocol = "tcp";
  if (slash != spec.npos) {
    protocol.clear();
    for (char c : spec.substr(slash + 1))
      protocol += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    spec = spec.substr(0, slash);
  }
  if (protocol != "tcp" && protocol != "udp" && protocol != "sctp")
    return invalid("invalid proto: {}", protocol);
  return protocol;
}

}  // namespace

Result<std::vector<PortMapping>> parse_port(std::string_view whole) {
  std::string_view spec = whole;
  const std::string protocol = TRY(take_protocol(spec));
  // From the right: container, host port, and what is left is an address, which may have colons
  // itself.
  size_t colon = spec.rfind(':');
  std::string_view container = colon == spec.npos ? spec : spec.substr(colon + 1);
  std::string_view rest = colon == spec.npos ? "" : spec.substr(0, colon);
  std::string_view host = rest;
  std::string ip;
  if (size_t before = rest.rfind(':'); before != rest.npos && !rest.ends_with(']')) {
    host = rest.substr(before + 1);
    ip = rest.substr(0, before);
    if (ip.starts_with('[') && ip.ends_with(']')) ip = ip.substr(1, ip.size() - 2);
    if (!ip.empty() && !is_address(ip)) return invalid("invalid IP address: {}", ip);
  }
  if (container.empty()) return invalid("no port specified: {}<empty>", whole);
  auto inner = parse_range(container);
  if (!inner) return invalid("invalid containerPort: {}", container);
  Range outer;
  if (!host.empty()) {
    auto parsed = parse_range(host);
    if (!parsed) return invalid("invalid hostPort: {}", host);
    outer = *parsed;
  }
  const unsigned inner_size = inner->last - inner->first, outer_size = outer.last - outer.first;
  if (!host.empty() && outer_size != inner_size && inner_size != 0)
    return invalid("invalid ranges specified for container and host Ports: {} and {}", container,
                   host);
  std::vector<PortMapping> out;
  for (unsigned i = 0; i <= inner_size; ++i) {
    PortMapping mapping{fmt::format("{}/{}", inner->first + i, protocol), ip, ""};
    if (!host.empty())  // one port out of a range of the host's: the daemon chooses
      mapping.host_port =
          outer_size != inner_size ? std::string(host) : fmt::format("{}", outer.first + i);
    out.push_back(std::move(mapping));
  }
  return out;
}

Result<std::vector<std::string>> parse_expose(std::string_view whole) {
  std::string_view spec = whole;
  if (spec.find(':') != spec.npos) return invalid("invalid port format for --expose: {}", whole);
  const std::string protocol = TRY(take_protocol(spec));
  auto range = parse_range(spec);
  if (!range)
    return invalid("invalid range format for --expose: {}, error: {}", spec,
                   range.error().message());
  std::vector<std::string> out;
  for (unsigned port = range->first; port <= range->last; ++port)
    out.push_back(fmt::format("{}/{}", port, protocol));
  return out;
}

}  // namespace gantry::client

// Packets made by hand, for tests.
#pragma once

#include <string>

#include "drivers/network/dns/message.h"

namespace gantry::drivers::dns::testing {

inline std::string be16(unsigned value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}

inline std::string opt_record(unsigned size) {
  return std::string(1, '\0') + be16(type::kOpt) + be16(size) + std::string(6, '\0');
}

struct QueryOptions {
  uint16_t id = 1;
  unsigned edns_size = 0;  // 0: no EDNS
  bool response = false;
};
inline std::string query(std::string_view name, uint16_t type, QueryOptions options = {}) {
  std::string out = be16(options.id) + be16(options.response ? 0x8180 : 0x0100) + be16(1) +
                    be16(0) + be16(0) + be16(options.edns_size != 0 ? 1 : 0);
  out += *write_name(name) + be16(type) + be16(kClassIn);
  if (options.edns_size != 0) out += opt_record(options.edns_size);
  return out;
}

// `owner` is a name's wire form.
inline std::string record(const std::string& owner, uint16_t type, const std::string& data,
                          unsigned ttl = 60) {
  return owner + be16(type) + be16(kClassIn) + be16(ttl >> 16) + be16(ttl & 0xffff) +
         be16(static_cast<unsigned>(data.size())) + data;
}

}  // namespace gantry::drivers::dns::testing

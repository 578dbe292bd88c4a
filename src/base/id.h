// Random identifiers.
#pragma once

#include <string>

namespace gantry {

// `bytes` random bytes of getrandom(2), as 2*bytes lower-case hexadecimal digits. Never fails.
std::string random_hex(size_t bytes);

// A container, network or exec id: 64 hexadecimal digits, as Docker's. Ids whose first 12 digits
// are all decimal are drawn again, since a short id must not be taken for a number.
std::string new_id();

// The part of an id that people see.
inline std::string short_id(const std::string& id) { return id.substr(0, 12); }

}  // namespace gantry

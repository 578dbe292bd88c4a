#include "base/id.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>

namespace gantry {

std::string random_hex(size_t bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string raw(bytes, '\0');
  size_t have = 0;
  while (have < bytes) {
    // Up to 256 bytes are never interrupted once the pool is ready (getrandom(2)).
    ssize_t got = ::getrandom(raw.data() + have, std::min<size_t>(bytes - have, 256), 0);
    if (got > 0) have += static_cast<size_t>(got);
  }
  std::string out;
  out.reserve(bytes * 2);
  for (unsigned char byte : raw) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

std::string new_id() {
  for (;;) {
    std::string id = random_hex(32);
    if (!std::all_of(id.begin(), id.begin() + 12, [](char c) { return c >= '0' && c <= '9'; }))
      return id;
  }
}

}  // namespace gantry

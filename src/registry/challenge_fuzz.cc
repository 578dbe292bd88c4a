// WWW-Authenticate, as a registry may send it: whatever comes, the reading ends and is bounded.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "registry/auth.h"
#include "registry/errors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& challenge : gantry::registry::parse_challenges(text))
    if (challenge.scheme.empty()) abort();
  gantry::http::Headers headers{{"Retry-After", std::string(text.substr(0, 64))}};
  (void)gantry::registry::error_from(429, text, headers);
  (void)gantry::registry::AuthConfig::decode(text);
  return 0;
}

// Any bytes as a policy file: no crash, and one that is taken never has an empty list, which would
// allow everything.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "trust/policy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto policy = gantry::trust::Policy::parse(text);
  if (!policy) return 0;
  if (policy->fallback().empty()) std::abort();
  for (const auto& [transport, scopes] : policy->transports())
    for (const auto& [scope, requirements] : scopes) {
      if (requirements.empty()) std::abort();
      for (const auto& one : requirements)
        if (one.signature() && one.key_paths.empty() && one.key_data.empty()) std::abort();
    }
  return 0;
}

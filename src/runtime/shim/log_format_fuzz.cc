// Log files are read back whatever a crash or a container's root has made of them.
#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/shim/log_format.h"

using namespace gantry::shim;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)parse_local_entry(text);
  (void)parse_json_entry(text);
  // What is escaped is JSON, and says the same when it was UTF-8.
  std::string out(6 * size + 1, '\0');
  size_t used = static_cast<size_t>(escape_json(out.data(), text) - out.data());
  if (used > 6 * size) __builtin_trap();
  std::string line = "{\"log\":\"" + out.substr(0, used) + "\",\"time\":\"2024-01-02T03:04:05Z\"}";
  if (!parse_json_entry(line)) __builtin_trap();
  return 0;
}

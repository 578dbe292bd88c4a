// config.json: whatever the bytes are, an answer; what was read can be written.
#include "libcontainer/spec.h"
#include "libcontainer/validate.h"

using namespace gantry::libcontainer;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gantry::Result<Spec> spec = parse_spec({reinterpret_cast<const char*>(data), size});
  if (!spec) return 0;
  (void)check_spec(*spec, RootNeeded::yes).has_value();
  (void)gantry::json::dump(*spec);
  return 0;
}

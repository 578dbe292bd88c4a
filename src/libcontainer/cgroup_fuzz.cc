// Resources and mount tables: no value that the translators give may break out of its file.
#include <cstdlib>

#include "libcontainer/cgroup.h"

using namespace gantry::libcontainer;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)parse_hierarchies(text, [](const Hierarchy&) { return true; });
  auto resources = gantry::json::parse<Resources>(text);
  if (!resources) return 0;
  for (auto translate : {translate_v1, translate_v2}) {
    auto writes = translate(*resources);
    if (!writes) continue;
    for (const CgroupWrite& one : *writes)
      if (one.file.find('/') != std::string::npos) std::abort();
  }
  (void)translate_devices_v1(resources->devices).has_value();
  return 0;
}

// Any bytes as a tar archive: no crash, no endless loop, bounded memory.
#include <cstddef>
#include <cstdint>

#include "base/tar.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gantry;
  MemorySource source({reinterpret_cast<const char*>(data), size});
  tar::Reader reader(source);
  for (;;) {
    Result<std::optional<tar::Entry>> entry = reader.next();
    if (!entry || !*entry) break;
    (void)tar::clean_path((*entry)->path);
  }
  Status finished = reader.finish();
  (void)finished;
  return 0;
}

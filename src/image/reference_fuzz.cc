// Any text as a reference: what is accepted must mean the same when written out and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "image/reference.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using gantry::image::Reference;
  auto reference = Reference::parse({reinterpret_cast<const char*>(data), size});
  if (!reference) return 0;
  auto again = Reference::parse(reference->text());
  auto familiar = Reference::parse(reference->familiar());
  if (!again || *again != *reference || !familiar || *familiar != *reference) std::abort();
  return 0;
}

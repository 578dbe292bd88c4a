// Any bytes as a manifest and as a configuration: no crash, and a manifest is never two things at
// once.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "image/config.h"
#include "image/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto manifest = gantry::image::Manifest::parse(text);
  if (manifest && manifest->is_index() && (manifest->config || manifest->layers)) std::abort();
  auto config = gantry::image::ImageConfig::parse(text);
  if (config && !gantry::image::chain_ids(config->rootfs.diff_ids)) std::abort();
  return 0;
}

// Any text as a manifest: what is accepted is one kind of thing only.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "image/manifest.h"
#include "registry_server/manifest_view.h"

using namespace gantry::registry_server;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto view = ManifestView::parse(text);
  if (!view) return 0;
  auto manifest = gantry::image::Manifest::parse(text);
  if (!manifest || manifest->is_index() != view->index || !is_manifest_type(view->media_type))
    std::abort();
  if (!ManifestView::parse(text, view->media_type)) std::abort();
  return 0;
}

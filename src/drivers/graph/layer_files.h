// The two steps of apply() for the drivers that keep a layer as files: unpacked without looking
// below, then settled over what turned out to be below.
#pragma once

#include <string>
#include <vector>

#include "base/byte_source.h"
#include "drivers/graph/layer_directories.h"

namespace gantry::drivers {

// Unpacks into a fresh layer directory. Beside diff/ it leaves the record of the archive
// ("archive"), the list of the parents that the archive left out ("parents") and "ingested.json".
Result<IngestedLayer> ingest_files(const LayerDirectories& directories,
                                   const std::string& directory, ByteSource& archive);

struct SettledFiles {
  LayerDirectories::Fresh layer;
  uint64_t size = 0;
};
// Gives parents that the archive left out the attributes that they have in `lower` (roots of the
// layers below, topmost first), and hides what an opaque root hides. Whiteouts of nothing go: in a
// directory that no other layer has, overlayfs would list them. A layer that goes through a
// symbolic link of a layer below is unpacked once more, now that the link is known.
Result<SettledFiles> settle_files(const LayerDirectories& directories, const std::string& directory,
                                  std::vector<int> lower);

}  // namespace gantry::drivers

// What a container changed, found by walking by descriptor.
#pragma once

#include <vector>

#include "base/byte_source.h"
#include "drivers/graph/graph_driver.h"

namespace gantry::drivers {

// `upper` in overlay form over the layers `lower` (topmost first).
Status diff_overlay(int upper, const std::vector<int>& lower, const ChangeVisitor& visit);
// Two whole trees; entries of `ignored` (a tree of the engine's own) that are new in `now` do not
// count.
Status diff_trees(int before, int now, int ignored, const ChangeVisitor& visit);

// Bytes of regular files that a container added or changed (SizeRw).
Result<uint64_t> diff_size(GraphDriver& driver, const std::string& id);
// The changes as a layer archive, whiteouts included: what commit makes an image of.
Status write_diff(GraphDriver& driver, const std::string& id, ByteSink& out);
}  // namespace gantry::drivers

// Writes the EROFS index of a layer out of its tree. The same tree gives the same bytes.
#pragma once

#include <cstdint>
#include <string>

#include "drivers/graph/erofs_tree.h"

namespace gantry::drivers {

struct ErofsDevices {
  std::string id;  // at most 16 bytes: the file system's UUID
  uint64_t tar_size = 0;
  uint64_t side_size = 0;  // 0: there is no side file
};

// `log`: the member log that the tree's inodes point into. Writes to `out` from its begin on; the
// tree is used up (its inodes get numbers and counts of links).
Status write_erofs_index(ErofsTree& tree, int log, const ErofsDevices& devices, int out);

}  // namespace gantry::drivers

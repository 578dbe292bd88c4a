// Unpacking one layer archive into a directory, in the form overlayfs wants: a whiteout (".wh.x")
// becomes a 0/0 character device "x", an opaque directory (".wh..wh..opq") gets
// trusted.overlay.opaque (image-spec layer.md; Documentation/filesystems/overlayfs.rst).
//
// Every name is resolved by descriptor, one component at a time, inside the directory. Symbolic
// links on the way are followed as the container would see them: within the directory and, where it
// has nothing, through the layers below. Directories that the archive leaves out take their
// attributes from below.
#pragma once

#include <cstdint>
#include <vector>

#include "base/byte_source.h"
#include "base/unique_fd.h"
#include "drivers/graph/layer_directories.h"

namespace gantry::drivers {

class SplitRecorder;

struct UnpackTarget {
  int root = -1;           // the (empty) directory to unpack into
  std::vector<int> lower;  // roots of the layers below, topmost first; in overlay form
  int scratch = -1;  // a directory on the same file system for what the archive itself replaces
  SplitRecorder* recorder = nullptr;  // may be null
};

// Gives the bytes of the regular files. An error leaves the directory as it is then: the caller
// throws it away. Memory is bounded whatever the archive says.
Result<uint64_t> unpack_layer(ByteSource& archive, const UnpackTarget& target);

// Unpacks into a fresh layer directory and writes the record of the archive beside it.
Result<uint64_t> unpack_recorded(const LayerDirectories::Fresh& fresh, std::vector<int> lower,
                                 ByteSource& archive);

}  // namespace gantry::drivers

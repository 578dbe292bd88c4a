// Unpacking one layer archive into a directory, in the form overlayfs wants: a whiteout (".wh.x")
// becomes a 0/0 character device "x", an opaque directory (".wh..wh..opq") gets
// trusted.overlay.opaque (image-spec layer.md; Documentation/filesystems/overlayfs.rst).
//
// Every name is resolved by descriptor, one component at a time, inside the directory. Symbolic
// links on the way are followed as the container would see them: within the directory and, where it
// has nothing, through the layers below.
#pragma once

#include <cstdint>
#include <vector>

#include "base/byte_source.h"
#include "base/unique_fd.h"
#include "drivers/graph/layer_directories.h"

namespace gantry::drivers {

class SplitRecorder;

enum class Lower { known, unknown };

struct UnpackTarget {
  int root = -1;  // the (empty) directory to unpack into
  Lower known = Lower::known;
  std::vector<int> lower;  // roots of the layers below, topmost first; empty when not known
  int scratch = -1;  // a directory on the same file system for what the archive itself replaces
  SplitRecorder* recorder = nullptr;  // may be null
  // Gets the paths of the directories that were made without a member saying how, each before what
  // is in it and followed by a NUL byte; "" is the root. Those that still have no attributes of
  // their own at the end bear kParentXattr. May be null.
  ByteSink* parents = nullptr;
  // Gets the paths of the whiteouts that were made, each followed by a NUL byte. May be null.
  ByteSink* whiteouts = nullptr;
};

// On a directory that is waiting for the attributes of what is below it.
inline constexpr const char* kParentXattr = "trusted.gantry.parent";

struct Unpacked {
  uint64_t size = 0;         // bytes of the regular files
  bool root_opaque = false;  // nothing of the layers below is to be seen
  // What could not be made without knowing what is below was left out: unpack it again.
  bool depends = false;
};

// An error leaves the directory as it is then: the caller throws it away. Memory is bounded
// whatever the archive says.
Result<Unpacked> unpack_layer(ByteSource& archive, const UnpackTarget& target);

}  // namespace gantry::drivers

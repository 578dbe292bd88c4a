// What a member of a layer archive means, the same for every driver (image-spec, layer.md).
#pragma once

#include <string>

#include "base/result.h"
#include "base/tar.h"

namespace gantry::drivers {

struct Member {
  enum class What {
    nothing,   // book-keeping of aufs that old images may carry
    root,      // attributes of the layer's root
    opaque,    // hides what the directory `path` has below
    whiteout,  // hides what is below at `path`
    file,      // anything else, directories included
  };
  What what = What::nothing;
  std::string path;  // clean, "" is the root
};

// `invalid` for what no layer may hold: paths that lead out, whiteouts of nothing, and names,
// attributes and devices that would steer overlayfs.
Result<Member> classify(const tar::Entry& entry);

}  // namespace gantry::drivers

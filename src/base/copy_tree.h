// Copies what is below one directory into another, by descriptor: owners, modes, times, extended
// attributes, links, devices. Symbolic links are copied, never followed.
#pragma once

#include "base/result.h"

namespace gantry::fs {

// The directories are borrowed; `target` takes the attributes of `source`. Hard links among files
// become separate files.
Status copy_tree(int source, int target);

}  // namespace gantry::fs

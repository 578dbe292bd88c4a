// A limit on what a directory tree may hold, by project quotas of ext4 and xfs (quotactl(2)). The
// project's id is the inode number of the tree's top, which is the tree's own while it exists.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace gantry::drivers {

// `directory`: open and empty; what is made below it inherits its project. `unsupported`, saying
// what is missing, where the file system keeps no project quotas.
Status limit_tree(int directory, uint64_t bytes);
// Takes the limit back; no limit is success.
Status unlimit_tree(int directory);

}  // namespace gantry::drivers

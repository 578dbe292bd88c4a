// What the kernel keeps in memory of a file.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace gantry {

// How much of a file is in the page cache (cachestat(2), Linux 6.5; `unsupported` before).
Result<uint64_t> cached_bytes(int fd);
// Begins to write dirty pages to the disk and does not wait for it; what goes wrong is told by the
// next fsync.
void start_write_back(int fd, uint64_t offset, uint64_t size);

}  // namespace gantry

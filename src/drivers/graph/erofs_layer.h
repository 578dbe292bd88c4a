// The two steps of taking in a layer for the EROFS driver: the archive is kept as it is and its
// members are listed (ingest), then the index over it is made (publish).
#pragma once

#include <string>
#include <vector>

#include "base/byte_source.h"
#include "base/unique_fd.h"
#include "drivers/graph/erofs_tree.h"
#include "drivers/graph/layer_tree.h"
#include "drivers/graph/member_log.h"

namespace gantry::drivers {

// Names in a layer's directory.
inline constexpr const char* kTarName = "tar";      // the archive
inline constexpr const char* kSideName = "side";    // contents that do not lie in it as in a file
inline constexpr const char* kLogName = "members";  // between the two steps

// Reads the archive into `directory` (fresh, open). Gives the bytes of the regular files that it
// carried.
Result<uint64_t> ingest_archive(int directory, ByteSource& archive);

struct IndexedRoot {
  uint32_t mode = 0755;  // permission bits
  uint32_t uid = 0;
  uint32_t gid = 0;
};
// Makes the index of an ingested archive over `lower` (roots of the layers below, topmost first,
// in overlay form), and writes it to `out`; `id` becomes its UUID. Errors name the member.
Result<IndexedRoot> make_index(int directory, const std::string& id, std::vector<int> lower,
                               int out);

}  // namespace gantry::drivers

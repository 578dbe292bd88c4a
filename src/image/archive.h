// An archive of images spooled to a temporary file: its members by name, in any order and as often
// as needed. Links between members (old `docker save` archives have them) are followed by name
// only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_source.h"
#include "base/digest.h"
#include "base/unique_fd.h"
#include "image/layer_pipeline.h"

namespace gantry::image {

class Archive {
 public:
  // Reads `source` (plain or compressed) to its end into a nameless file in `directory`. Of the
  // limits the ratio counts: how large an archive of many layers may be is the disk's to say.
  static Result<std::unique_ptr<Archive>> spool(ByteSource& source, const std::string& directory,
                                                const LayerLimits& limits = {});

  bool contains(std::string_view path) const;
  Result<std::string> read(std::string_view path, size_t limit = 8u << 20) const;  // not_found
  // Borrows the archive.
  Result<std::unique_ptr<ByteSource>> open(std::string_view path) const;
  Result<uint64_t> size(std::string_view path) const;

 private:
  struct Member {
    uint64_t offset = 0;
    uint64_t size = 0;
    std::string link;  // path of another member; "" for a file
  };
  Result<const Member*> resolve(std::string_view path) const;

  UniqueFd file_;
  std::map<std::string, Member, std::less<>> members_;
};

// The ids of the images in an archive, without storing it: what is asked before loading one at
// start. Only members of up to 1 MiB are looked at.
Result<std::vector<Digest>> archive_image_ids(ByteSource& source);

}  // namespace gantry::image

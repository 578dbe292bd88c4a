// What unpacking sets last.
#pragma once

#include <ctime>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry {

// Modification times of directories, which have to be set after everything else. On disk, since an
// archive may hold any number of directories. Not thread-safe.
class DirectoryTimes {
 public:
  // `scratch`: a directory for a file without a name.
  static Result<DirectoryTimes> create(int scratch);
  Status add(const std::string& path, timespec mtime);  // below the root; "" is the root
  // Directories that are not there any more, or not without a link on the way, are passed over.
  Status apply(int root);

 private:
  explicit DirectoryTimes(UniqueFd file) : file_(std::move(file)) {}
  static constexpr size_t kFlushAt = 64 << 10;
  UniqueFd file_;
  std::string buffer_;
};

}  // namespace gantry

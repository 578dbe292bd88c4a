// One file of a log, read forwards or positioned from its end.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/shim/log_format.h"

namespace gantry::drivers {

enum class LogFormat { json_file, local };

// Not thread-safe. Memory is bounded by the longest entry, shim::kMaxLogEntry.
class LogFile {
 public:
  LogFile(UniqueFd fd, LogFormat format) : fd_(std::move(fd)), format_(format) {}

  int fd() const { return fd_.get(); }
  // The next whole entry; nothing when the file has no more (yet). Unreadable ones are skipped.
  Result<std::optional<shim::LogEntry>> next();
  // Positions before the last `count` entries of the file as it is now; returns how many there are
  // of them.
  Result<int64_t> seek_from_end(int64_t count);
  // The file has been truncated below where we are: begins anew.
  Status check_truncated();

 private:
  Result<bool> fill();  // false at the end of the file
  Result<int64_t> lines_from_end(int64_t count, off_t end);
  Result<int64_t> records_from_end(int64_t count, off_t end);
  void restart(off_t offset);

  UniqueFd fd_;
  LogFormat format_;
  off_t offset_ = 0;  // of the end of buffer_ in the file
  std::string buffer_;
  size_t used_ = 0;  // of buffer_
};

}  // namespace gantry::drivers

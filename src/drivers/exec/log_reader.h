// Reads back what shims have written: `json-file` and `local` logs with their rotated files, for
// `logs`, for attach with history, and for whoever forwards logs elsewhere.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/shim/log_format.h"
#include "runtime/shim/protocol.h"

namespace gantry::drivers {

using shim::LogEntry;

struct LogQuery {
  int64_t tail = -1;    // entries from the end; -1: all
  int64_t since = 0;    // ns since the epoch; 0: from the beginning
  int64_t until = 0;    // ns since the epoch; 0: without end
  bool follow = false;  // waits for further entries until finish() or `until`
};

// One reader is of one thread, which next() blocks only while following; finish() may come from any
// thread. Never slows the container: it holds no lock and reads files. An entry that cannot be read
// (a machine that lost power, a disk that was full) is skipped.
class LogReader {
 public:
  // `unsupported` for a driver whose logs are not kept here. A log that is not there yet is empty.
  static Result<std::unique_ptr<LogReader>> open(const shim::LogConfig& config,
                                                 const LogQuery& query);
  ~LogReader();
  LogReader(const LogReader&) = delete;

  // The next entry; nothing at the end. While following it waits for one, for finish(), or for
  // `cancel` to become readable (error `cancelled`); -1: not to be cancelled.
  Result<std::optional<LogEntry>> next(int cancel = -1);
  // The container has ended: what is in the log is read to its end, and then it is the end.
  void finish();

 private:
  struct Impl;
  explicit LogReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gantry::drivers

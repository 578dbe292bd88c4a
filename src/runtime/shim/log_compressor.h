// Compresses the rotated files of a log, one at a time, in a child that gets only the processor
// time that nobody else wants.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/result.h"

namespace gantry::shim {

// Not thread-safe. Whoever waits for children tells it of each that has ended: child_ended(). A
// file that is rotated out before it has been compressed is given up, so a container that prints
// faster than files can be compressed is not slowed. Whatever is unfinished at the end stays as it
// is, and is compressed by the next run.
class LogCompressor {
 public:
  // Of the log at `path` with `max_files` files (at least 2); takes away what a shim that was
  // killed has left.
  LogCompressor(std::string path, int max_files);
  ~LogCompressor();
  LogCompressor(const LogCompressor&) = delete;

  // The files are about to move one number up: the oldest goes.
  void rotating();
  // Begins with the newest rotated file that is not compressed, unless it is at work already.
  void begin();
  // False when it is none of ours. `status` as of wait(2).
  bool child_ended(pid_t pid, int status);

 private:
  std::string name(int number) const;
  Status start(int number);
  Status install();
  void give_up();

  std::string path_;
  int max_files_;
  pid_t child_ = -1;
  int number_ = 0;  // of the file that the child reads, now
};

}  // namespace gantry::shim

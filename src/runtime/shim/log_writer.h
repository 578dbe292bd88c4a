// Keeps what a container prints, in Docker's `json-file` or `local` format, and rotates the file.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/shim/log_format.h"
#include "runtime/shim/protocol.h"

namespace gantry::shim {

// Not thread-safe. Entries are gathered and go to the file in flush() or when the buffer is full,
// so a reader may miss what was written since the last flush(). A write that fails (a full disk)
// loses the entries of that write, whole, and is reported by flush(); the next ones are tried
// again.
class LogWriter {
 public:
  // Appends to the file, which is made (0640) when absent. Null for the driver "none".
  static Result<std::unique_ptr<LogWriter>> open(const LogConfig& config);
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;

  // Bytes as they came; they are cut into lines, and lines into pieces of kLogPiece.
  void write(Stream stream, std::string_view bytes, int64_t now);
  // The stream has ended: what is left of a line is an entry, without an end of line.
  void finish(Stream stream, int64_t now);
  Status flush();
  // Begins with a new file at the path: somebody else has moved the old one away.
  Status reopen();
  // Gives back the buffers; for a container that is quiet.
  void release_memory();

 private:
  // The line that a stream is in the middle of.
  struct Line {
    std::string pending;     // shorter than kLogPiece
    bool in_pieces = false;  // a piece of it has been written
    int64_t first_time = 0;  // of its first piece: all have the same
    std::string id;
    int32_t ordinal = 0;
  };
  enum class Piece { whole, more, last };

  LogWriter() = default;
  void put(Stream stream, Line& line, std::string_view text, Piece piece, int64_t now);
  void put_json(Stream stream, std::string_view text, bool end_of_line, int64_t time);
  Status write_out();
  Status rotate();
  Status open_file(int flags);

  LogConfig config_;
  std::string attributes_;  // "\"attrs\":{…}," or ""
  bool local_ = false;
  UniqueFd file_;
  int64_t size_ = 0;  // of the file
  std::string buffer_;
  size_t used_ = 0;
  Line lines_[2];
  int64_t printed_time_ = -1;
  std::string tail_;  // `"time":"…"}\n` of printed_time_
  Status failure_;
};

}  // namespace gantry::shim

// The two log formats that are written here, byte for byte Docker's.
//
//   json-file
//   {"log":"text\n","stream":"stdout","attrs":{…},"time":"2024-01-02T03:04:05.123456789Z"}\n
//              a piece of a line longer than 16 KiB, or without an end, has no \n in "log"
//   local      u32 big-endian size, a protobuf LogEntry {1 source, 2 time_nano, 3 line, 4 partial,
//              5 {1 last, 2 id, 3 ordinal}}, the size again (to be read backwards)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry::shim {

enum class Stream : uint8_t {
  in = 0,
  out = 1,
  err = 2
};                                          // as in the frames of a multiplexed client
std::string_view to_string(Stream stream);  // "stdin", "stdout", "stderr"

// A line is cut into pieces of this size (moby daemon/logger/copier.go, defaultBufSize).
inline constexpr size_t kLogPiece = 16 * 1024;
// No entry is longer: all of a piece's bytes escaped, its attributes, the rest.
inline constexpr size_t kMaxLogEntry = 1u << 20;

// What is said of a line that came in pieces.
struct Partial {
  bool last = false;
  std::string id;
  int32_t ordinal = 0;
};

// One entry as read back. `line` ends with \n unless it is a piece that another one follows.
struct LogEntry {
  Stream stream = Stream::out;
  int64_t time = 0;  // ns since the epoch
  std::string line;
  std::optional<Partial> partial;  // local only
  std::string attributes;          // json-file: the "attrs" object as JSON, or ""
};

// Writes `text` as the inside of a JSON string as Go's encoder does (HTML-safe, invalid UTF-8 as
// \ufffd). `out` has room for 6 bytes for each byte of text. Returns the end.
char* escape_json(char* out, std::string_view text);
// The time as Go's RFC3339Nano, in UTC; `out` has room for 30 bytes. Returns the end.
char* print_time(char* out, int64_t ns);

// Appends a `local` entry to `out`.
void append_local(std::string& out, Stream stream, int64_t time, std::string_view line,
                  const std::optional<Partial>& partial);

// One line of a json-file, without its \n.
Result<LogEntry> parse_json_entry(std::string_view line);
// The protobuf message of a `local` entry.
Result<LogEntry> parse_local_entry(std::string_view message);

}  // namespace gantry::shim

#include "drivers/exec/log_file.h"

#include <algorithm>
#include <cstring>

#include "base/sys.h"

namespace gantry::drivers {
namespace {

constexpr size_t kChunk = 64 * 1024;

uint32_t big_endian(const char* p) {
  auto byte = [&](int i) { return static_cast<uint32_t>(static_cast<unsigned char>(p[i])); };
  return byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
}

}  // namespace

void LogFile::restart(off_t offset) {
  offset_ = offset;
  buffer_.clear();
  used_ = 0;
}

Status LogFile::check_truncated() {
  struct stat st = TRY(sys::fstat(fd_.get()));
  if (st.st_size < offset_) restart(0);
  return {};
}

Result<bool> LogFile::fill() {
  buffer_.erase(0, used_);
  used_ = 0;
  size_t before = buffer_.size();
  buffer_.resize(before + kChunk);
  Result<size_t> size = sys::pread(fd_.get(), buffer_.data() + before, kChunk, offset_);
  buffer_.resize(before + (size ? *size : 0));
  if (!size) return std::move(size).error();
  offset_ += static_cast<off_t>(*size);
  return *size > 0;
}

Result<std::optional<shim::LogEntry>> LogFile::next() {
  using Entry = std::optional<shim::LogEntry>;
  for (;;) {
    std::string_view rest = std::string_view(buffer_).substr(used_);
    std::optional<std::string_view> record;
    size_t size = 0;
    if (format_ == LogFormat::json_file) {
      size_t end = rest.find('\n');
      if (end != std::string_view::npos) {
        record = rest.substr(0, end);
        size = end + 1;
      }
    } else if (rest.size() >= 4) {
      size_t length = big_endian(rest.data());
      // Not a record: nothing after it can be told from anything else.
      if (length > shim::kMaxLogEntry) return invalid("log: a record of {} bytes", length);
      if (rest.size() >= length + 8) {
        record = rest.substr(4, length);
        size = length + 8;
      }
    }
    if (!record) {
      // A line that never ends is not an entry; go on behind it.
      if (rest.size() > shim::kMaxLogEntry) used_ = buffer_.size();
      bool more = TRY(fill());
      if (!more) return Entry();
      continue;
    }
    used_ += size;
    Result<shim::LogEntry> entry = format_ == LogFormat::json_file
                                       ? shim::parse_json_entry(*record)
                                       : shim::parse_local_entry(*record);
    if (entry) return Entry(std::move(*entry));
  }
}

Result<int64_t> LogFile::seek_from_end(int64_t count) {
  struct stat st = TRY(sys::fstat(fd_.get()));
  return format_ == LogFormat::json_file ? lines_from_end(count, st.st_size)
                                         : records_from_end(count, st.st_size);
}

Result<int64_t> LogFile::lines_from_end(int64_t count, off_t end) {
  // Counting the newlines backwards; the one that ends the last line counts only once a line
  // follows it.
  std::string chunk(kChunk, '\0');
  int64_t lines = 0;
  bool last_byte = true;
  for (off_t at = end; at > 0;) {
    size_t want = static_cast<size_t>(std::min<off_t>(at, kChunk));
    at -= static_cast<off_t>(want);
    size_t got = TRY(sys::pread(fd_.get(), chunk.data(), want, at));
    if (got != want) return internal("log: it became shorter");
    for (size_t i = want; i-- > 0;) {
      if (chunk[i] != '\n') {
        last_byte = false;
        continue;
      }
      if (std::exchange(last_byte, false)) continue;
      if (++lines == count) {
        restart(at + static_cast<off_t>(i) + 1);
        return lines;
      }
    }
  }
  restart(0);
  return end > 0 ? lines + 1 : 0;
}

Result<int64_t> LogFile::records_from_end(int64_t count, off_t end) {
  int64_t records = 0;
  off_t at = end;
  while (at >= 8 && records < count) {
    char size[4];
    size_t got = TRY(sys::pread(fd_.get(), size, 4, at - 4));
    off_t length = got == 4 ? off_t{big_endian(size)} : -1;
    if (length < 0 || length > static_cast<off_t>(shim::kMaxLogEntry) || length + 8 > at) break;
    at -= length + 8;
    ++records;
  }
  restart(at);
  return records;
}

}  // namespace gantry::drivers

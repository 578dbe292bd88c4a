#include "runtime/shim/log_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/sys.h"

namespace gantry::shim {
namespace {

constexpr size_t kBuffer = 256 * 1024;
// Room for one json-file entry besides its attributes: every byte as \u00xx, and the names.
constexpr size_t kEntryRoom = 6 * (kLogPiece + 1) + 256;

}  // namespace

Result<std::unique_ptr<LogWriter>> LogWriter::open(const LogConfig& config) {
  if (config.driver == "none") return std::unique_ptr<LogWriter>();
  if (config.driver != "json-file" && config.driver != "local")
    return unsupported("log driver \"{}\" is not written by the shim", config.driver);
  std::unique_ptr<LogWriter> writer(new LogWriter);
  writer->config_ = config;
  writer->local_ = config.driver == "local";
  if (!config.attributes.empty()) {
    // Escaped as the rest of the line is.
    std::string& out = writer->attributes_;
    auto quoted = [&](const std::string& text) {
      std::string escaped(6 * text.size(), '\0');
      escaped.resize(static_cast<size_t>(escape_json(escaped.data(), text) - escaped.data()));
      out += '"' + escaped + '"';
    };
    out = "\"attrs\":{";
    bool first = true;
    for (const auto& [key, value] : config.attributes) {
      if (!std::exchange(first, false)) out += ',';
      quoted(key);
      out += ':';
      quoted(value);
    }
    out += "},";
    if (out.size() > kMaxLogEntry / 2) return invalid("log attributes: too long");
  }
  TRY(writer->open_file(0));
  return writer;
}

LogWriter::~LogWriter() { (void)flush(); }

Status LogWriter::open_file(int flags) {
  file_ = TRY(sys::open(config_.path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | flags, 0640)
                  .context("log"));
  struct stat st = TRY(sys::fstat(file_.get()));
  size_ = st.st_size;
  return {};
}

void LogWriter::write(Stream stream, std::string_view bytes, int64_t now) {
  Line& line = lines_[stream == Stream::err];
  while (!bytes.empty()) {
    const void* found = std::memchr(bytes.data(), '\n', std::min(bytes.size(), kLogPiece));
    size_t length = found ? static_cast<size_t>(static_cast<const char*>(found) - bytes.data())
                          : std::min(bytes.size(), kLogPiece);
    // The fast way: nothing waits, and the line is whole.
    if (line.pending.empty() && found) {
      put(stream, line, bytes.substr(0, length), Piece::last, now);
      bytes.remove_prefix(length + 1);
      continue;
    }
    size_t taken = std::min(length, kLogPiece - line.pending.size());
    line.pending.append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    if (line.pending.size() == kLogPiece) {
      put(stream, line, line.pending, Piece::more, now);
      line.pending.clear();
    } else if (found) {
      put(stream, line, line.pending, Piece::last, now);
      line.pending.clear();
      bytes.remove_prefix(1);
    }
  }
}

void LogWriter::finish(Stream stream, int64_t now) {
  Line& line = lines_[stream == Stream::err];
  if (!line.pending.empty()) put(stream, line, line.pending, Piece::more, now);
  line = {};
}

void LogWriter::put(Stream stream, Line& line, std::string_view text, Piece piece, int64_t now) {
  bool split = piece == Piece::more || line.in_pieces;
  if (split && !line.in_pieces) {
    line.in_pieces = true;
    line.first_time = now;
    line.ordinal = 0;
    line.id = local_ ? random_hex(32) : std::string();
  }
  int64_t time = split ? line.first_time : now;
  // Docker looks at the size before each entry, so a file ends at the first entry past the limit.
  if (config_.max_size > 0 && size_ + static_cast<int64_t>(used_) >= config_.max_size) {
    Status rotated = write_out();
    if (rotated) rotated = rotate();
    if (!rotated && failure_) failure_ = std::move(rotated);
  }
  if (local_) {
    std::optional<Partial> partial;
    if (split) partial = Partial{piece == Piece::last, line.id, ++line.ordinal};
    buffer_.resize(used_);
    append_local(buffer_, stream, time, text, partial);
    used_ = buffer_.size();
  } else {
    put_json(stream, text, piece != Piece::more, time);
  }
  if (piece == Piece::last) line.in_pieces = false;
  if (used_ + kEntryRoom + attributes_.size() > kBuffer) {
    Status written = write_out();
    if (!written && failure_) failure_ = std::move(written);
  }
}

void LogWriter::put_json(Stream stream, std::string_view text, bool end_of_line, int64_t time) {
  if (time != printed_time_) {
    char printed[32];
    tail_ = attributes_ + "\"time\":\"" +
            std::string(printed, static_cast<size_t>(print_time(printed, time) - printed)) +
            "\"}\n";
    printed_time_ = time;
  }
  size_t needed = used_ + kEntryRoom + tail_.size();
  if (buffer_.size() < needed) buffer_.resize(std::max(needed, kBuffer));
  char* out = buffer_.data() + used_;
  auto append = [&](std::string_view s) {
    std::memcpy(out, s.data(), s.size());
    out += s.size();
  };
  append("{\"log\":\"");
  out = escape_json(out, text);
  if (end_of_line) append("\\n");
  append(stream == Stream::err ? "\",\"stream\":\"stderr\"," : "\",\"stream\":\"stdout\",");
  append(tail_);
  used_ = static_cast<size_t>(out - buffer_.data());
}

Status LogWriter::write_out() {
  if (used_ == 0) return {};
  std::string_view data(buffer_.data(), std::exchange(used_, 0));
  Status written = sys::write_all(file_.get(), data);
  if (written) {
    size_ += static_cast<int64_t>(data.size());
    return {};
  }
  // Half an entry would make the next one unreadable.
  log::ignored("log", sys::ftruncate(file_.get(), size_));
  return std::move(written).context("log {}", config_.path);
}

Status LogWriter::rotate() {
  if (config_.max_files < 2) {
    TRY(sys::ftruncate(file_.get(), 0));
    size_ = 0;
    return {};
  }
  auto name = [&](int number) { return fmt::format("{}.{}", config_.path, number); };
  for (int number = config_.max_files - 1; number > 1; --number) {
    Status renamed = sys::renameat(AT_FDCWD, name(number - 1), AT_FDCWD, name(number));
    if (!renamed && renamed.error().code() != ENOENT) return renamed;
  }
  TRY(sys::renameat(AT_FDCWD, config_.path, AT_FDCWD, name(1)));
  return open_file(0);
}

Status LogWriter::flush() {
  Status failure = std::exchange(failure_, Status());
  Status written = write_out();
  if (!failure) return failure;
  return written;
}

Status LogWriter::reopen() {
  TRY(flush());
  return open_file(0);
}

void LogWriter::release_memory() {
  buffer_.resize(used_);
  buffer_.shrink_to_fit();
  for (Line& line : lines_) line.pending.shrink_to_fit();
}

}  // namespace gantry::shim

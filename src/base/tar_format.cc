#include "base/tar_format.h"

#include <charconv>
#include <climits>
#include <cstring>
#include <ctime>
#include <limits>

#include "base/tar.h"

namespace gantry::tar {

std::string_view text_field(const char* block, HeaderField field) {
  return {block + field.offset, ::strnlen(block + field.offset, field.size)};
}

Result<int64_t> number_field(const char* block, HeaderField field) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(block + field.offset);
  if (bytes[0] & 0x80) {
    // Two's complement, big endian, without the marker bit.
    bool negative = bytes[0] & 0x40;
    uint64_t value = negative ? ~uint64_t{0} : 0;
    for (size_t i = 0; i < field.size; ++i) {
      unsigned char byte = i == 0 ? (negative ? bytes[0] : bytes[0] & 0x7f) : bytes[i];
      uint64_t top = value >> 55;
      if (top != 0 && top != 0x1ff) return invalid("number out of range");
      value = value << 8 | byte;
    }
    if ((static_cast<int64_t>(value) < 0) != negative) return invalid("number out of range");
    return static_cast<int64_t>(value);
  }
  std::string_view text = text_field(block, field);
  size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return int64_t{0};
  size_t last = text.find_last_not_of(' ');
  text = text.substr(first, last - first + 1);
  int64_t value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
  if (failure != std::errc() || end != text.data() + text.size() || value < 0)
    return invalid("malformed number");
  return value;
}

Result<uint64_t> parse_decimal(std::string_view text) {
  uint64_t value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() ||
      value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    return invalid("malformed number \"{}\"", text.substr(0, 32));
  return value;
}

Result<timespec> parse_pax_time(std::string_view text) {
  bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  size_t dot = text.find('.');
  std::string_view whole = text.substr(0, dot);
  std::string_view fraction = dot == std::string_view::npos ? "" : text.substr(dot + 1);
  timespec time{};
  time.tv_sec = static_cast<time_t>(TRY(parse_decimal(whole)));
  long scale = 100'000'000;
  for (char c : fraction) {
    if (c < '0' || c > '9') return invalid("malformed time");
    time.tv_nsec += (c - '0') * scale;
    scale /= 10;
  }
  if (negative) {
    time.tv_sec = -time.tv_sec;
    if (time.tv_nsec != 0) {
      time.tv_sec -= 1;
      time.tv_nsec = 1'000'000'000 - time.tv_nsec;
    }
  }
  return time;
}

Checksums checksum(const char* block) {
  Checksums sums{};
  for (size_t i = 0; i < kBlockSize; ++i) {
    bool inside = i >= kChecksum.offset && i < kChecksum.offset + kChecksum.size;
    char byte = inside ? ' ' : block[i];
    sums.as_unsigned += static_cast<unsigned char>(byte);
    sums.as_signed += static_cast<signed char>(byte);
  }
  return sums;
}

std::optional<std::string> clean_path(std::string_view path) {
  std::string out;
  size_t at = 0;
  while (at < path.size()) {
    size_t end = std::min(path.find('/', at), path.size());
    std::string_view part = path.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (out.empty()) return std::nullopt;
      size_t slash = out.rfind('/');
      out.resize(slash == std::string::npos ? 0 : slash);
      continue;
    }
    if (!out.empty()) out += '/';
    out += part;
    if (out.size() >= PATH_MAX) return std::nullopt;
  }
  return out;
}

}  // namespace gantry::tar

#include <algorithm>
#include <cstring>

#include "base/tar.h"
#include "base/tar_format.h"

namespace gantry::tar {
namespace {

constexpr char kZeros[2 * kBlockSize] = {};

char type_flag(Type type) {
  switch (type) {
    case Type::regular:
      return '0';
    case Type::hardlink:
      return '1';
    case Type::symlink:
      return '2';
    case Type::char_device:
      return '3';
    case Type::block_device:
      return '4';
    case Type::directory:
      return '5';
    case Type::fifo:
      return '6';
  }
  return '0';
}

void put_text(char* block, HeaderField field, std::string_view text) {
  text.copy(block + field.offset, field.size);
}

bool fits_octal(uint64_t value, HeaderField field) {
  return value < uint64_t{1} << (3 * (field.size - 1));
}

void put_number(char* block, HeaderField field, uint64_t value) {
  std::string digits = fmt::format("{:0{}o}", value, field.size - 1);
  put_text(block, field, std::string_view(digits).substr(digits.size() - (field.size - 1)));
}

// "LENGTH KEY=VALUE\n"; the length counts its own digits.
void add_record(std::string& records, std::string_view key, std::string_view value) {
  size_t base = key.size() + value.size() + 3;
  size_t length = base + 1;
  while (base + std::to_string(length).size() != length)
    length = base + std::to_string(length).size();
  records += fmt::format("{} {}={}\n", length, key, value);
}

// A name of up to 255 bytes fits when it can be cut at a slash into prefix and name.
std::optional<size_t> split_at(std::string_view path) {
  if (path.size() <= kName.size) return 0;
  if (path.size() > kName.size + 1 + kPrefix.size) return std::nullopt;
  size_t slash = path.find('/', path.size() - kName.size - 1);
  if (slash == std::string_view::npos || slash == 0 || slash > kPrefix.size ||
      slash + 1 == path.size())
    return std::nullopt;
  return slash;
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0; });
}

}  // namespace

Status Writer::begin(const Entry& entry) {
  TRY(end_member());
  bool is_regular = entry.type == Type::regular;
  uint64_t size = is_regular ? entry.size : 0;
  std::string path = entry.path;
  if (entry.type == Type::directory && !path.ends_with('/')) path += '/';
  std::string records;
  std::optional<size_t> slash = is_ascii(path) ? split_at(path) : std::nullopt;
  if (!slash) add_record(records, "path", path);
  if (entry.link.size() > kLink.size || !is_ascii(entry.link))
    add_record(records, "linkpath", entry.link);
  if (!fits_octal(size, kSize)) add_record(records, "size", std::to_string(size));
  if (!fits_octal(entry.uid, kUid)) add_record(records, "uid", std::to_string(entry.uid));
  if (!fits_octal(entry.gid, kGid)) add_record(records, "gid", std::to_string(entry.gid));
  if (entry.mtime.tv_nsec != 0 || entry.mtime.tv_sec < 0 ||
      !fits_octal(static_cast<uint64_t>(entry.mtime.tv_sec), kMtime)) {
    int64_t seconds = entry.mtime.tv_sec;
    int64_t nanoseconds = entry.mtime.tv_nsec;
    std::string sign;
    if (seconds < 0) {
      sign = "-";
      seconds = nanoseconds ? -seconds - 1 : -seconds;
      nanoseconds = nanoseconds ? 1'000'000'000 - nanoseconds : 0;
    }
    add_record(records, "mtime",
               nanoseconds ? fmt::format("{}{}.{:09}", sign, seconds, nanoseconds)
                           : fmt::format("{}{}", sign, seconds));
  }
  auto xattrs = entry.xattrs;
  std::sort(xattrs.begin(), xattrs.end());
  for (const auto& [name, value] : xattrs) add_record(records, "SCHILY.xattr." + name, value);

  auto header = [&](char type, std::string_view prefix, std::string_view name, uint64_t bytes,
                    bool plain) {
    std::string block(kBlockSize, '\0');
    put_text(block.data(), kName, name);
    put_text(block.data(), kPrefix, prefix);
    put_number(block.data(), kMode, plain ? 0644 : entry.mode & 07777);
    put_number(block.data(), kUid, plain || !fits_octal(entry.uid, kUid) ? 0 : entry.uid);
    put_number(block.data(), kGid, plain || !fits_octal(entry.gid, kGid) ? 0 : entry.gid);
    put_number(block.data(), kSize, fits_octal(bytes, kSize) ? bytes : 0);
    bool time_fits =
        entry.mtime.tv_sec >= 0 && fits_octal(static_cast<uint64_t>(entry.mtime.tv_sec), kMtime);
    put_number(block.data(), kMtime, plain || !time_fits ? 0 : entry.mtime.tv_sec);
    block[kType.offset] = type;
    put_text(block.data(), kMagic, std::string_view("ustar\00000", 8));
    if (!plain) {
      put_text(block.data(), kLink, entry.link);
      bool device = entry.type == Type::char_device || entry.type == Type::block_device;
      put_number(block.data(), kMajor, device ? entry.major : 0);
      put_number(block.data(), kMinor, device ? entry.minor : 0);
    }
    put_text(block.data(), kChecksum,
             fmt::format("{:06o}", checksum(block.data()).as_unsigned) + std::string("\0 ", 2));
    return block;
  };
  if (!records.empty()) {
    size_t padding = (kBlockSize - records.size() % kBlockSize) % kBlockSize;
    TRY(sink_.write(header('x', "", "PaxHeaders.0/entry", records.size(), true)));
    TRY(sink_.write(records));
    TRY(sink_.write({kZeros, padding}));
  }
  std::string_view prefix;
  std::string_view name = std::string_view(path).substr(0, kName.size);
  if (size_t cut = slash.value_or(0); cut > 0) {
    prefix = std::string_view(path).substr(0, cut);
    name = std::string_view(path).substr(cut + 1);
  }
  TRY(sink_.write(header(type_flag(entry.type), prefix, name, size, false)));
  left_ = size;
  padding_ = (kBlockSize - size % kBlockSize) % kBlockSize;
  return {};
}

Status Writer::write(std::string_view bytes) {
  if (bytes.size() > left_) return internal("tar member is longer than its header says");
  left_ -= bytes.size();
  return sink_.write(bytes);
}

Status Writer::add(const Entry& entry, std::string_view contents) {
  TRY(begin(entry));
  return write(contents);
}

Status Writer::end_member() {
  if (left_ != 0) return internal("tar member is shorter than its header says");
  if (padding_ == 0) return {};
  return sink_.write({kZeros, std::exchange(padding_, 0)});
}

Status Writer::finish() {
  TRY(end_member());
  return sink_.write({kZeros, sizeof kZeros});
}

}  // namespace gantry::tar

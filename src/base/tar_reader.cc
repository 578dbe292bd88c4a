#include <algorithm>
#include <cstring>
#include <limits>

#include "base/tar.h"
#include "base/tar_format.h"

namespace gantry::tar {
namespace {

constexpr size_t kBufferSize = 256 << 10;
constexpr size_t kMaxExtents = 64 << 10;
constexpr int kMaxHeadersPerMember = 64;  // long names and pax headers before one member

size_t padding_of(uint64_t size) { return (kBlockSize - size % kBlockSize) % kBlockSize; }

bool is_zero(const char* block) {
  return std::all_of(block, block + kBlockSize, [](char c) { return c == 0; });
}

Error truncated() { return invalid("unexpected end of archive"); }

// Data parts that do not overlap, ascend and lie inside the file, and hold what the archive stores.
Status check_extents(const std::vector<Extent>& extents, uint64_t size, uint64_t stored) {
  uint64_t at = 0;
  uint64_t sum = 0;
  for (const Extent& extent : extents) {
    if (extent.offset < at || extent.size > size || extent.offset > size - extent.size)
      return invalid("malformed sparse map");
    at = extent.offset + extent.size;
    sum += extent.size;
  }
  if (sum != stored) return invalid("malformed sparse map");
  return {};
}

std::string up_to_nul(std::string text) {
  text.resize(::strnlen(text.data(), text.size()));
  return text;
}

}  // namespace

// What pax records say about one member.
struct Reader::Pax {
  std::optional<std::string> path;
  std::optional<std::string> link;
  std::optional<uint64_t> size;
  std::optional<uint64_t> uid;
  std::optional<uint64_t> gid;
  std::optional<timespec> mtime;
  std::vector<std::pair<std::string, std::string>> xattrs;
  // GNU.sparse.*
  uint64_t sparse_major = 0;
  uint64_t sparse_minor = 0;
  bool sparse = false;
  std::optional<std::string> sparse_name;
  std::optional<uint64_t> sparse_real_size;
  std::vector<uint64_t> sparse_numbers;  // offset, size, offset, size, …

  Status apply(const std::string& key, const std::string& value);
};

Status Reader::Pax::apply(const std::string& key, const std::string& value) {
  // An empty value takes the record back (pax(1), "pax Extended Header").
  auto text = [&](std::optional<std::string>& out) -> Status {
    if (value.find('\0') != std::string::npos) return invalid("pax record {} has a NUL byte", key);
    value.empty() ? out.reset() : void(out = value);
    return {};
  };
  auto number = [&](std::optional<uint64_t>& out) -> Status {
    if (value.empty()) {
      out.reset();
    } else {
      out = TRY(parse_decimal(value).context("pax record {}", key));
    }
    return {};
  };
  constexpr std::string_view kXattr = "SCHILY.xattr.";
  if (key == "path") return text(path);
  if (key == "linkpath") return text(link);
  if (key == "size") return number(size);
  if (key == "uid") return number(uid);
  if (key == "gid") return number(gid);
  if (key == "mtime") {
    if (value.empty()) {
      mtime.reset();
    } else {
      mtime = TRY(parse_pax_time(value).context("pax record mtime"));
    }
    return {};
  }
  if (key.starts_with(kXattr)) {
    std::string name = key.substr(kXattr.size());
    std::erase_if(xattrs, [&](const auto& xattr) { return xattr.first == name; });
    xattrs.emplace_back(std::move(name), value);
    return {};
  }
  if (!key.starts_with("GNU.sparse.")) return {};
  sparse = true;
  std::string_view what = std::string_view(key).substr(11);
  if (what == "name") return text(sparse_name);
  if (what == "size" || what == "realsize") return number(sparse_real_size);
  if (what == "major") {
    sparse_major = TRY(parse_decimal(value));
  } else if (what == "minor") {
    sparse_minor = TRY(parse_decimal(value));
  } else if (what == "offset" || what == "numbytes") {
    sparse_numbers.push_back(TRY(parse_decimal(value)));
  } else if (what == "map") {
    sparse_numbers.clear();
    for (size_t at = 0; at < value.size();) {
      size_t comma = std::min(value.find(',', at), value.size());
      sparse_numbers.push_back(TRY(parse_decimal(std::string_view(value).substr(at, comma - at))));
      at = comma + 1;
    }
  }
  if (sparse_numbers.size() > 2 * kMaxExtents) return invalid("sparse map is too long");
  return {};
}

namespace {

// "LENGTH KEY=VALUE\n", LENGTH counting the whole record.
Status parse_records(std::string_view text, std::vector<std::pair<std::string, std::string>>& out) {
  while (!text.empty()) {
    size_t blank = text.find(' ');
    if (blank == std::string_view::npos || blank > 10) return invalid("malformed pax header");
    uint64_t length = TRY(parse_decimal(text.substr(0, blank)));
    if (length <= blank + 2 || length > text.size() || text[length - 1] != '\n')
      return invalid("malformed pax header");
    std::string_view record = text.substr(blank + 1, length - blank - 2);
    size_t equals = record.find('=');
    if (equals == 0 || equals == std::string_view::npos) return invalid("malformed pax header");
    out.emplace_back(record.substr(0, equals), record.substr(equals + 1));
    text.remove_prefix(length);
  }
  return {};
}

}  // namespace

Reader::Reader(ByteSource& source, RawObserver* observer)
    : source_(source), observer_(observer), buffer_(kBufferSize) {}

Status Reader::fill() {
  if (begin_ != end_ || ended_) return {};
  begin_ = 0;
  end_ = TRY(source_.read(buffer_));
  fetched_ += end_;
  ended_ = end_ == 0;
  return {};
}

Result<bool> Reader::read_block() {
  size_t done = 0;
  while (done < kBlockSize) {
    TRY(fill());
    if (ended_) {
      if (done == 0) return false;
      return truncated();
    }
    size_t size = std::min(kBlockSize - done, end_ - begin_);
    std::memcpy(block_ + done, buffer_.data() + begin_, size);
    begin_ += size;
    done += size;
  }
  if (observer_) TRY(observer_->literal({block_, kBlockSize}));
  return true;
}

Status Reader::consume_literal(uint64_t size) {
  while (size > 0) {
    TRY(fill());
    if (ended_) return truncated();
    size_t part = static_cast<size_t>(std::min<uint64_t>(size, end_ - begin_));
    if (observer_) TRY(observer_->literal({buffer_.data() + begin_, part}));
    begin_ += part;
    size -= part;
  }
  return {};
}

Result<std::string> Reader::read_special(uint64_t size, std::string_view what) {
  if (size > kMaxSpecialSize) return invalid("{} of {} bytes is too long", what, size);
  std::string out;
  out.reserve(size);
  while (out.size() < size) {
    TRY(fill());
    if (ended_) return truncated();
    size_t part = std::min<size_t>(size - out.size(), end_ - begin_);
    if (observer_) TRY(observer_->literal({buffer_.data() + begin_, part}));
    out.append(buffer_.data() + begin_, part);
    begin_ += part;
  }
  TRY(consume_literal(padding_of(size)));
  return out;
}

Result<std::string_view> Reader::payload() {
  if (payload_left_ == 0) return std::string_view();
  TRY(fill());
  if (ended_) return truncated();
  size_t part = static_cast<size_t>(std::min<uint64_t>(payload_left_, end_ - begin_));
  std::string_view piece(buffer_.data() + begin_, part);
  if (observer_) TRY(observer_->payload(piece));
  begin_ += part;
  payload_left_ -= part;
  return piece;
}

Status Reader::skip_padding() {
  while (payload_left_ > 0) TRY(payload());
  return consume_literal(std::exchange(padding_, 0));
}

Status Reader::finish() {
  TRY(skip_padding());
  for (;;) {
    TRY(fill());
    if (ended_) return {};
    TRY(consume_literal(end_ - begin_));
  }
}

Result<std::optional<Entry>> Reader::next() {
  TRY(skip_padding());
  payload_total_ = 0;
  std::vector<std::pair<std::string, std::string>> records;
  std::string long_name;
  std::string long_link;
  for (int headers = 0; headers < kMaxHeadersPerMember; ++headers) {
    bool got = TRY(read_block());
    if (!got || is_zero(block_)) {
      if (headers > 0) return truncated();
      return std::optional<Entry>();
    }
    Result<int64_t> sum = number_field(block_, kChecksum);  // of what is no archive, mostly none
    Checksums sums = checksum(block_);
    if (!sum || (*sum != sums.as_unsigned && *sum != sums.as_signed))
      return invalid("invalid tar header");
    char type = block_[kType.offset];
    if (type != 'x' && type != 'g' && type != 'L' && type != 'K') {
      Pax pax;
      for (const auto& [key, value] : global_) TRY(pax.apply(key, value));
      for (const auto& [key, value] : records) TRY(pax.apply(key, value));
      Entry entry = TRY(decode(pax, std::move(long_name), std::move(long_link)));
      return std::optional<Entry>(std::move(entry));
    }
    int64_t size = TRY(number_field(block_, kSize).context("tar header size"));
    if (size < 0) return invalid("tar header size: negative");
    if (type == 'L') {
      long_name = up_to_nul(TRY(read_special(size, "name")));
    } else if (type == 'K') {
      long_link = up_to_nul(TRY(read_special(size, "link")));
    } else {
      std::string text = TRY(read_special(size, "pax header"));
      if (type == 'x') {
        TRY(parse_records(text, records));
      } else {
        global_.clear();
        TRY(parse_records(text, global_));
      }
    }
  }
  return invalid("too many headers before one member");
}

Result<Entry> Reader::decode(const Pax& pax, std::string long_name, std::string long_link) {
  Entry entry;
  std::string_view magic(block_ + kMagic.offset, kMagic.size);
  bool is_gnu = magic == std::string_view("ustar  \0", 8);
  entry.path = text_field(block_, kName);
  if (std::string_view prefix = text_field(block_, kPrefix);
      magic.starts_with(std::string_view("ustar\0", 6)) && !prefix.empty())
    entry.path = fmt::format("{}/{}", prefix, entry.path);
  if (!long_name.empty()) entry.path = std::move(long_name);
  if (pax.path) entry.path = *pax.path;
  if (pax.sparse_name) entry.path = *pax.sparse_name;
  entry.link = text_field(block_, kLink);
  if (!long_link.empty()) entry.link = std::move(long_link);
  if (pax.link) entry.link = *pax.link;
  std::string context = fmt::format("tar member \"{}\"", entry.path.substr(0, 256));
  auto field = [&](HeaderField which) {
    return number_field(block_, which).context("{}", context);
  };

  entry.mode = static_cast<mode_t>(TRY(field(kMode))) & 07777;
  int64_t uid = pax.uid ? static_cast<int64_t>(*pax.uid) : TRY(field(kUid));
  int64_t gid = pax.gid ? static_cast<int64_t>(*pax.gid) : TRY(field(kGid));
  constexpr int64_t kMaxId = std::numeric_limits<uint32_t>::max() - int64_t{1};
  if (uid < 0 || uid > kMaxId || gid < 0 || gid > kMaxId)
    return invalid("{}: owner {}:{} is out of range", context, uid, gid);
  entry.uid = static_cast<uid_t>(uid);
  entry.gid = static_cast<gid_t>(gid);
  entry.mtime.tv_sec = TRY(field(kMtime));
  if (pax.mtime) entry.mtime = *pax.mtime;
  entry.xattrs = pax.xattrs;
  int64_t size = pax.size ? static_cast<int64_t>(*pax.size) : TRY(field(kSize));
  if (size < 0) return invalid("{}: negative size", context);

  char type = block_[kType.offset];
  switch (type) {
    case '\0':
    case '0':
    case '7':  // contiguous: regular
    case 'S':
      // Before ustar, a directory was a file whose name ends in a slash.
      entry.type = type != 'S' && entry.path.ends_with('/') ? Type::directory : Type::regular;
      break;
    case '1':
      entry.type = Type::hardlink;
      break;
    case '2':
      entry.type = Type::symlink;
      break;
    case '3':
    case '4':
      entry.type = type == '3' ? Type::char_device : Type::block_device;
      entry.major = static_cast<unsigned>(TRY(field(kMajor)));
      entry.minor = static_cast<unsigned>(TRY(field(kMinor)));
      break;
    case '5':
      entry.type = Type::directory;
      break;
    case '6':
      entry.type = Type::fifo;
      break;
    default:
      return invalid(
          "{}: unknown type '{}'", context,
          type >= ' ' && type < 127 ? std::string(1, type) : fmt::format("\\x{:02x}", type & 0xff));
  }
  // Only regular files have contents; a size on a link or a directory says nothing (as in other
  // readers).
  payload_total_ = payload_left_ = entry.type == Type::regular ? size : 0;
  padding_ = padding_of(payload_left_);
  entry.size = payload_left_;
  if (type == 'S' && is_gnu) {
    TRY(decode_gnu_sparse(entry).context("{}", context));
  } else if (pax.sparse && entry.type == Type::regular) {
    TRY(decode_pax_sparse(entry, pax).context("{}", context));
  }
  return entry;
}

Status Reader::decode_gnu_sparse(Entry& entry) {
  std::vector<Extent> extents;
  auto take = [&](const char* block, size_t offset, int count) -> Status {
    for (int i = 0; i < count; ++i, offset += 24) {
      if (block[offset] == 0) break;
      int64_t at = TRY(number_field(block, {offset, 12}));
      int64_t size = TRY(number_field(block, {offset + 12, 12}));
      if (at < 0 || size < 0 || extents.size() >= kMaxExtents)
        return invalid("malformed sparse map");
      extents.push_back({static_cast<uint64_t>(at), static_cast<uint64_t>(size)});
    }
    return {};
  };
  int64_t real_size = TRY(number_field(block_, kGnuRealSize));
  if (real_size < 0) return invalid("malformed sparse map");
  bool more = block_[kGnuSparseExtended] != 0;
  TRY(take(block_, kGnuSparse, 4));
  while (more) {
    bool got = TRY(read_block());
    if (!got) return truncated();
    more = block_[kGnuMoreExtended] != 0;
    TRY(take(block_, 0, 21));
  }
  entry.size = static_cast<uint64_t>(real_size);
  TRY(check_extents(extents, entry.size, payload_total_));
  entry.extents = std::move(extents);
  return {};
}

Status Reader::decode_pax_sparse(Entry& entry, const Pax& pax) {
  if (!pax.sparse_real_size) return invalid("sparse file without a size");
  std::vector<Extent> extents;
  if (pax.sparse_major == 1 && pax.sparse_minor == 0) {
    extents = TRY(read_sparse_map_v1());
  } else if (pax.sparse_major == 0) {
    if (pax.sparse_numbers.size() % 2 != 0) return invalid("malformed sparse map");
    for (size_t i = 0; i < pax.sparse_numbers.size(); i += 2)
      extents.push_back({pax.sparse_numbers[i], pax.sparse_numbers[i + 1]});
  } else {
    return invalid("sparse format {}.{} is not known", pax.sparse_major, pax.sparse_minor);
  }
  entry.size = *pax.sparse_real_size;
  TRY(check_extents(extents, entry.size, payload_total_));
  entry.extents = std::move(extents);
  return {};
}

// Format 1.0: the payload begins with decimal numbers, one a line (how many extents, then offset
// and size of each), padded to a block.
Result<std::vector<Extent>> Reader::read_sparse_map_v1() {
  std::vector<uint64_t> numbers;
  std::string digits;
  size_t wanted = 1;
  while (numbers.size() < wanted) {
    if (payload_left_ < kBlockSize) return invalid("malformed sparse map");
    bool got = TRY(read_block());
    if (!got) return truncated();
    payload_left_ -= kBlockSize;
    for (char c : std::string_view(block_, kBlockSize)) {
      if (c != '\n') {
        digits += c;
        if (digits.size() > 20) return invalid("malformed sparse map");
        continue;
      }
      numbers.push_back(TRY(parse_decimal(digits)));
      digits.clear();
      if (numbers.size() == 1) {
        if (numbers[0] > kMaxExtents) return invalid("sparse map is too long");
        wanted = 1 + 2 * numbers[0];
      }
      if (numbers.size() == wanted) break;
    }
  }
  payload_total_ = payload_left_;
  std::vector<Extent> extents;
  for (size_t i = 1; i < numbers.size(); i += 2) extents.push_back({numbers[i], numbers[i + 1]});
  return extents;
}

}  // namespace gantry::tar

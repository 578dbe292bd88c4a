#include "drivers/graph/member_log.h"

#include <algorithm>
#include <cstring>

#include "base/sys.h"
#include "drivers/graph/erofs_format.h"

namespace gantry::drivers {
namespace {

constexpr size_t kFlushAt = 256 << 10;

struct Head {
  uint32_t what;
  uint32_t type;
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
  uint32_t mtime_nsec;
  int64_t mtime;
  uint64_t size;
  uint32_t device_number;
  uint32_t chunk_bits;
  uint32_t path_size;
  uint32_t link_size;
  uint32_t xattrs_size;
  uint32_t chunks_size;
};

struct XattrPrefix {
  std::string_view prefix;
  uint8_t index;
  bool whole;  // the prefix is the name
};
constexpr XattrPrefix kXattrPrefixes[] = {{"user.", 1, false},
                                          {"system.posix_acl_access", 2, true},
                                          {"system.posix_acl_default", 3, true},
                                          {"trusted.", 4, false},
                                          {"security.", 6, false}};

const XattrPrefix* prefix_of(std::string_view name) {
  for (const XattrPrefix& known : kXattrPrefixes)
    if (known.whole ? name == known.prefix
                    : name.starts_with(known.prefix) && name.size() > known.prefix.size())
      return &known;
  return nullptr;
}

uint32_t size_of(std::string_view text) { return static_cast<uint32_t>(text.size()); }

}  // namespace

void append_xattr(std::string& out, uint8_t prefix, std::string_view name, std::string_view value) {
  erofs::XattrEntry entry{static_cast<uint8_t>(name.size()), prefix,
                          static_cast<uint16_t>(value.size())};
  out.append(reinterpret_cast<const char*>(&entry), sizeof entry);
  out += name;
  out += value;
  out.resize((out.size() + 3) / 4 * 4);
}

Result<std::string> encode_xattrs(const std::vector<std::pair<std::string, std::string>>& xattrs,
                                  tar::Type type, std::string& left_out) {
  std::string out;
  for (const auto& [name, value] : xattrs) {
    const XattrPrefix* known = prefix_of(name);
    bool stored =
        known && (known->index != 1 || type == tar::Type::regular || type == tar::Type::directory);
    if (!stored) {
      left_out = name.substr(0, 256);
      continue;
    }
    std::string_view rest = std::string_view(name).substr(known->prefix.size());
    if (rest.size() > 255 || value.size() > UINT16_MAX)
      return invalid("the attribute {} is too long", name.substr(0, 256));
    append_xattr(out, known->index, rest, value);
  }
  // Room for the mark of an opaque directory.
  if (out.size() > erofs::kMaxXattrs - 64) return invalid("its attributes are too long");
  return out;
}

Status MemberLogWriter::add(const LoggedMember& member) {
  Head head{static_cast<uint32_t>(member.member.what),
            static_cast<uint32_t>(member.type),
            member.mode,
            member.uid,
            member.gid,
            member.mtime_nsec,
            member.mtime,
            member.size,
            member.device_number,
            member.chunk_bits,
            size_of(member.member.path),
            size_of(member.link),
            size_of(member.xattrs),
            size_of(member.chunks)};
  buffer_.append(reinterpret_cast<const char*>(&head), sizeof head);
  buffer_ += member.member.path;
  buffer_ += member.link;
  buffer_ += member.xattrs;
  buffer_ += member.chunks;
  return buffer_.size() < kFlushAt ? Status() : flush();
}

Status MemberLogWriter::flush() {
  TRY(sys::write_all(file_.get(), buffer_));
  buffer_.clear();
  return {};
}

Status MemberLogReader::take(void* into, size_t size) {
  char* out = static_cast<char*>(into);
  while (size > 0) {
    if (begin_ == end_) {
      begin_ = 0;
      end_ = TRY(sys::pread(fd_, buffer_.data(), buffer_.size(), static_cast<off_t>(fetched_)));
      if (end_ == 0) return internal("the list of a layer's members ends early");
      fetched_ += end_;
    }
    size_t part = std::min(size, end_ - begin_);
    std::memcpy(out, buffer_.data() + begin_, part);
    begin_ += part;
    out += part;
    size -= part;
  }
  return {};
}

Status MemberLogReader::take(std::string& into, size_t size, uint64_t& at) {
  at = fetched_ - (end_ - begin_);
  into.resize(size);
  return take(into.data(), size);
}

Result<std::optional<LoggedMember>> MemberLogReader::next() {
  if (begin_ == end_) {
    begin_ = 0;
    end_ = TRY(sys::pread(fd_, buffer_.data(), buffer_.size(), static_cast<off_t>(fetched_)));
    if (end_ == 0) return std::optional<LoggedMember>();
    fetched_ += end_;
  }
  Head head;
  TRY(take(&head, sizeof head));
  LoggedMember out;
  out.member.what = static_cast<Member::What>(head.what);
  out.type = static_cast<tar::Type>(head.type);
  out.mode = head.mode;
  out.uid = head.uid;
  out.gid = head.gid;
  out.mtime = head.mtime;
  out.mtime_nsec = head.mtime_nsec;
  out.size = head.size;
  out.device_number = head.device_number;
  out.chunk_bits = head.chunk_bits;
  uint64_t path_at = 0;
  TRY(take(out.member.path, head.path_size, path_at));
  TRY(take(out.link, head.link_size, out.link_at));
  TRY(take(out.xattrs, head.xattrs_size, out.xattrs_at));
  TRY(take(out.chunks, head.chunks_size, out.chunks_at));
  return std::optional<LoggedMember>(std::move(out));
}

}  // namespace gantry::drivers

// The members of a layer archive as the EROFS driver takes them in: read from the stream once, kept
// in a file of the layer's directory until its index is made.
#pragma once

#include <optional>
#include <string>

#include "base/byte_source.h"
#include "base/tar.h"
#include "base/unique_fd.h"
#include "drivers/graph/member.h"

namespace gantry::drivers {

// One member, decoded. `xattrs` and `chunks` are in the form in which the index holds them.
struct LoggedMember {
  Member member;
  std::string link;  // of a symbolic or hard link
  tar::Type type = tar::Type::regular;
  uint32_t mode = 0;  // permission bits, set-id bits, sticky bit
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime = 0;
  uint32_t mtime_nsec = 0;
  uint64_t size = 0;
  uint32_t device_number = 0;  // as new_encode_dev() of the kernel
  uint32_t chunk_bits = 0;     // beyond the block's
  std::string xattrs;
  std::string chunks;
  // Where the three strings lie in the log.
  uint64_t link_at = 0;
  uint64_t xattrs_at = 0;
  uint64_t chunks_at = 0;
};

class MemberLogWriter {
 public:
  explicit MemberLogWriter(UniqueFd file) : file_(std::move(file)) {}
  Status add(const LoggedMember& member);
  Status flush();

 private:
  UniqueFd file_;
  std::string buffer_;
};

class MemberLogReader {
 public:
  explicit MemberLogReader(int borrowed) : fd_(borrowed), buffer_(256 << 10, '\0') {}
  Result<std::optional<LoggedMember>> next();

 private:
  Status take(void* into, size_t size);
  Status take(std::string& into, size_t size, uint64_t& at);

  int fd_;
  std::string buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t fetched_ = 0;
};

// The attributes of a file, directory or link as an EROFS inode holds them. Names that no file
// system here would store on such a file are left out; the last of them goes to `left_out`.
// `invalid` when they do not fit.
Result<std::string> encode_xattrs(const std::vector<std::pair<std::string, std::string>>& xattrs,
                                  tar::Type type, std::string& left_out);
void append_xattr(std::string& out, uint8_t prefix, std::string_view name, std::string_view value);

}  // namespace gantry::drivers

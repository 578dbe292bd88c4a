// Tar archives, read and written as streams: ustar (POSIX.1-1988), pax (POSIX.1-2001, pax(1)) and
// the GNU extensions (long names, base-256 numbers, sparse files; info tar, "Tar Internals"). Bytes
// an archive holds are hostile: memory is bounded by kMaxSpecialSize whatever it says, and a name
// is just text here; what it may lead to is the business of whoever unpacks.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/byte_source.h"
#include "base/result.h"

namespace gantry::tar {

inline constexpr size_t kBlockSize = 512;
// The longest pax header, GNU long name or sparse map that is taken.
inline constexpr size_t kMaxSpecialSize = 1u << 20;

enum class Type { regular, hardlink, symlink, char_device, block_device, directory, fifo };

struct Extent {
  uint64_t offset = 0;
  uint64_t size = 0;
};

struct Entry {
  std::string path;  // as written; a directory may end in "/"
  std::string link;  // hardlink: path of another member; symlink: target
  Type type = Type::regular;
  mode_t mode = 0;  // permission bits, set-id bits and sticky bit only
  uid_t uid = 0;
  gid_t gid = 0;
  timespec mtime = {};
  uint64_t size = 0;  // of the file, holes included; 0 for everything but regular files
  unsigned major = 0;
  unsigned minor = 0;
  std::vector<std::pair<std::string, std::string>> xattrs;
  // Of a sparse file: where its data goes, ascending and without overlaps; the payload is the data
  // alone.
  std::optional<std::vector<Extent>> extents;
};

// Sees every byte of the archive once and in order, told apart.
class RawObserver {
 public:
  virtual ~RawObserver() = default;
  virtual Status literal(std::string_view bytes) = 0;  // headers, padding, sparse maps, trailer
  virtual Status payload(std::string_view bytes) = 0;  // contents of the member given out last
};

// Not thread-safe. The source is borrowed. After an error only destruction makes sense.
class Reader {
 public:
  explicit Reader(ByteSource& source, RawObserver* observer = nullptr);

  // The next member (what is left of the payload before it is passed over); nothing at the end of
  // the archive. A stream that ends inside a member is `invalid`: "unexpected end of archive"; one
  // that ends between members without the zero blocks is taken, as other readers do.
  Result<std::optional<Entry>> next();
  // The next piece of the current member's payload, valid until the next call; "" when it is done.
  Result<std::string_view> payload();
  // Passes over the trailer and whatever follows, so that the source has been read to its end.
  Status finish();
  // Bytes of payload that the current member holds in the archive (for a sparse file less than its
  // size).
  uint64_t payload_size() const { return payload_total_; }
  // How far the archive was read: right after next(), where the payload begins.
  uint64_t position() const { return fetched_ - (end_ - begin_); }

 private:
  struct Pax;
  Result<bool> read_block();  // into block_; false at the end of the stream
  Result<std::string> read_special(uint64_t size, std::string_view what);
  Status fill();
  Status skip_padding();
  Status consume_literal(uint64_t size);
  Result<Entry> decode(const Pax& pax, std::string long_name, std::string long_link);
  Status decode_gnu_sparse(Entry& entry);
  Status decode_pax_sparse(Entry& entry, const Pax& pax);
  Result<std::vector<Extent>> read_sparse_map_v1();

  ByteSource& source_;
  RawObserver* observer_;
  std::vector<char> buffer_;
  size_t begin_ = 0;  // unread bytes are buffer_[begin_, end_)
  size_t end_ = 0;
  bool ended_ = false;
  uint64_t fetched_ = 0;  // bytes that the source has given
  char block_[kBlockSize];
  uint64_t payload_left_ = 0;
  uint64_t payload_total_ = 0;
  size_t padding_ = 0;
  std::vector<std::pair<std::string, std::string>>
      global_;  // pax global records, in force from here on
};

// Writes ustar headers, with a pax header before them for whatever does not fit. The bytes depend
// on the entries alone. Not thread-safe. The sink is borrowed.
class Writer {
 public:
  explicit Writer(ByteSink& sink) : sink_(sink) {}

  // A member; for a regular file `entry.size` bytes of write() calls follow, then the next begin()
  // or finish(). More or fewer is `internal`. Sparse extents are not written: give the whole
  // contents.
  Status begin(const Entry& entry);
  Status write(std::string_view bytes);
  Status add(const Entry& entry, std::string_view contents);
  // The two zero blocks. Without it the archive is not complete.
  Status finish();

 private:
  Status end_member();

  ByteSink& sink_;
  uint64_t left_ = 0;
  size_t padding_ = 0;
};

// The path without empty and "." components and with ".." taken lexically: "./a//b/../c/" is "a/c",
// the archive's root "". Nothing when it leads above the root or is longer than PATH_MAX.
std::optional<std::string> clean_path(std::string_view path);

}  // namespace gantry::tar

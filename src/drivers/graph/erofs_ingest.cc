#include <fcntl.h>

#include <algorithm>
#include <bit>

#include "base/log.h"
#include "base/page_cache.h"
#include "base/sys.h"
#include "base/tar.h"
#include "drivers/graph/erofs_format.h"
#include "drivers/graph/erofs_layer.h"

namespace gantry::drivers {
namespace {

constexpr int kCreateNew = O_RDWR | O_CREAT | O_EXCL;
// Of a sparse file; the larger the file, the larger the chunks.
constexpr uint64_t kMaxSparseChunks = 16384;
constexpr size_t kMaxLink = 4095;  // PATH_MAX without its NUL
constexpr unsigned kMaxMajor = 0xFFF;
constexpr unsigned kMaxMinor = 0xFFFFF;

// What is read is also written to a file.
class KeptSource final : public ByteSource {
 public:
  KeptSource(ByteSource& source, int file) : source_(source), file_(file) {}
  Result<size_t> read(std::span<char> into) override {
    size_t got = TRY(source_.read(into));
    TRY(sys::write_all(file_, {into.data(), got}));
    size_ += got;
    // Else the disk would idle until the closing sync, and that wait for all of it.
    if (size_ - flushed_ >= kFlushEvery) {
      start_write_back(file_, flushed_, size_ - flushed_);
      flushed_ = size_;
    }
    return got;
  }
  uint64_t size() const { return size_; }

 private:
  ByteSource& source_;
  static constexpr uint64_t kFlushEvery = 16u << 20;
  int file_;
  uint64_t size_ = 0;
  uint64_t flushed_ = 0;
};

void append_chunk(std::string& chunks, uint16_t device, uint64_t block) {
  erofs::ChunkIndex index{0, device, static_cast<uint32_t>(block)};
  chunks.append(reinterpret_cast<const char*>(&index), sizeof index);
}

// Chunks as large as possible: mostly one for a file.
void append_run(LoggedMember& member, uint16_t device, uint64_t offset) {
  uint64_t blocks = (member.size + erofs::kBlock - 1) / erofs::kBlock;
  member.chunk_bits =
      std::min<uint32_t>(static_cast<uint32_t>(std::bit_width(blocks - 1)), erofs::kMaxChunkBits);
  for (uint64_t at = 0; at < blocks; at += uint64_t{1} << member.chunk_bits)
    append_chunk(member.chunks, device, offset / erofs::kBlock + at);
}

class Ingester {
 public:
  Ingester(int directory, ByteSource& source, UniqueFd tar, UniqueFd log)
      : directory_(directory),
        tar_(std::move(tar)),
        kept_(source, tar_.get()),
        reader_(kept_),
        log_(std::move(log)) {}

  Result<uint64_t> run() {
    for (;;) {
      std::optional<tar::Entry> entry = TRY(reader_.next());
      if (!entry) break;
      TRY(take(*entry).context("layer member \"{}\"", entry->path.substr(0, 256)));
    }
    TRY(reader_.finish());
    if (kept_.size() > erofs::kMaxDevice) return invalid("a layer of more than 2 TiB");
    TRY(log_.flush());
    return size_;
  }

 private:
  Status take(const tar::Entry& entry) {
    LoggedMember out;
    out.member = TRY(classify(entry));
    if (out.member.what == Member::What::nothing) return {};
    bool has_attributes =
        out.member.what == Member::What::root || out.member.what == Member::What::file;
    if (has_attributes) TRY(take_attributes(entry, out));
    if (out.member.what == Member::What::file && entry.type == tar::Type::regular)
      TRY(take_contents(entry, out));
    return log_.add(out);
  }

  Status take_attributes(const tar::Entry& entry, LoggedMember& out) {
    out.type = entry.type;
    out.mode = entry.mode;
    out.uid = entry.uid;
    out.gid = entry.gid;
    out.mtime = entry.mtime.tv_sec;
    out.mtime_nsec = static_cast<uint32_t>(entry.mtime.tv_nsec);
    out.link = entry.link;
    std::string left_out;
    out.xattrs = TRY(encode_xattrs(entry.xattrs, entry.type, left_out));
    if (!left_out.empty() && !std::exchange(warned_, true))
      log::warn("layer member \"{}\": the attribute {} is not kept", entry.path.substr(0, 256),
                left_out);
    bool device = entry.type == tar::Type::char_device || entry.type == tar::Type::block_device;
    if (device) {
      if (entry.major > kMaxMajor || entry.minor > kMaxMinor)
        return invalid("there is no device {}/{}", entry.major, entry.minor);
      out.device_number =
          (entry.minor & 0xFF) | (entry.major << 8) | ((entry.minor & ~0xFFu) << 12);
    }
    if (entry.type == tar::Type::symlink) {
      if (entry.link.empty()) return invalid("a symbolic link to nothing");
      if (entry.link.size() > kMaxLink) return errno_error(ENAMETOOLONG, "its target");
      out.size = entry.link.size();
    }
    return {};
  }

  Status take_contents(const tar::Entry& entry, LoggedMember& out) {
    size_ += reader_.payload_size();
    out.size = entry.size;
    if (entry.size == 0) return {};
    if (entry.extents) return take_sparse(entry, out);
    append_run(out, erofs::kTarDevice, reader_.position());
    return {};
  }

  // Laid out in the side file as it is in the layer, with its holes.
  Status take_sparse(const tar::Entry& entry, LoggedMember& out) {
    if (!side_.valid()) side_ = TRY(sys::openat(directory_, kSideName, kCreateNew, 0600));
    uint64_t blocks = (entry.size + erofs::kBlock - 1) / erofs::kBlock;
    if (blocks > erofs::kNoBlock - side_size_ / erofs::kBlock - 1)
      return invalid("sparse files of more than 2 TiB in one layer");
    uint64_t begin = side_size_;
    uint64_t per_chunk = 1;
    while (blocks / per_chunk >= kMaxSparseChunks) {
      per_chunk *= 2;
      ++out.chunk_bits;
    }
    uint64_t next = 0;  // chunk
    auto holes_up_to = [&](uint64_t chunk) {
      for (; next < chunk; ++next) append_chunk(out.chunks, 0, erofs::kNoBlock);
    };
    std::string_view piece;
    uint64_t chunk_size = per_chunk * erofs::kBlock;
    for (tar::Extent extent : *entry.extents) {
      if (extent.size == 0) continue;
      holes_up_to(extent.offset / chunk_size);
      for (; next <= (extent.offset + extent.size - 1) / chunk_size; ++next)
        append_chunk(out.chunks, erofs::kSideDevice, begin / erofs::kBlock + next * per_chunk);
      while (extent.size > 0) {
        if (piece.empty()) piece = TRY(reader_.payload());
        size_t part = static_cast<size_t>(std::min<uint64_t>(extent.size, piece.size()));
        TRY(sys::pwrite_all(side_.get(), piece.substr(0, part),
                            static_cast<off_t>(begin + extent.offset)));
        piece.remove_prefix(part);
        extent.offset += part;
        extent.size -= part;
      }
    }
    holes_up_to((blocks + per_chunk - 1) / per_chunk);
    side_size_ = begin + blocks * erofs::kBlock;
    return sys::ftruncate(side_.get(), static_cast<off_t>(side_size_));
  }

  int directory_;
  UniqueFd tar_;
  KeptSource kept_;
  tar::Reader reader_;
  MemberLogWriter log_;
  UniqueFd side_;
  uint64_t side_size_ = 0;
  uint64_t size_ = 0;
  bool warned_ = false;
};

}  // namespace

Result<uint64_t> ingest_archive(int directory, ByteSource& archive) {
  UniqueFd tar = TRY(sys::openat(directory, kTarName, kCreateNew, 0600));
  UniqueFd log = TRY(sys::openat(directory, kLogName, kCreateNew, 0600));
  return Ingester(directory, archive, std::move(tar), std::move(log)).run();
}

}  // namespace gantry::drivers

#include "drivers/graph/tar_split.h"

#include <fcntl.h>
#include <zstd.h>

#include <algorithm>
#include <vector>

#include "base/sys.h"

namespace gantry::drivers {
namespace {

constexpr size_t kLiteralLimit = 64 << 10;
constexpr size_t kMaxRecord = 128 << 10;

void put_varint(std::string& out, uint64_t value) {
  do {
    out += static_cast<char>((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    value >>= 7;
  } while (value != 0);
}

Result<uint64_t> take_varint(std::string_view& in) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (in.empty()) break;
    auto byte = static_cast<unsigned char>(in.front());
    in.remove_prefix(1);
    value |= uint64_t{byte & 0x7fu} << shift;
    if (!(byte & 0x80)) return value;
  }
  return internal("the record of a layer's archive is damaged");
}

struct FreeCompressor {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

}  // namespace

struct SplitRecorder::Compressor {
  std::unique_ptr<ZSTD_CCtx, FreeCompressor> context{ZSTD_createCCtx()};
  std::vector<char> buffer = std::vector<char>(ZSTD_CStreamOutSize());
};

SplitRecorder::SplitRecorder(ByteSink& out)
    : out_(out), compressor_(std::make_unique<Compressor>()) {
  ZSTD_CCtx_setParameter(compressor_->context.get(), ZSTD_c_compressionLevel, 1);
  ZSTD_CCtx_setParameter(compressor_->context.get(), ZSTD_c_checksumFlag, 1);
}

SplitRecorder::~SplitRecorder() = default;

Status SplitRecorder::compress(std::string_view bytes, bool last) {
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  for (;;) {
    ZSTD_outBuffer out{compressor_->buffer.data(), compressor_->buffer.size(), 0};
    size_t left = ZSTD_compressStream2(compressor_->context.get(), &out, &in,
                                       last ? ZSTD_e_end : ZSTD_e_continue);
    if (ZSTD_isError(left)) return internal("zstd: {}", ZSTD_getErrorName(left));
    TRY(out_.write({compressor_->buffer.data(), out.pos}));
    if (last ? left == 0 : in.pos == in.size) return {};
  }
}

Status SplitRecorder::emit(char kind, std::string_view bytes) {
  std::string head(1, kind);
  put_varint(head, bytes.size());
  TRY(compress(head, false));
  return compress(bytes, false);
}

Status SplitRecorder::flush_literal() {
  if (pending_.empty()) return {};
  TRY(emit('L', pending_));
  pending_.clear();
  return {};
}

Status SplitRecorder::literal(std::string_view bytes) {
  while (!bytes.empty()) {
    size_t part = std::min(bytes.size(), kLiteralLimit - pending_.size());
    pending_.append(bytes.substr(0, part));
    bytes.remove_prefix(part);
    if (pending_.size() == kLiteralLimit) TRY(flush_literal());
  }
  return {};
}

Status SplitRecorder::payload(std::string_view bytes) {
  size_t referenced = static_cast<size_t>(std::min<uint64_t>(referenced_left_, bytes.size()));
  referenced_left_ -= referenced;
  return literal(bytes.substr(referenced));
}

Status SplitRecorder::reference(const std::string& path, uint64_t inode, uint64_t size) {
  TRY(flush_literal());
  std::string bytes;
  put_varint(bytes, inode);
  put_varint(bytes, size);
  bytes += path;
  referenced_left_ = size;
  return emit('F', bytes);
}

Status SplitRecorder::finish() {
  TRY(flush_literal());
  return compress({}, true);
}

namespace {

class SplitSource final : public ByteSource {
 public:
  SplitSource(UniqueFd record, UniqueFd root, UniqueFd scratch)
      : record_(std::move(record)),
        root_(std::move(root)),
        scratch_(std::move(scratch)),
        context_(ZSTD_createDCtx()),
        in_buffer_(ZSTD_DStreamInSize()) {}

  Result<size_t> read(std::span<char> into) override {
    for (;;) {
      if (literal_left_ > 0) {
        size_t size = static_cast<size_t>(std::min<uint64_t>(into.size(), literal_left_));
        TRY(decompress_exactly(into.data(), size));
        literal_left_ -= size;
        return size;
      }
      if (file_left_ > 0) {
        size_t size = static_cast<size_t>(std::min<uint64_t>(into.size(), file_left_));
        size_t got = TRY(sys::read(file_.get(), into.data(), size));
        if (got == 0) return internal("a file of the layer is shorter than it was");
        file_left_ -= got;
        return got;
      }
      bool more = TRY(next_record());
      if (!more) return size_t{0};
    }
  }

 private:
  Result<bool> next_record() {
    char kind;
    size_t got = TRY(decompress(&kind, 1));
    if (got == 0) return false;
    uint64_t length = TRY(read_length());
    if (kind == 'L') {
      literal_left_ = length;
      return true;
    }
    if (kind != 'F' || length > kMaxRecord)
      return internal("the record of a layer's archive is damaged");
    std::string bytes(length, '\0');
    TRY(decompress_exactly(bytes.data(), bytes.size()));
    std::string_view rest = bytes;
    uint64_t inode = TRY(take_varint(rest));
    file_left_ = TRY(take_varint(rest));
    file_ = TRY(open_file(std::string(rest), inode, file_left_));
    return true;
  }

  Result<UniqueFd> open_file(const std::string& path, uint64_t inode, uint64_t size) {
    constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
    constexpr uint64_t kStrict = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    auto fits = [&](int fd) {
      struct stat st;
      return ::fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
             static_cast<uint64_t>(st.st_size) == size;
    };
    // A copy of the data root has other inode numbers; only what was replaced is looked up by them.
    Result<UniqueFd> replaced = sys::openat(scratch_.get(), std::to_string(inode), kFlags);
    if (replaced && fits(replaced->get())) return replaced;
    Result<UniqueFd> file = sys::openat2(root_.get(), path, kFlags, kStrict);
    if (file && fits(file->get())) return file;
    return internal("the layer's file {} is missing or has changed", path);
  }

  Result<uint64_t> read_length() {
    std::string digits;
    for (;;) {
      char byte;
      TRY(decompress_exactly(&byte, 1));
      digits += byte;
      if (!(byte & 0x80) || digits.size() > 10) break;
    }
    std::string_view in = digits;
    return take_varint(in);
  }

  Status decompress_exactly(char* out, size_t size) {
    size_t got = TRY(decompress(out, size));
    if (got != size) return internal("the record of a layer's archive is cut short");
    return {};
  }

  // Less than `size` only at the end of the record.
  Result<size_t> decompress(char* data, size_t size) {
    ZSTD_outBuffer out{data, size, 0};
    while (out.pos < out.size) {
      if (in_.pos == in_.size && !flushing_) {
        size_t got = TRY(sys::read(record_.get(), in_buffer_.data(), in_buffer_.size()));
        if (got == 0) {
          if (frame_left_ != 0) return internal("the record of a layer's archive is cut short");
          break;
        }
        in_ = {in_buffer_.data(), got, 0};
      }
      frame_left_ = ZSTD_decompressStream(context_.get(), &out, &in_);
      if (ZSTD_isError(frame_left_)) return internal("zstd: {}", ZSTD_getErrorName(frame_left_));
      flushing_ = out.pos == out.size && frame_left_ != 0;  // it may hold more than fitted
    }
    return out.pos;
  }

  UniqueFd record_;
  UniqueFd root_;
  UniqueFd scratch_;
  std::unique_ptr<ZSTD_DCtx, FreeCompressor> context_;
  std::vector<char> in_buffer_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  size_t frame_left_ = 0;
  bool flushing_ = false;
  uint64_t literal_left_ = 0;
  UniqueFd file_;
  uint64_t file_left_ = 0;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> read_split(UniqueFd record, UniqueFd root, UniqueFd scratch) {
  return std::unique_ptr<ByteSource>(
      std::make_unique<SplitSource>(std::move(record), std::move(root), std::move(scratch)));
}

}  // namespace gantry::drivers

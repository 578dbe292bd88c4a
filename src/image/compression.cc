#include "image/compression.h"

#define ZSTD_STATIC_LINKING_ONLY  // ZSTD_getFrameHeader
#include <bzlib.h>
#include <lzma.h>
#include <zstd.h>
#ifdef GANTRY_ISAL
#include <isa-l/igzip_lib.h>
#else
#include <zlib.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "image/decode_helper.h"
#include "image/decoders.h"

namespace gantry::image {
namespace {

constexpr size_t kInputSize = 128 << 10;

Error too_large(Compression format, const char* what, uint64_t size, uint64_t limit) {
  return invalid("{} data needs {} of {} MiB: more than {} MiB is refused", to_string(format), what,
                 (size + (1u << 20) - 1) >> 20, limit >> 20);
}

// What all decoders share: an input buffer and the loop around one step.
class Decoder : public ByteSource {
 public:
  Decoder(ByteSource& source, std::string head) : source_(source), buffer_(kInputSize) {
    std::memcpy(buffer_.data(), head.data(), head.size());
    end_ = head.size();
  }

  Result<size_t> read(std::span<char> into) override {
    for (;;) {
      if (helper_) return helper_->read(into);
      if (begin_ == end_ && !source_ended_) {
        begin_ = 0;
        end_ = TRY(source_.read(buffer_));
        source_ended_ = end_ == 0;
      }
      if (source_ended_ && begin_ == end_ && between_members_) return size_t{0};
      size_t before = begin_;
      size_t got = TRY(step(into));
      if (got > 0) return got;
      if (begin_ == before && source_ended_ && begin_ == end_ && !between_members_)
        return invalid("compressed data is cut short");
      if (begin_ == before && begin_ != end_ && ++idle_ > 4)
        return invalid("compressed data is damaged");
      if (begin_ != before) idle_ = 0;
    }
  }

 protected:
  // Decodes from in() to `into`: takes input with consume(), gives bytes written, and sets
  // between_members_ whenever a member has just ended or not begun.
  virtual Result<size_t> step(std::span<char> into) = 0;
  char* in() { return buffer_.data() + begin_; }
  size_t in_size() const { return end_ - begin_; }
  void consume(size_t size) { begin_ += size; }
  bool source_ended() const { return source_ended_; }
  // Has `size` bytes of input in one piece, or all that there are.
  Status peek(size_t size) {
    if (buffer_.size() - begin_ < size) {
      std::memmove(buffer_.data(), in(), in_size());
      end_ -= std::exchange(begin_, 0);
    }
    while (in_size() < size && !source_ended_) {
      size_t got = TRY(source_.read(std::span(buffer_).subspan(end_)));
      source_ended_ = got == 0;
      end_ += got;
    }
    return {};
  }
  // From here on the stream is the helper's to decode.
  Status hand_over(Compression format) {
    helper_ = TRY(decode_in_helper(format, std::string(in(), in_size()), source_));
    consume(in_size());
    between_members_ = true;
    return {};
  }

  bool between_members_ = false;

 private:
  ByteSource& source_;
  std::vector<char> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool source_ended_ = false;
  int idle_ = 0;
  std::unique_ptr<ByteSource> helper_;
};

#ifdef GANTRY_ISAL
class GzipDecoder final : public Decoder {
 public:
  GzipDecoder(ByteSource& source, std::string head) : Decoder(source, std::move(head)) {
    isal_inflate_init(&state_);
    state_.crc_flag = ISAL_GZIP;
  }

 private:
  Result<size_t> step(std::span<char> into) override {
    if (between_members_) {
      // Zero bytes may pad the end (gzip(1) ignores them); anything else begins another member.
      while (in_size() > 0 && *in() == 0) consume(1);
      if (in_size() == 0) return size_t{0};
      isal_inflate_reset(&state_);
      state_.crc_flag = ISAL_GZIP;
      between_members_ = false;
    }
    state_.next_in = reinterpret_cast<uint8_t*>(in());
    state_.avail_in = static_cast<uint32_t>(in_size());
    state_.next_out = reinterpret_cast<uint8_t*>(into.data());
    state_.avail_out = static_cast<uint32_t>(into.size());
    int result = isal_inflate(&state_);
    consume(in_size() - state_.avail_in);
    if (result != ISAL_DECOMP_OK && result != ISAL_END_INPUT)
      return invalid("gzip data is damaged (code {})", result);
    between_members_ = state_.block_state == ISAL_BLOCK_FINISH;
    return into.size() - state_.avail_out;
  }

  inflate_state state_;
};
#else
class GzipDecoder final : public Decoder {
 public:
  GzipDecoder(ByteSource& source, std::string head) : Decoder(source, std::move(head)) {
    ready_ = ::inflateInit2(&state_, 16 + MAX_WBITS) == Z_OK;
  }
  ~GzipDecoder() override { ::inflateEnd(&state_); }

 private:
  Result<size_t> step(std::span<char> into) override {
    if (!ready_) return internal("zlib did not start");
    if (between_members_) {
      while (in_size() > 0 && *in() == 0) consume(1);
      if (in_size() == 0) return size_t{0};
      ::inflateReset(&state_);
      between_members_ = false;
    }
    state_.next_in = reinterpret_cast<Bytef*>(in());
    state_.avail_in = static_cast<uInt>(in_size());
    state_.next_out = reinterpret_cast<Bytef*>(into.data());
    state_.avail_out = static_cast<uInt>(into.size());
    int result = ::inflate(&state_, Z_NO_FLUSH);
    consume(in_size() - state_.avail_in);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
      return invalid("gzip data is damaged: {}", state_.msg ? state_.msg : "?");
    between_members_ = result == Z_STREAM_END;
    return into.size() - state_.avail_out;
  }

  z_stream state_{};
  bool ready_ = false;
};
#endif

class ZstdDecoder final : public Decoder {
 public:
  ZstdDecoder(ByteSource& source, std::string head, uint64_t window = kOwnWindow)
      : Decoder(source, std::move(head)),
        context_(ZSTD_createDCtx(), ZSTD_freeDCtx),
        window_(window) {
    ZSTD_DCtx_setMaxWindowSize(context_.get(), window);
  }

 private:
  Result<size_t> step(std::span<char> into) override {
    if (at_frame_) {
      at_frame_ = false;
      uint64_t needed = TRY(next_window());
      if (needed > window_) {
        if (needed > kHelperWindow || !has_decode_helper())
          return too_large(Compression::zstd, "a window", needed,
                           has_decode_helper() ? kHelperWindow : window_);
        TRY(hand_over(Compression::zstd));
        return size_t{0};
      }
    }
    ZSTD_inBuffer input{in(), in_size(), 0};
    ZSTD_outBuffer output{into.data(), into.size(), 0};
    size_t left = ZSTD_decompressStream(context_.get(), &output, &input);
    consume(input.pos);
    if (ZSTD_isError(left)) return invalid("zstd data is damaged: {}", ZSTD_getErrorName(left));
    between_members_ = at_frame_ = left == 0;
    return output.pos;
  }

  // Of the frame that begins here; what is none is the decoder's to refuse.
  Result<uint64_t> next_window() {
    TRY(peek(ZSTD_FRAMEHEADERSIZE_MAX));
    ZSTD_frameHeader header;
    size_t told = ZSTD_getFrameHeader(&header, in(), in_size());
    if (told != 0 || header.frameType == ZSTD_skippableFrame) return uint64_t{0};
    return uint64_t{header.windowSize};
  }

  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context_;
  const uint64_t window_;
  bool at_frame_ = true;
};

class XzDecoder final : public Decoder {
 public:
  XzDecoder(ByteSource& source, std::string head, uint64_t memory = kOwnXzMemory)
      : Decoder(source, std::move(head)), memory_(memory) {
    ready_ = ::lzma_stream_decoder(&state_, memory, LZMA_CONCATENATED) == LZMA_OK;
  }
  ~XzDecoder() override { ::lzma_end(&state_); }

 private:
  Result<size_t> step(std::span<char> into) override {
    if (!ready_) return internal("liblzma did not start");
    if (std::exchange(at_start_, false)) {
      uint64_t needed = TRY(first_block_memory());
      if (needed > memory_) {
        if (needed > kHelperMemory || !has_decode_helper())
          return too_large(Compression::xz, "memory", needed,
                           has_decode_helper() ? kHelperMemory : memory_);
        TRY(hand_over(Compression::xz));
        return size_t{0};
      }
    }
    state_.next_in = reinterpret_cast<uint8_t*>(in());
    state_.avail_in = in_size();
    state_.next_out = reinterpret_cast<uint8_t*>(into.data());
    state_.avail_out = into.size();
    // With LZMA_CONCATENATED only the end of all input ends the stream.
    lzma_ret result = ::lzma_code(&state_, source_ended() ? LZMA_FINISH : LZMA_RUN);
    consume(in_size() - state_.avail_in);
    if (result == LZMA_MEMLIMIT_ERROR)
      return too_large(Compression::xz, "memory", ::lzma_memusage(&state_), memory_);
    if (result == LZMA_BUF_ERROR && source_ended()) return invalid("compressed data is cut short");
    if (result != LZMA_OK && result != LZMA_STREAM_END && result != LZMA_BUF_ERROR)
      return invalid("xz data is damaged (code {})", static_cast<int>(result));
    between_members_ = result == LZMA_STREAM_END;
    return into.size() - state_.avail_out;
  }

  // xz gives all blocks the same dictionary. What cannot be read is the decoder's to refuse.
  Result<uint64_t> first_block_memory() {
    TRY(peek(LZMA_STREAM_HEADER_SIZE + LZMA_BLOCK_HEADER_SIZE_MAX));
    const auto* bytes = reinterpret_cast<const uint8_t*>(in());
    if (in_size() <= LZMA_STREAM_HEADER_SIZE || bytes[LZMA_STREAM_HEADER_SIZE] == 0)
      return uint64_t{0};
    lzma_stream_flags flags{};
    if (::lzma_stream_header_decode(&flags, bytes) != LZMA_OK) return uint64_t{0};
    lzma_filter filters[LZMA_FILTERS_MAX + 1];
    lzma_block block{};
    block.version = 1;
    block.check = flags.check;
    block.filters = filters;
    block.header_size = lzma_block_header_size_decode(bytes[LZMA_STREAM_HEADER_SIZE]);
    if (in_size() < LZMA_STREAM_HEADER_SIZE + block.header_size ||
        ::lzma_block_header_decode(&block, nullptr, bytes + LZMA_STREAM_HEADER_SIZE) != LZMA_OK)
      return uint64_t{0};
    uint64_t needed = ::lzma_raw_decoder_memusage(filters);
    for (const lzma_filter* filter = filters; filter->id != LZMA_VLI_UNKNOWN; ++filter)
      std::free(filter->options);
    return needed;
  }

  lzma_stream state_ = LZMA_STREAM_INIT;
  const uint64_t memory_;
  bool ready_ = false;
  bool at_start_ = true;
};

class Bzip2Decoder final : public Decoder {
 public:
  Bzip2Decoder(ByteSource& source, std::string head) : Decoder(source, std::move(head)) {
    ready_ = ::BZ2_bzDecompressInit(&state_, 0, 0) == BZ_OK;
  }
  ~Bzip2Decoder() override { ::BZ2_bzDecompressEnd(&state_); }

 private:
  Result<size_t> step(std::span<char> into) override {
    if (between_members_) {
      ::BZ2_bzDecompressEnd(&state_);
      state_ = {};
      ready_ = ::BZ2_bzDecompressInit(&state_, 0, 0) == BZ_OK;
      between_members_ = false;
    }
    if (!ready_) return internal("libbz2 did not start");
    state_.next_in = in();
    state_.avail_in = static_cast<unsigned>(in_size());
    state_.next_out = into.data();
    state_.avail_out = static_cast<unsigned>(into.size());
    int result = ::BZ2_bzDecompress(&state_);
    consume(in_size() - state_.avail_in);
    if (result != BZ_OK && result != BZ_STREAM_END)
      return invalid("bzip2 data is damaged (code {})", result);
    between_members_ = result == BZ_STREAM_END;
    return into.size() - state_.avail_out;
  }

  bz_stream state_{};
  bool ready_ = false;
};

// Gives the bytes that were read to find out what it is, then the rest.
class Prefixed final : public ByteSource {
 public:
  Prefixed(ByteSource& source, std::string head) : source_(source), head_(std::move(head)) {}
  Result<size_t> read(std::span<char> into) override {
    if (used_ == head_.size()) return source_.read(into);
    size_t size = std::min(into.size(), head_.size() - used_);
    std::memcpy(into.data(), head_.data() + used_, size);
    used_ += size;
    return size;
  }

 private:
  ByteSource& source_;
  std::string head_;
  size_t used_ = 0;
};

template <typename T>
std::unique_ptr<ByteSource> make(ByteSource& source, std::string head) {
  return std::make_unique<T>(source, std::move(head));
}

struct Format {
  Compression compression;
  std::string_view name;
  std::string_view magic;
  std::unique_ptr<ByteSource> (*open)(ByteSource&, std::string);
};
constexpr Format kFormats[] = {
    {Compression::gzip, "gzip", {"\x1f\x8b\x08", 3}, make<GzipDecoder>},
    {Compression::zstd, "zstd", {"\x28\xb5\x2f\xfd", 4}, make<ZstdDecoder>},
    {Compression::xz,
     "xz",
     {"\xfd"
      "7zXZ\0",
      6},
     make<XzDecoder>},
    {Compression::bzip2, "bzip2", {"BZh", 3}, make<Bzip2Decoder>},
};

}  // namespace

std::unique_ptr<ByteSource> make_helper_decoder(std::string_view format, ByteSource& compressed) {
  if (format == to_string(Compression::zstd))
    return std::make_unique<ZstdDecoder>(compressed, "", kHelperWindow);
  if (format == to_string(Compression::xz))
    return std::make_unique<XzDecoder>(compressed, "", kHelperMemory);
  return nullptr;
}

std::string_view to_string(Compression compression) {
  for (const Format& format : kFormats)
    if (format.compression == compression) return format.name;
  return "none";
}

Result<Decompressed> decompress(ByteSource& compressed) {
  std::string head(8, '\0');
  size_t size = TRY(read_full(compressed, head));
  head.resize(size);
  for (const Format& format : kFormats)
    if (head.starts_with(format.magic))
      return Decompressed{format.compression, format.open(compressed, std::move(head))};
  // A skippable zstd frame may come first (zstd:chunked); its magic is 0x184D2A50 to 0x184D2A5F.
  if (head.size() >= 4 && (head[0] & 0xf0) == 0x50 && head.substr(1, 3) == "\x2a\x4d\x18")
    return Decompressed{Compression::zstd, make<ZstdDecoder>(compressed, std::move(head))};
  return Decompressed{Compression::none, make<Prefixed>(compressed, std::move(head))};
}

}  // namespace gantry::image

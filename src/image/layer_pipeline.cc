#include "image/layer_pipeline.h"

#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/channel.h"

namespace gantry::image {
namespace {

constexpr size_t kBlockSize = 256u << 10;
constexpr size_t kCompressedBlocks = 4;
constexpr size_t kTarBlocks = 8;
constexpr int64_t kSmall = 512 << 10;  // compressed; below it threads cost more than they give

struct Block {
  std::vector<char> bytes = std::vector<char>(kBlockSize);
  size_t size = 0;
  std::string_view view() const { return {bytes.data(), size}; }
};
using BlockPtr = std::shared_ptr<Block>;

// Blocks that are used again: fresh ones would cost a page fault for every page.
class BlockPool : public std::enable_shared_from_this<BlockPool> {
 public:
  BlockPtr take() {
    std::unique_ptr<Block> block;
    {
      std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        block = std::move(free_.back());
        free_.pop_back();
      }
    }
    if (!block) block = std::make_unique<Block>();
    block->size = 0;
    return BlockPtr(block.release(), [pool = shared_from_this()](Block* used) {
      std::lock_guard lock(pool->mutex_);
      pool->free_.emplace_back(used);
    });
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Block>> free_;
};

// The reading end of a queue of blocks. The writing end closes it; whether that is an end or a
// failure is told by `failure`.
class QueueSource final : public ByteSource {
 public:
  QueueSource(Channel<BlockPtr>& queue, std::function<Status()> failure)
      : queue_(queue), failure_(std::move(failure)) {}
  Result<size_t> read(std::span<char> into) override {
    if (!block_ || used_ == block_->size) {
      std::optional<BlockPtr> next = queue_.pop();
      if (!next) {
        block_.reset();
        TRY(failure_());
        return size_t{0};
      }
      block_ = std::move(*next);
      used_ = 0;
    }
    size_t size = std::min(into.size(), block_->size - used_);
    std::memcpy(into.data(), block_->bytes.data() + used_, size);
    used_ += size;
    return size;
  }

 private:
  Channel<BlockPtr>& queue_;
  std::function<Status()> failure_;
  BlockPtr block_;
  size_t used_ = 0;
};

Status check(const PipelineInput& input, int64_t tar, int64_t compressed) {
  const LayerLimits& limits = input.limits;
  if (tar <= limits.ratio_from && tar <= limits.max_size) return {};
  return check_limits(limits, "layer " + input.name, tar, compressed);
}

// Everything on the caller's thread.
class Inline final : public ByteSource {
 public:
  explicit Inline(const PipelineInput& input) : input_(input) {}
  Result<size_t> read(std::span<char> into) override {
    size_t got = TRY(input_.compressed->read(into));
    if (input_.digest_compressed) hash_.update({into.data(), got});
    size_ += static_cast<int64_t>(got);
    if (got > 0 && input_.tee) TRY(input_.tee({into.data(), got}));
    if (input_.read_so_far) input_.read_so_far(size_);
    return got;
  }
  const PipelineInput& input_;
  Sha256 hash_;
  int64_t size_ = 0;
};
class InlineTar final : public ByteSource {
 public:
  InlineTar(const PipelineInput& input, Inline& compressed, ByteSource& tar)
      : input_(input), compressed_(compressed), tar_(tar) {}
  Result<size_t> read(std::span<char> into) override {
    size_t got = TRY(tar_.read(into));
    hash_.update({into.data(), got});
    size_ += static_cast<int64_t>(got);
    TRY(check(input_, size_, compressed_.size_));
    return got;
  }
  const PipelineInput& input_;
  Inline& compressed_;
  ByteSource& tar_;
  Sha256 hash_;
  int64_t size_ = 0;
};

Result<PipelineResult> run_inline(const PipelineInput& input,
                                  const std::function<Status(ByteSource&)>& consume) {
  Inline compressed(input);
  Decompressed plain = TRY(decompress(compressed).context("layer {}", input.name));
  InlineTar tar(input, compressed, *plain.source);
  TRY(consume(tar));
  TRY(discard_all(tar));
  TRY(discard_all(compressed));
  PipelineResult result;
  if (input.digest_compressed) result.compressed = compressed.hash_.finish();
  result.compressed_size = compressed.size_;
  result.tar = tar.hash_.finish();
  result.tar_size = tar.size_;
  result.compression = plain.compression;
  return result;
}

class Pipeline {
 public:
  explicit Pipeline(const PipelineInput& input) : input_(input) {}

  Result<PipelineResult> run(const std::function<Status(ByteSource&)>& consume) {
    std::thread reader([this] { ended(read(), compressed_); });
    std::thread inflater([this] { ended(inflate(), tar_), hashed_.close(); });
    std::thread hasher([this] { hash(); });
    QueueSource source(tar_, [this] { return failure(); });
    Status consumed = consume(source);
    if (consumed) {
      Result<uint64_t> rest = discard_all(source);
      if (!rest) consumed = std::move(rest).error();
    }
    if (!consumed) fail(std::move(consumed).error());
    if (!failure()) close_all();
    reader.join();
    inflater.join();
    hasher.join();
    TRY(failure());
    return std::move(result_);
  }

 private:
  // The first error wins; what follows from it is only its echo.
  void fail(Error error) {
    std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(error);
  }
  Status failure() {
    std::lock_guard lock(mutex_);
    if (!failure_) return {};
    return Error(failure_->kind(), failure_->message(), failure_->code());
  }
  void close_all() {
    compressed_.close();
    tar_.close();
    hashed_.close();
  }
  void ended(Status status, Channel<BlockPtr>& out) {
    if (!status) {
      fail(std::move(status).error());
      close_all();
    }
    out.close();
  }

  Status read() {
    Sha256 hash;
    while (true) {
      BlockPtr block = pool_->take();
      // Filled, so that the blocks that follow are large; a slow source is passed on as it comes.
      block->size = TRY(input_.compressed->read(block->bytes));
      if (block->size == 0) break;
      if (!compressed_.push(block)) return {};  // the other end has failed
      if (input_.digest_compressed) hash.update(block->view());
      if (input_.tee) TRY(input_.tee(block->view()));
      int64_t size = read_ += static_cast<int64_t>(block->size);
      if (input_.read_so_far) input_.read_so_far(size);
    }
    result_.compressed_size = read_;
    if (input_.digest_compressed) result_.compressed = hash.finish();
    return {};
  }

  Status inflate() {
    QueueSource source(compressed_, [this] { return failure(); });
    Decompressed plain = TRY(decompress(source).context("layer {}", input_.name));
    result_.compression = plain.compression;
    int64_t total = 0;
    while (true) {
      BlockPtr block = pool_->take();
      Result<size_t> got = read_full(*plain.source, block->bytes);
      if (!got) {
        TRY(failure());
        return std::move(got).error().context("layer " + input_.name);
      }
      block->size = *got;
      if (block->size == 0) break;
      total += static_cast<int64_t>(block->size);
      TRY(check(input_, total, read_));
      if (!hashed_.push(block) || !tar_.push(block)) return {};
    }
    result_.tar_size = total;
    TRY(discard_all(source).context("layer {}", input_.name));
    return {};
  }

  void hash() {
    Sha256 hash;
    while (std::optional<BlockPtr> block = hashed_.pop()) hash.update((*block)->view());
    result_.tar = hash.finish();
  }

  const PipelineInput& input_;
  std::shared_ptr<BlockPool> pool_ = std::make_shared<BlockPool>();
  Channel<BlockPtr> compressed_{kCompressedBlocks};
  Channel<BlockPtr> tar_{kTarBlocks};
  Channel<BlockPtr> hashed_{kTarBlocks};
  std::atomic<int64_t> read_{0};
  PipelineResult result_;  // each member written by one thread, read when all have ended
  std::mutex mutex_;
  std::optional<Error> failure_;
};

}  // namespace

Status check_limits(const LayerLimits& limits, std::string_view what, int64_t unpacked,
                    int64_t compressed) {
  if (unpacked > limits.max_size)
    return invalid("{}: it unpacks to more than {} bytes: refused", what, limits.max_size);
  if (unpacked > limits.ratio_from && unpacked / limits.max_ratio > compressed)
    return invalid("{}: it unpacks to more than {} times its size: refused", what,
                   limits.max_ratio);
  return {};
}

bool is_small_layer(int64_t size) { return size >= 0 && size < kSmall; }

Result<PipelineResult> run_pipeline(const PipelineInput& input,
                                    const std::function<Status(ByteSource&)>& consume) {
  if (is_small_layer(input.size)) return run_inline(input, consume);
  return Pipeline(input).run(consume);
}

}  // namespace gantry::image

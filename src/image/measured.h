// What passes a reader: how much, and its digest.
#pragma once

#include <cstdint>
#include <span>

#include "base/byte_source.h"
#include "base/digest.h"
#include "engine/job.h"

namespace gantry::image {

// Counts and digests what passes; looks at the job's cancellation on the way.
class Measured final : public ByteSource {
 public:
  Measured(ByteSource& source, engine::JobContext& job) : source_(source), job_(job) {}
  Result<size_t> read(std::span<char> into) override {
    TRY(job_.check());
    size_t got = TRY(source_.read(into));
    hash_.update({into.data(), got});
    size_ += static_cast<int64_t>(got);
    return got;
  }
  Digest finish() { return hash_.finish(); }
  int64_t size() const { return size_; }

 private:
  ByteSource& source_;
  engine::JobContext& job_;
  Sha256 hash_;
  int64_t size_ = 0;
};

}  // namespace gantry::image

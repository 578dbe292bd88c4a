// A layer's archive on its way into the store. Private to the room.
#pragma once

#include <string>

#include "base/byte_source.h"
#include "base/digest.h"
#include "base/sys.h"
#include "engine/job.h"

namespace gantry::image {

// Keeps an archive in a file without a name, and measures it.
class LayerSpool final : public ByteSink {
 public:
  LayerSpool(int borrowed, engine::JobContext& job) : fd_(borrowed), job_(job) {}
  Status write(std::string_view bytes) override {
    buffer_ += bytes;
    return buffer_.size() < kFlushAt ? Status() : flush();
  }
  // Once, at the end.
  Result<Digest> finish() {
    TRY(flush());
    return hash_.finish();
  }
  uint64_t size() const { return size_; }

 private:
  static constexpr size_t kFlushAt = 256 << 10;
  Status flush() {
    TRY(job_.check());
    hash_.update({buffer_.data(), buffer_.size()});
    TRY(sys::write_all(fd_, buffer_));
    size_ += buffer_.size();
    buffer_.clear();
    return {};
  }

  int fd_;
  engine::JobContext& job_;
  Sha256 hash_;
  std::string buffer_;
  uint64_t size_ = 0;
};

// The size of an archive of no members.
inline constexpr uint64_t kEmptyArchive = 1024;

}  // namespace gantry::image

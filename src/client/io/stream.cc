#include "client/io/stream.h"

#include <algorithm>

namespace gantry::client {
namespace {
constexpr size_t kHeaderSize = 8;
constexpr unsigned kStdin = 0, kStdout = 1, kStderr = 2, kSystemError = 3;
}  // namespace

Status Demultiplexer::feed(std::string_view bytes, const Sink& sink) {
  while (!bytes.empty()) {
    if (left_ == 0) {
      size_t take = std::min(kHeaderSize - header_.size(), bytes.size());
      header_.append(bytes.substr(0, take));
      bytes.remove_prefix(take);
      if (header_.size() < kHeaderSize) break;
      auto byte = [&](size_t i) {
        return static_cast<uint32_t>(static_cast<unsigned char>(header_[i]));
      };
      stream_ = byte(0);
      left_ = byte(4) << 24 | byte(5) << 16 | byte(6) << 8 | byte(7);
      header_.clear();
      if (stream_ > kSystemError) return internal("Unrecognized input header: {}", stream_);
      continue;
    }
    size_t take = std::min<size_t>(left_, bytes.size());
    std::string_view data = bytes.substr(0, take);
    bytes.remove_prefix(take);
    left_ -= static_cast<uint32_t>(take);
    if (stream_ == kStdout || stream_ == kStdin) sink(Channel::out, data);
    if (stream_ == kStderr) sink(Channel::err, data);
    if (stream_ != kSystemError) continue;
    if (error_text_.size() < 65536) error_text_ += data;
    if (left_ == 0) return internal("error from daemon in stream: {}", error_text_);
  }
  return {};
}

std::string DetachFilter::feed(std::string_view typed, bool& detached) {
  std::string out;
  for (char c : typed) {
    if (keys_.empty()) {
      out += c;
      continue;
    }
    if (c == keys_[matched_]) {
      if (++matched_ < keys_.size()) continue;
      detached = true;
      return out;
    }
    out.append(keys_, 0, matched_);
    matched_ = 0;
    if (c == keys_[0] && keys_.size() > 1)
      matched_ = 1;
    else
      out += c;
  }
  return out;
}

}  // namespace gantry::client

// The two small machines on the way of an attached stream: taking apart the frames in which the
// daemon multiplexes stdout and stderr, and finding the detach keys in what is typed. Pure; no I/O.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry::client {

enum class Channel { out, err };

// Frames of 8 bytes of header, {stream, 0, 0, 0, length big-endian}, then the data. Feed bytes as
// they come, cut anywhere. Stream 3 is an error of the daemon. Docker Engine API, "Stream format"
// of attach.
class Demultiplexer {
 public:
  using Sink = std::function<void(Channel, std::string_view)>;
  // Errors: internal when the bytes are no frames, or the daemon sent an error.
  Status feed(std::string_view bytes, const Sink& sink);
  bool at_frame_boundary() const { return header_.empty() && left_ == 0; }

 private:
  std::string header_;
  std::string error_text_;
  uint32_t left_ = 0;
  unsigned stream_ = 0;
};

// Passes typed bytes on, but holds back what may be the start of the detach keys; what turns out
// not to be them is passed on late, as in Docker. An empty sequence never matches.
class DetachFilter {
 public:
  explicit DetachFilter(std::string keys) : keys_(std::move(keys)) {}
  // What may be sent; `detached` is set when the sequence is complete (the rest is dropped).
  std::string feed(std::string_view typed, bool& detached);

 private:
  std::string keys_;
  size_t matched_ = 0;
};

}  // namespace gantry::client

// The WebSocket protocol (RFC 6455) as a server needs it for a stream of bytes: the handshake's
// answer, and frames in both directions. Values, no I/O; bounded by what the caller passes in.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"

namespace gantry::http {

// The value of Sec-WebSocket-Accept for a request with these headers; `invalid` when it does not
// ask for a WebSocket of version 13.
Result<std::string> websocket_accept(const Headers& request);

// One message of the server's, unmasked, in one frame.
std::string websocket_frame(std::string_view payload);
std::string websocket_close();

// What a client sends, taken apart.
class WebSocketReader {
 public:
  // Takes whole and part frames off the front of `in`: payload of messages goes to `out`, what has
  // to be answered (pongs, a close) to `reply`. `invalid` for what breaks the protocol.
  Status read(std::string& in, std::string& out, std::string& reply);
  bool closed() const { return closed_; }  // the client has said so

 private:
  Status begin_frame(std::string& in, bool& begun);
  void end_frame(std::string& reply);

  bool in_frame_ = false, closed_ = false;
  uint8_t opcode_ = 0;
  uint64_t left_ = 0;  // of the frame's payload
  uint8_t mask_[4] = {};
  size_t mask_at_ = 0;
  std::string control_;  // payload of a control frame
};

}  // namespace gantry::http

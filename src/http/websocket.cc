#include "http/websocket.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "base/base64.h"

namespace gantry::http {
namespace {

constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455, 1.3
constexpr uint8_t kFinal = 0x80, kMasked = 0x80, kOpcode = 0x0f, kReserved = 0x70, kControl = 0x08;
constexpr uint8_t kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10;
constexpr uint64_t kLongestControl = 125;

std::string frame(uint8_t opcode, std::string_view payload) {
  std::string out(1, static_cast<char>(kFinal | opcode));
  int bytes = 0;
  if (payload.size() < 126) {
    out += static_cast<char>(payload.size());
  } else {
    bytes = payload.size() < 65536 ? 2 : 8;
    out += static_cast<char>(bytes == 2 ? 126 : 127);
  }
  for (int i = bytes - 1; i >= 0; --i)
    out += static_cast<char>(uint64_t{payload.size()} >> (8 * i));
  return out.append(payload);
}

}  // namespace

Result<std::string> websocket_accept(const Headers& request) {
  const std::string_view key = request.get("Sec-WebSocket-Key");
  if (!request.has_token("Upgrade", "websocket") || !request.has_token("Connection", "Upgrade") ||
      key.empty())
    return invalid("not a WebSocket handshake");
  if (request.get("Sec-WebSocket-Version") != "13")
    return invalid("unsupported version of the WebSocket protocol: only 13 is spoken");
  std::string text(key);
  text += kGuid;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr) != 1)
    return internal("SHA-1 is not there");
  return base64_encode({reinterpret_cast<const char*>(digest.data()), size});
}

std::string websocket_frame(std::string_view payload) { return frame(kBinary, payload); }
std::string websocket_close() { return frame(kClose, "\x03\xe8"); }  // 1000: as it should be

Status WebSocketReader::begin_frame(std::string& in, bool& begun) {
  begun = false;
  if (in.size() < 2) return {};
  auto byte = [&](size_t at) { return static_cast<uint8_t>(in[at]); };
  const uint8_t length = byte(1) & 0x7f;
  const size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;
  const size_t head = 2 + extended + sizeof mask_;
  opcode_ = byte(0) & kOpcode;
  if ((byte(0) & kReserved) != 0) return invalid("WebSocket: reserved bits are set");
  if ((byte(1) & kMasked) == 0) return invalid("WebSocket: a client's frame is not masked");
  if (opcode_ != kContinuation && opcode_ != kText && opcode_ != kBinary && opcode_ != kClose &&
      opcode_ != kPing && opcode_ != kPong)
    return invalid("WebSocket: unknown opcode {}", opcode_);
  if ((opcode_ & kControl) != 0 && (length > kLongestControl || (byte(0) & kFinal) == 0))
    return invalid("WebSocket: a control frame is too long or fragmented");
  if (in.size() < head) return {};
  left_ = extended == 0 ? length : 0;
  for (size_t i = 0; i < extended; ++i) left_ = left_ << 8 | byte(2 + i);
  for (size_t i = 0; i < sizeof mask_; ++i) mask_[i] = byte(2 + extended + i);
  if (left_ >> 63 != 0) return invalid("WebSocket: a frame is too long");
  in.erase(0, head);
  mask_at_ = 0;
  control_.clear();
  begun = in_frame_ = true;
  return {};
}

void WebSocketReader::end_frame(std::string& reply) {
  in_frame_ = false;
  if (opcode_ == kPing) reply += frame(kPong, control_);
  if (opcode_ == kClose) {
    reply += frame(kClose, std::string_view(control_).substr(0, 2));
    closed_ = true;
  }
}

Status WebSocketReader::read(std::string& in, std::string& out, std::string& reply) {
  while (!closed_) {
    bool begun = true;
    if (!in_frame_) TRY(begin_frame(in, begun));
    if (!begun) return {};
    const auto size = static_cast<size_t>(std::min<uint64_t>(left_, in.size()));
    std::string& to = (opcode_ & kControl) != 0 ? control_ : out;
    for (size_t i = 0; i < size; ++i)
      to += static_cast<char>(static_cast<uint8_t>(in[i]) ^ mask_[mask_at_++ % sizeof mask_]);
    in.erase(0, size);
    left_ -= size;
    if (left_ > 0) return {};
    end_frame(reply);
  }
  in.clear();  // nothing that comes after a close counts
  return {};
}

}  // namespace gantry::http

#include "libcontainer/sync.h"

#include <sys/socket.h>

#include <array>
#include <charconv>

#include "base/sys.h"

namespace gantry::libcontainer {
namespace {

constexpr size_t kMaxPacket = 16384;

constexpr std::array<std::string_view, 11> kNames = {"?",         "mapped",  "hooks_done", "start",
                                                     "hooks_due", "console", "notify",     "ready",
                                                     "error",     "moved",   "cloned"};

}  // namespace

std::string_view to_string(SyncMessage message) {
  size_t index = static_cast<size_t>(message);
  return index < kNames.size() ? kNames[index] : kNames[0];
}

Result<SyncSocket::Pair> SyncSocket::pair() {
  auto fds = TRY(sys::socketpair(SOCK_SEQPACKET));
  return Pair{SyncSocket(std::move(fds.first)), SyncSocket(std::move(fds.second))};
}

Status SyncSocket::send(SyncMessage message, std::string_view payload, int fd) const {
  std::string packet(sizeof message, '\0');
  std::memcpy(packet.data(), &message, sizeof message);
  packet += payload.substr(0, kMaxPacket - sizeof message);
  std::span<const int> fds;
  if (fd >= 0) fds = std::span<const int>(&fd, 1);
  return sys::send_with_fds(fd_.get(), packet, fds).context("sync {}", to_string(message));
}

Status SyncSocket::send_error(const Error& error) const {
  return send(SyncMessage::error, encode_error(error));
}

Result<SyncSocket::Packet> SyncSocket::receive() const {
  std::string buffer(kMaxPacket, '\0');
  Result<sys::Received> received = sys::receive_with_fds(fd_.get(), buffer.data(), buffer.size());
  Packet packet;
  if (!received) {
    // A peer that died with something of ours unread.
    if (received.error().code() != ECONNRESET) return std::move(received).error();
    packet.end = true;
    return packet;
  }
  if (received->size == 0) {
    packet.end = true;
    return packet;
  }
  if (received->size < sizeof packet.message) return internal("sync: a short packet");
  std::memcpy(&packet.message, buffer.data(), sizeof packet.message);
  packet.payload = buffer.substr(sizeof packet.message, received->size - sizeof packet.message);
  if (!received->fds.empty()) packet.fd = std::move(received->fds.front());
  if (packet.message == SyncMessage::error) return decode_error(packet.payload);
  return packet;
}

Result<SyncSocket::Packet> SyncSocket::expect(SyncMessage message) const {
  Packet packet = TRY(receive());
  if (packet.end) return internal("the other process ended before \"{}\"", to_string(message));
  if (packet.message != message)
    return internal("sync: expected \"{}\", got \"{}\"", to_string(message),
                    to_string(packet.message));
  return packet;
}

// "kind code message", the message to the end of the packet.
std::string encode_error(const Error& error) {
  return fmt::format("{} {} {}", gantry::to_string(error.kind()), error.code(), error.message());
}

Error decode_error(std::string_view text) {
  size_t first = text.find(' ');
  size_t second = first == std::string_view::npos ? first : text.find(' ', first + 1);
  if (second == std::string_view::npos) return internal("unreadable error \"{}\"", text);
  int code = 0;
  std::from_chars(text.data() + first + 1, text.data() + second, code);
  return Error(error_kind_from(text.substr(0, first)), std::string(text.substr(second + 1)), code);
}

}  // namespace gantry::libcontainer

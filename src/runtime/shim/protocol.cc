#include "runtime/shim/protocol.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/sys.h"

namespace gantry::shim {
namespace {

static_assert(std::endian::native == std::endian::little, "frames are little-endian");

struct Header {
  uint32_t size;
  uint16_t type;
  uint16_t descriptors;
  uint32_t id;
};
static_assert(sizeof(Header) == kHeaderSize);

}  // namespace

std::string_view Message::leftover() const {
  size_t end = payload.find('\0');
  return end == std::string::npos ? std::string_view() : std::string_view(payload).substr(end + 1);
}

std::string encode(MessageType type, uint32_t id, size_t descriptors, std::string_view payload) {
  Header header = {static_cast<uint32_t>(payload.size()), static_cast<uint16_t>(type),
                   static_cast<uint16_t>(descriptors), id};
  std::string frame;
  frame.reserve(sizeof header + payload.size());
  frame.append(reinterpret_cast<const char*>(&header), sizeof header);
  frame.append(payload);
  return frame;
}

Status send(int socket, MessageType type, uint32_t id, std::string_view payload,
            const std::vector<int>& descriptors) {
  if (payload.size() > kMaxPayload)
    return invalid("shim message of {} bytes: at most {} are possible", payload.size(),
                   kMaxPayload);
  if (descriptors.size() > kMaxDescriptors)
    return internal("shim message with {} descriptors", descriptors.size());
  return sys::send_with_fds(socket, encode(type, id, descriptors.size(), payload), descriptors)
      .context("shim");
}

std::string error_payload(const Error& error) {
  ErrorReply reply;
  reply.kind = std::string(to_string(error.kind()));
  reply.code = error.code();
  reply.message = error.message();
  return json::dump(reply);
}

Error error_of(const Message& message) {
  Result<ErrorReply> reply = message.as<ErrorReply>();
  if (!reply) return std::move(reply).error();
  return Error(error_kind_from(reply->kind), std::move(reply->message), reply->code);
}

Status Decoder::feed(std::string_view bytes, std::vector<UniqueFd> descriptors) {
  if (descriptors_.size() + descriptors.size() > kMaxDescriptors * 4)
    return invalid("shim protocol: too many descriptors");
  buffer_.append(bytes);
  for (UniqueFd& descriptor : descriptors) descriptors_.push_back(std::move(descriptor));
  return {};
}

Result<std::optional<Message>> Decoder::next() {
  std::string_view rest = std::string_view(buffer_).substr(consumed_);
  Header header;
  if (rest.size() < sizeof header) {
    compact();
    return std::optional<Message>();
  }
  std::memcpy(&header, rest.data(), sizeof header);
  if (header.size > kMaxPayload)
    return invalid("shim protocol: a message of {} bytes", header.size);
  if (header.descriptors > kMaxDescriptors)
    return invalid("shim protocol: a message with {} descriptors", header.descriptors);
  if (rest.size() - sizeof header < header.size) {
    compact();
    return std::optional<Message>();
  }
  if (descriptors_.size() < header.descriptors)
    return invalid("shim protocol: {} of {} descriptors came", descriptors_.size(),
                   header.descriptors);
  Message message;
  message.type = static_cast<MessageType>(header.type);
  message.id = header.id;
  message.payload = rest.substr(sizeof header, header.size);
  for (int i = 0; i < header.descriptors; ++i) {
    message.descriptors.push_back(std::move(descriptors_.front()));
    descriptors_.pop_front();
  }
  consumed_ += sizeof header + header.size;
  return std::optional<Message>(std::move(message));
}

// An idle connection holds no memory, a busy one moves its bytes once per read.
void Decoder::compact() {
  buffer_.erase(0, consumed_);
  consumed_ = 0;
  if (buffer_.empty()) std::string().swap(buffer_);
}

Result<Message> receive(int socket, Decoder& decoder) {
  for (;;) {
    std::optional<Message> message = TRY(decoder.next());
    if (message) return std::move(*message);
    char buffer[8192];
    sys::Received received = TRY(sys::receive_with_fds(socket, buffer, sizeof buffer));
    if (received.size == 0)
      return make_error(ErrorKind::unavailable, "shim: closed the connection");
    TRY(decoder.feed(std::string_view(buffer, received.size), std::move(received.fds)));
  }
}

}  // namespace gantry::shim

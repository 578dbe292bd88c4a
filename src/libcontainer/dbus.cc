#include "libcontainer/dbus.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/sys.h"

namespace gantry::libcontainer {
namespace {

constexpr int kTimeout = 30000;  // ms
constexpr size_t kFixedHeader = 16;
constexpr size_t kMaxMessage = 1 << 20;  // systemd's are small; the protocol's own limit is 128 MiB

// Codes of header fields.
enum : uint8_t {
  kPath = 1,
  kInterface,
  kMember,
  kErrorName,
  kReplySerial,
  kDestination,
  kSender,
  kSignature
};

size_t aligned(size_t at, size_t to) { return (at + to - 1) / to * to; }

}  // namespace

void DbusWriter::align(size_t to) { data_.resize(aligned(data_.size(), to)); }

void DbusWriter::put_u32(uint32_t value) {
  align(4);
  for (int i = 0; i < 4; ++i) data_ += static_cast<char>(value >> 8 * i);
}

void DbusWriter::put_u64(uint64_t value) {
  align(8);
  for (int i = 0; i < 8; ++i) data_ += static_cast<char>(value >> 8 * i);
}

void DbusWriter::put_string(std::string_view text) {
  put_u32(static_cast<uint32_t>(text.size()));
  data_ += text;
  data_ += '\0';
}

void DbusWriter::put_signature(std::string_view text) {
  data_ += static_cast<char>(text.size());
  data_ += text;
  data_ += '\0';
}

size_t DbusWriter::begin_array(size_t alignment) {
  put_u32(0);
  size_t at = data_.size() - 4;
  align(alignment);  // not counted in the length
  return at;
}

void DbusWriter::end_array(size_t at, size_t start) {
  uint32_t size = static_cast<uint32_t>(data_.size() - start);
  for (size_t i = 0; i < 4; ++i) data_[at + i] = static_cast<char>(size >> 8 * i);
}

std::string_view DbusReader::take(size_t size) {
  if (failed_ || size > data_.size() - at_) {
    failed_ = true;
    return {};
  }
  at_ += size;
  return data_.substr(at_ - size, size);
}

void DbusReader::align(size_t to) { (void)take(aligned(at_, to) - at_); }

uint8_t DbusReader::byte() {
  std::string_view raw = take(1);
  return raw.empty() ? 0 : static_cast<uint8_t>(raw[0]);
}

uint32_t DbusReader::u32() {
  align(4);
  std::string_view raw = take(4);
  uint32_t value = 0;
  for (size_t i = 0; i < raw.size(); ++i)
    value |= static_cast<uint32_t>(static_cast<uint8_t>(raw[i])) << 8 * i;
  return value;
}

std::string DbusReader::string() {
  size_t size = u32();
  std::string text(take(size));
  (void)take(1);
  return text;
}

std::string DbusReader::signature() {
  size_t size = byte();
  std::string text(take(size));
  (void)take(1);
  return text;
}

std::string encode(const DbusMessage& message) {
  DbusWriter out;
  out.put_byte('l');
  out.put_byte(static_cast<uint8_t>(message.type));
  out.put_byte(0);  // flags
  out.put_byte(1);  // version of the protocol
  out.put_u32(static_cast<uint32_t>(message.body.size()));
  out.put_u32(message.serial);
  out.array(8, [&] {
    auto field = [&](uint8_t code, std::string_view type, std::string_view text) {
      if (text.empty()) return;
      out.align(8);
      out.put_byte(code);
      out.put_signature(type);
      if (type == "g")
        out.put_signature(text);
      else
        out.put_string(text);
    };
    field(kPath, "o", message.path);
    field(kInterface, "s", message.interface);
    field(kMember, "s", message.member);
    field(kErrorName, "s", message.error_name);
    field(kDestination, "s", message.destination);
    field(kSignature, "g", message.signature);
    if (message.reply_serial) {
      out.align(8);
      out.put_byte(kReplySerial);
      out.put_signature("u");
      out.put_u32(message.reply_serial);
    }
  });
  out.align(8);
  return out.data() + message.body;
}

Result<size_t> message_size(std::string_view fixed_header) {
  if (fixed_header.size() < kFixedHeader || fixed_header[0] != 'l' || fixed_header[3] != 1)
    return invalid("D-Bus: not a little-endian message of version 1");
  DbusReader reader(fixed_header);
  (void)reader.u32();
  size_t body = reader.u32();
  (void)reader.u32();
  size_t fields = reader.u32();
  if (body > kMaxMessage || fields > kMaxMessage) return invalid("D-Bus: a message over 1 MiB");
  return aligned(kFixedHeader + fields, 8) + body;
}

Result<DbusMessage> decode(std::string_view data) {
  if (TRY(message_size(data)) != data.size()) return invalid("D-Bus: a message of another length");
  DbusReader reader(data);
  DbusMessage message;
  (void)reader.byte();
  message.type = static_cast<DbusMessage::Type>(reader.byte());
  (void)reader.byte();
  (void)reader.byte();
  size_t body = reader.u32();
  message.serial = reader.u32();
  size_t end = reader.u32() + kFixedHeader;
  while (!reader.failed() && reader.position() < end) {
    reader.align(8);
    uint8_t code = reader.byte();
    std::string type = reader.signature();
    std::string text;
    uint32_t number = 0;
    if (type == "s" || type == "o")
      text = reader.string();
    else if (type == "g")
      text = reader.signature();
    else if (type == "u")
      number = reader.u32();
    else
      return invalid("D-Bus: a header field of type \"{}\"", type);
    switch (code) {
      case kPath:
        message.path = std::move(text);
        break;
      case kInterface:
        message.interface = std::move(text);
        break;
      case kMember:
        message.member = std::move(text);
        break;
      case kErrorName:
        message.error_name = std::move(text);
        break;
      case kReplySerial:
        message.reply_serial = number;
        break;
      case kDestination:
        message.destination = std::move(text);
        break;
      case kSignature:
        message.signature = std::move(text);
        break;
      default:
        break;  // kSender, and fields to come
    }
  }
  if (reader.failed() || reader.position() != end) return invalid("D-Bus: a torn header");
  message.body = data.substr(data.size() - body);
  return message;
}

Result<DbusConnection> DbusConnection::open(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return invalid("{}: the path is too long", path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return error_from_errno(errno, "D-Bus: socket");
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == -1)
    return errno_error(errno, "connect to {}", path);
  return over(std::move(socket));
}

Result<DbusConnection> DbusConnection::over(UniqueFd socket) {
  DbusConnection connection(std::move(socket));
  TRY(connection.authenticate());
  return connection;
}

Status DbusConnection::authenticate() {
  std::string hex;
  for (char digit : std::to_string(::geteuid())) hex += fmt::format("{:02x}", digit);
  // All of it at once, and nothing more before the answer: systemd does not look at a message that
  // came in one read with BEGIN until the next one comes.
  TRY(sys::write_all(socket_.get(),
                     std::string(1, '\0') + "AUTH EXTERNAL " + hex + "\r\nBEGIN\r\n"));
  while (buffer_.find("\r\n") == buffer_.npos) TRY(fill(buffer_.size() + 1));
  size_t end = buffer_.find("\r\n");
  if (!buffer_.starts_with("OK "))
    return make_error(ErrorKind::permission, "D-Bus: not accepted: {}", buffer_.substr(0, end));
  buffer_.erase(0, end + 2);
  return {};
}

Status DbusConnection::fill(size_t size) {
  while (buffer_.size() < size) {
    if (!TRY(sys::poll_one(socket_.get(), POLLIN, kTimeout)))
      return make_error(ErrorKind::unavailable, "D-Bus: no answer in {} s", kTimeout / 1000);
    char chunk[4096];
    ssize_t got = sys::retry([&] { return ::read(socket_.get(), chunk, sizeof chunk); });
    if (got == -1) return error_from_errno(errno, "D-Bus: read");
    if (got == 0) return make_error(ErrorKind::unavailable, "D-Bus: the other side has closed");
    buffer_.append(chunk, static_cast<size_t>(got));
  }
  return {};
}

Result<DbusMessage> DbusConnection::receive() {
  TRY(fill(kFixedHeader));
  size_t size = TRY(message_size(buffer_));
  TRY(fill(size));
  DbusMessage message = TRY(decode(std::string_view(buffer_).substr(0, size)));
  buffer_.erase(0, size);
  return message;
}

Result<DbusMessage> DbusConnection::call(DbusMessage message) {
  message.type = DbusMessage::Type::call;
  message.serial = ++serial_;
  TRY(sys::write_all(socket_.get(), encode(message)));
  for (;;) {
    DbusMessage got = TRY(receive());
    if (got.type == DbusMessage::Type::signal) {
      signals_.push_back(std::move(got));
      continue;
    }
    if (got.reply_serial != message.serial) continue;
    if (got.type == DbusMessage::Type::reply) return got;
    std::string words = got.signature.starts_with("s") ? DbusReader(got.body).string() : "";
    ErrorKind kind = got.error_name.ends_with(".AccessDenied") ||
                             got.error_name.ends_with(".InteractiveAuthorizationRequired")
                         ? ErrorKind::permission
                     : got.error_name.ends_with(".NoSuchUnit") ? ErrorKind::not_found
                                                               : ErrorKind::internal;
    return make_error(kind, "{}: {}", message.member, words.empty() ? got.error_name : words);
  }
}

Result<DbusMessage> DbusConnection::signal() {
  if (!signals_.empty()) {
    DbusMessage first = std::move(signals_.front());
    signals_.erase(signals_.begin());
    return first;
  }
  for (;;) {
    DbusMessage got = TRY(receive());
    if (got.type == DbusMessage::Type::signal) return got;
  }
}

}  // namespace gantry::libcontainer

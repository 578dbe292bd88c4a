// As much of D-Bus as it takes to ask systemd for a scope: the wire format, one connection to a
// peer (no message bus), calls and signals. Source: the D-Bus specification, "Message Protocol" and
// "Authentication Protocol".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry::libcontainer {

// A body, or a part of one, little-endian. Alignment counts from its own beginning: a body begins
// at a multiple of 8. Values are put in the order of the signature that the caller states.
class DbusWriter {
 public:
  void put_byte(uint8_t value) { data_ += static_cast<char>(value); }
  void put_bool(bool value) { put_u32(value); }
  void put_u32(uint32_t value);
  void put_u64(uint64_t value);
  void put_string(std::string_view text);     // also an object path
  void put_signature(std::string_view text);  // of a variant, before its value
  void align(size_t to);
  // An array of elements that are aligned to `alignment`; `fill` puts them.
  template <typename Fill>
  void array(size_t alignment, Fill&& fill) {
    size_t at = begin_array(alignment);
    size_t start = data_.size();
    fill();
    end_array(at, start);
  }
  const std::string& data() const { return data_; }

 private:
  size_t begin_array(size_t alignment);
  void end_array(size_t at, size_t start);
  std::string data_;
};

// Reads what DbusWriter writes; a read beyond the end is an error of every later read, too.
class DbusReader {
 public:
  explicit DbusReader(std::string_view data) : data_(data) {}
  uint8_t byte();
  uint32_t u32();
  std::string string();
  std::string signature();
  void align(size_t to);
  size_t position() const { return at_; }
  bool failed() const { return failed_; }

 private:
  std::string_view take(size_t size);
  std::string_view data_;
  size_t at_ = 0;
  bool failed_ = false;
};

struct DbusMessage {
  enum class Type : uint8_t { call = 1, reply, error, signal };
  Type type = Type::call;
  uint32_t serial = 0;
  uint32_t reply_serial = 0;  // of a reply or an error
  std::string path, interface, member, error_name, destination, signature;
  std::string body;
};
std::string encode(const DbusMessage& message);
// A whole message, as its length says. `invalid` when it is not one, or big-endian.
Result<DbusMessage> decode(std::string_view data);
// The length of the message whose first 16 bytes these are.
Result<size_t> message_size(std::string_view fixed_header);

// One connection, used by one thread. Calls time out after 30 s.
class DbusConnection {
 public:
  // Connects to the socket and authenticates as who we are (EXTERNAL).
  static Result<DbusConnection> open(const std::string& path);
  static Result<DbusConnection> over(UniqueFd socket);

  // Sends a call and waits for its reply. The peer's error is `permission`, `not_found` (of
  // a unit) or `internal`, with its words. Signals that come in between are kept.
  Result<DbusMessage> call(DbusMessage message);
  // The next signal, in the order they came.
  Result<DbusMessage> signal();

 private:
  explicit DbusConnection(UniqueFd socket) : socket_(std::move(socket)) {}
  Status authenticate();
  Status fill(size_t size);
  Result<DbusMessage> receive();

  UniqueFd socket_;
  uint32_t serial_ = 0;
  std::string buffer_;
  std::vector<DbusMessage> signals_;
};

}  // namespace gantry::libcontainer

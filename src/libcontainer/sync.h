// What the runtime and a child it has cloned say to each other: named messages on a SOCK_SEQPACKET
// pair (or on the gate's socket), one packet each. A failure on the child's side travels as the
// Error it is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry::libcontainer {

enum class SyncMessage : uint32_t {
  // To the child.
  mapped = 1,  // the user namespace's id maps are written
  hooks_done,  // prestart and createRuntime hooks have run; from the child: startContainer hooks
  start,       // the gate is open
  // From the child.
  hooks_due,  // the file system stands, the root has not been pivoted to yet
  console,    // [the terminal's master]
  notify,     // [the seccomp notify descriptor]
  ready,      // at the gate (init), or about to exec (exec)
  error,      // payload: an encoded Error; the child exits
  moved,      // to the child: linux.netDevices are there
  cloned,     // payload: the pid of the child that the process in between has cloned
};
std::string_view to_string(SyncMessage message);

// One end. Owns its descriptor; not thread-safe.
class SyncSocket {
 public:
  struct Pair;
  static Result<Pair> pair();
  SyncSocket() = default;
  explicit SyncSocket(UniqueFd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }
  bool valid() const { return fd_.valid(); }
  void close() { fd_.reset(); }
  [[nodiscard]] UniqueFd release() { return std::move(fd_); }

  Status send(SyncMessage message, std::string_view payload = {}, int fd = -1) const;
  Status send_error(const Error& error) const;

  struct Packet {
    SyncMessage message = SyncMessage::error;
    std::string payload;
    UniqueFd fd;
    bool end = false;  // the other side has closed (by exec, or by dying); nothing else is set
  };
  // Blocks. An `error` packet comes back as that Error.
  Result<Packet> receive() const;
  // Receives and demands this message; the end of the other side is an error.
  Result<Packet> expect(SyncMessage message) const;

 private:
  UniqueFd fd_;
};

struct SyncSocket::Pair {
  SyncSocket parent;
  SyncSocket child;
};

std::string encode_error(const Error& error);
Error decode_error(std::string_view text);

}  // namespace gantry::libcontainer

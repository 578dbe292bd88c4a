// A conversation with CRIU: `criu swrk FD` serves one request over a SOCK_SEQPACKET socket, in
// protocol buffers (CRIU's images/rpc.proto), and asks back at points on its way ("notifications").
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "libcontainer/protobuf.h"

namespace gantry::libcontainer {

// criu_req_type
enum class CriuRequest : uint32_t { dump = 1, restore = 2, check = 3, pre_dump = 4 };

// What runs in the child that becomes criu, and what it has open besides.
struct CriuChild {
  std::function<Status()> prepare;               // may be empty
  std::vector<std::pair<int, int>> descriptors;  // {ours, theirs}; theirs from kCriuFirstFd on
};
constexpr int kCriuFirstFd = 4;  // below: standard input, output and error, and the socket

class Criu {
 public:
  // `unsupported` when there is no criu in PATH.
  static Result<Criu> start(const CriuChild& child = {});
  Criu(Criu&&) noexcept = default;
  Criu& operator=(Criu&&) = delete;
  ~Criu();  // hangs up and waits: criu gives back what it has frozen

  pid_t pid() const { return pid_; }

  // `script` is the point reached ("post-restore"), `pid` the root task's, `fd` what came along.
  using Notify = std::function<Status(std::string_view script, pid_t pid, UniqueFd fd)>;
  // Sends the request with these criu_opts and serves notifications until it has been answered. The
  // error is criu's own.
  Status ask(CriuRequest type, const ProtoWriter& options, const Notify& notify);
  // What criu printed to its standard error.
  std::string printed() const;

 private:
  Criu(pid_t pid, UniqueFd socket, UniqueFd output)
      : pid_(pid), socket_(std::move(socket)), output_(std::move(output)) {}

  pid_t pid_;
  UniqueFd socket_;
  UniqueFd output_;  // a memfd
};

// Ok when `criu check` passes; else `unsupported`, with what it says is missing.
Status check_criu();
// What a line of one of criu's logs says of an error, without time, pid and place; "" for none. The
// first is the cause of those that follow it, unless criu had only been trying something.
std::string first_criu_error(std::string_view log);
std::string last_criu_error(std::string_view log);

}  // namespace gantry::libcontainer

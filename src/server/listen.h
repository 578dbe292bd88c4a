// From -H to listening sockets.
#pragma once

#include <unistd.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry::server {

// The file of a Unix socket that was made here: removed on destruction.
class SocketFile {
 public:
  SocketFile() = default;
  explicit SocketFile(std::string path) : path_(std::move(path)) {}
  SocketFile(SocketFile&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  SocketFile& operator=(SocketFile&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~SocketFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }

 private:
  std::string path_;
};

struct Listener {
  UniqueFd socket;
  SocketFile file;  // empty for other sockets
};

// unix://PATH: made with mode 0660 for `group` (when there is one of that name); `conflict` when a
// daemon answers on it. tcp://HOST:PORT: every address of the name. fd://: the sockets that systemd
// passed (sd_listen_fds(3)).
Result<std::vector<Listener>> listen_on(const std::string& host, const std::string& group);

}  // namespace gantry::server

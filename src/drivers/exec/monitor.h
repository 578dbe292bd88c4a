// One thread that waits for all shims.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry::drivers {

// Thread-safe. Handlers run on the monitor's thread, one at a time, and must not block.
class Monitor {
 public:
  using Handler = std::function<void()>;

  static Result<std::unique_ptr<Monitor>> create();
  ~Monitor();  // not from a handler
  Monitor(const Monitor&) = delete;

  // Calls `handler` whenever `fd` is readable or its peer is gone, until remove(). `fd` is
  // borrowed.
  Result<uint64_t> add(int fd, Handler handler);
  // The handler is not called any more, though a call may still be running on the monitor's thread.
  // What it holds is given up after that.
  void remove(uint64_t token, int fd);

 private:
  Monitor() = default;
  void run();

  UniqueFd epoll_;
  UniqueFd stop_;
  std::mutex mutex_;
  std::map<uint64_t, std::shared_ptr<Handler>> handlers_;  // guarded by mutex_
  uint64_t next_ = 1;                                      // guarded by mutex_
  std::thread thread_;
};

}  // namespace gantry::drivers

// The shim's one epoll loop.
#pragma once

#include <sys/epoll.h>

#include <memory>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry::shim {

// Something with a descriptor that the loop watches. Must be forgotten before the descriptor is
// closed.
class Source {
 public:
  virtual ~Source() = default;
  virtual void ready(uint32_t events) = 0;
};

// Not thread-safe; nothing here may throw or block but wait().
class EventLoop {
 public:
  static Result<EventLoop> create();

  Status watch(int fd, Source& source, uint32_t events);
  Status change(int fd, Source& source, uint32_t events);
  // The source's pending events are dropped too: it may be destroyed right after, unless it is the
  // one that is being called, which goes to bury().
  void forget(int fd, Source& source);
  // Destroys the source once no call of it can be on the stack.
  void bury(std::unique_ptr<Source> source) { graves_.push_back(std::move(source)); }

  // Waits and calls the sources that are ready; false when `timeout_ms` passed without any.
  Result<bool> wait(int timeout_ms);

 private:
  static constexpr int kBatch = 16;

  UniqueFd epoll_;
  epoll_event events_[kBatch] = {};
  int count_ = 0;
  int current_ = 0;
  std::vector<std::unique_ptr<Source>> graves_;
};

}  // namespace gantry::shim

// What the DNS server waits for: sockets and deadlines behind one descriptor. Private to dns/.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry::drivers::dns {

class Loop;

// Something with a descriptor, a deadline, or both. Leaves its loop when it is destroyed.
class Source {
 public:
  explicit Source(Loop& loop);
  virtual ~Source();
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  virtual void ready(uint32_t events) = 0;
  virtual void expired() {}

 protected:
  // The descriptor is the source's own; it is replaced, or given up with {}.
  Status watch(UniqueFd fd, uint32_t events);
  void want(uint32_t events);
  void expire_at(int64_t monotonic_ns);  // 0: never
  int fd() const { return fd_.get(); }
  Loop& loop() { return loop_; }

 private:
  friend class Loop;
  Loop& loop_;
  const uint64_t token_;
  UniqueFd fd_;
  uint32_t events_ = 0;
  int64_t deadline_ = 0;
};

// Not thread-safe but for wait(): the owner holds its lock around everything else.
class Loop {
 public:
  Status open();
  int descriptor() const { return epoll_.get(); }

  // What is ready now; does not block, and needs no lock. `count` at most kBatch.
  static constexpr int kBatch = 32;
  int wait(epoll_event* events);
  // Calls the source that the event is of, if it is still there.
  void handle(const epoll_event& event);
  // Destroys it when no call of it is on the stack.
  void bury(std::unique_ptr<Source> source) { graves_.push_back(std::move(source)); }

 private:
  friend class Source;
  void set_deadline(Source& source, int64_t deadline);
  void arm();
  void expire();

  UniqueFd epoll_, timer_;
  uint64_t next_token_ = 1;  // 0 is the timer's
  std::unordered_map<uint64_t, Source*> sources_;
  std::set<std::pair<int64_t, uint64_t>> deadlines_;
  int64_t armed_ = 0;  // 0: not
  std::vector<std::unique_ptr<Source>> graves_;
};

}  // namespace gantry::drivers::dns

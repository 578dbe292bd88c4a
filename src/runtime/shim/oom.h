// Notices when the kernel kills a process of a container for want of memory.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runtime/shim/event_loop.h"

namespace gantry::shim {

// Watches one cgroup: on v1 an eventfd registered with memory.oom_control (kernel Documentation
// cgroup-v1/memory.rst, section 9 and 10), on v2 inotify of memory.events. Not thread-safe.
class OomWatch final : public Source {
 public:
  // `cgroup` as linux.cgroupsPath. Null when no hierarchy has a memory group of that name.
  static Result<std::unique_ptr<OomWatch>> create(EventLoop& loop, const std::string& cgroup,
                                                  std::function<void()> on_kill);
  ~OomWatch() override;
  void ready(uint32_t events) override;
  // Whether a process has been killed, as counted by the kernel.
  bool killed() const;

 private:
  explicit OomWatch(EventLoop& loop) : loop_(loop) {}

  EventLoop& loop_;
  std::string counters_;  // path of the file with an "oom_kill N" line
  UniqueFd event_;
  std::function<void()> on_kill_;
  int64_t seen_ = 0;
  bool v2_ = false;
  int64_t count() const;
};

}  // namespace gantry::shim

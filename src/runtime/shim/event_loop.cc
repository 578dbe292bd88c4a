#include "runtime/shim/event_loop.h"

#include <cerrno>

#include "base/sys.h"

namespace gantry::shim {

Result<EventLoop> EventLoop::create() {
  EventLoop loop;
  loop.epoll_ = TRY(sys::epoll_create());
  return loop;
}

Status EventLoop::watch(int fd, Source& source, uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.ptr = &source;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == -1)
    return error_from_errno(errno, "epoll_ctl add");
  return {};
}

Status EventLoop::change(int fd, Source& source, uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.ptr = &source;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == -1)
    return error_from_errno(errno, "epoll_ctl change");
  return {};
}

void EventLoop::forget(int fd, Source& source) {
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  for (int i = current_ + 1; i < count_; ++i)
    if (events_[i].data.ptr == &source) events_[i].data.ptr = nullptr;
}

Result<bool> EventLoop::wait(int timeout_ms) {
  count_ = sys::retry([&] { return ::epoll_wait(epoll_.get(), events_, kBatch, timeout_ms); });
  if (count_ == -1) {
    count_ = 0;
    return error_from_errno(errno, "epoll_wait");
  }
  for (current_ = 0; current_ < count_; ++current_)
    if (auto* source = static_cast<Source*>(events_[current_].data.ptr))
      source->ready(events_[current_].events);
  bool any = count_ > 0;
  count_ = current_ = 0;
  graves_.clear();
  return any;
}

}  // namespace gantry::shim

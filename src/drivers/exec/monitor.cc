#include "drivers/exec/monitor.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>

#include <cerrno>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/sys.h"

namespace gantry::drivers {
namespace {

constexpr uint64_t kStop = 0;

}  // namespace

Result<std::unique_ptr<Monitor>> Monitor::create() {
  std::unique_ptr<Monitor> monitor(new Monitor);
  monitor->epoll_ = TRY(sys::epoll_create());
  monitor->stop_ = TRY(sys::eventfd(0));
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = kStop;
  if (::epoll_ctl(monitor->epoll_.get(), EPOLL_CTL_ADD, monitor->stop_.get(), &event) == -1)
    return error_from_errno(errno, "epoll_ctl");
  // Signals are the other threads' affair.
  sigset_t all, old;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &old);
  monitor->thread_ = std::thread([raw = monitor.get()] { raw->run(); });
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
  ::pthread_setname_np(monitor->thread_.native_handle(), "exec-monitor");
  return monitor;
}

Monitor::~Monitor() {
  uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  if (thread_.joinable()) thread_.join();
}

Result<uint64_t> Monitor::add(int fd, Handler handler) {
  std::lock_guard lock(mutex_);
  uint64_t token = next_++;
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = token;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == -1)
    return error_from_errno(errno, "epoll_ctl");
  handlers_[token] = std::make_shared<Handler>(std::move(handler));
  return token;
}

void Monitor::remove(uint64_t token, int fd) {
  std::shared_ptr<Handler> gone;  // destroyed outside the lock: it may own the caller
  std::lock_guard lock(mutex_);
  auto found = handlers_.find(token);
  if (found == handlers_.end()) return;
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  gone = std::move(found->second);
  handlers_.erase(found);
}

void Monitor::run() {
  FailpointScope scope("monitor");
  for (;;) {
    epoll_event events[32];
    int count = sys::retry([&] { return ::epoll_wait(epoll_.get(), events, 32, -1); });
    if (count == -1) {
      log::error("exec monitor: epoll_wait: {}", std::strerror(errno));
      return;
    }
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == kStop) return;
      std::shared_ptr<Handler> handler;
      {
        std::lock_guard lock(mutex_);
        auto found = handlers_.find(events[i].data.u64);
        if (found != handlers_.end()) handler = found->second;
      }
      if (handler) (*handler)();
    }
  }
}

}  // namespace gantry::drivers

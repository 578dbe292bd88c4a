#include "drivers/network/dns/loop.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>

#include "base/clock.h"
#include "base/sys.h"

namespace gantry::drivers::dns {

Source::Source(Loop& loop) : loop_(loop), token_(loop.next_token_++) {
  loop_.sources_.emplace(token_, this);
}

Source::~Source() {
  expire_at(0);
  loop_.sources_.erase(token_);
  // Closing alone does not end the watch of a socket that another process holds as well.
  if (fd_) (void)::epoll_ctl(loop_.epoll_.get(), EPOLL_CTL_DEL, fd_.get(), nullptr);
}

Status Source::watch(UniqueFd fd, uint32_t events) {
  if (fd_) (void)::epoll_ctl(loop_.epoll_.get(), EPOLL_CTL_DEL, fd_.get(), nullptr);
  fd_ = std::move(fd);
  events_ = events;
  if (!fd_) return {};
  epoll_event event{};
  event.events = events;
  event.data.u64 = token_;
  if (::epoll_ctl(loop_.epoll_.get(), EPOLL_CTL_ADD, fd_.get(), &event) == -1) {
    const int error = errno;
    fd_.reset();
    return error_from_errno(error, "epoll_ctl");
  }
  return {};
}

void Source::want(uint32_t events) {
  if (events == events_ || !fd_) return;
  events_ = events;
  epoll_event event{};
  event.events = events;
  event.data.u64 = token_;
  (void)::epoll_ctl(loop_.epoll_.get(), EPOLL_CTL_MOD, fd_.get(), &event);
}

void Source::expire_at(int64_t monotonic_ns) { loop_.set_deadline(*this, monotonic_ns); }

Status Loop::open() {
  epoll_ = TRY(sys::epoll_create());
  timer_ = UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_) return error_from_errno(errno, "timerfd_create");
  epoll_event event{};
  event.events = EPOLLIN;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, timer_.get(), &event) == -1)
    return error_from_errno(errno, "epoll_ctl");
  return {};
}

int Loop::wait(epoll_event* events) {
  const int count = sys::retry([&] { return ::epoll_wait(epoll_.get(), events, kBatch, 0); });
  return count < 0 ? 0 : count;
}

void Loop::handle(const epoll_event& event) {
  if (event.data.u64 == 0) {
    expire();
  } else if (const auto source = sources_.find(event.data.u64); source != sources_.end()) {
    source->second->ready(event.events);
  }
  graves_.clear();
}

void Loop::set_deadline(Source& source, int64_t deadline) {
  if (source.deadline_ == deadline) return;
  if (source.deadline_ != 0) deadlines_.erase({source.deadline_, source.token_});
  source.deadline_ = deadline;
  if (deadline == 0) return;
  deadlines_.insert({deadline, source.token_});
  // One that goes before it expires leaves the timer as it is: it fires once for nothing.
  if (armed_ == 0 || deadline < armed_) arm();
}

void Loop::arm() {
  armed_ = deadlines_.empty() ? 0 : deadlines_.begin()->first;
  itimerspec when{};
  when.it_value.tv_sec = armed_ / 1'000'000'000;
  when.it_value.tv_nsec = armed_ % 1'000'000'000;
  (void)::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void Loop::expire() {
  uint64_t times;
  (void)!::read(timer_.get(), &times, sizeof times);
  const int64_t now = monotonic_ns();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const auto source = sources_.find(deadlines_.begin()->second);
    source->second->deadline_ = 0;
    deadlines_.erase(deadlines_.begin());
    source->second->expired();
  }
  arm();
}

}  // namespace gantry::drivers::dns

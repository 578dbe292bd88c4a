#include "engine/cancel.h"

#include <sys/eventfd.h>

#include "base/log.h"
#include "base/sys.h"

namespace gantry::engine {

CancelSource::Registration::Registration(Registration&& other) noexcept
    : source_(std::move(other.source_)), id_(std::exchange(other.id_, 0)) {}

CancelSource::Registration& CancelSource::Registration::operator=(Registration&& other) noexcept {
  if (this != &other) {
    Registration old(std::move(*this));
    source_ = std::move(other.source_);
    id_ = std::exchange(other.id_, 0);
  }
  return *this;
}

CancelSource::Registration::~Registration() {
  if (!source_) return;
  // Callbacks run under this mutex, so a running one is waited for; recursive, because one may drop
  // a registration.
  std::lock_guard lock(source_->mutex_);
  source_->callbacks_.erase(id_);
}

void CancelSource::cancel(CancelReason reason) {
  std::lock_guard lock(mutex_);
  if (cancelled()) return;
  reason_.store(reason, std::memory_order_release);
  if (event_) {
    uint64_t one = 1;
    log::ignored("cancelling", sys::write_all(event_.get(), {reinterpret_cast<char*>(&one), 8}));
  }
  while (!callbacks_.empty()) {
    auto first = callbacks_.extract(callbacks_.begin());
    first.mapped()();
  }
}

Status CancelSource::check() const {
  switch (reason()) {
    case CancelReason::none:
      return {};
    case CancelReason::requested:
      return Error(ErrorKind::cancelled, "cancelled");
    case CancelReason::deadline:
      return Error(ErrorKind::unavailable, "deadline exceeded");
    case CancelReason::shutdown:
      return Error(ErrorKind::cancelled, "the daemon is shutting down");
  }
  return {};
}

Result<int> CancelSource::fd() {
  std::lock_guard lock(mutex_);
  if (!event_) event_ = TRY(sys::eventfd(cancelled() ? 1 : 0, EFD_NONBLOCK));
  return event_.get();
}

CancelSource::Registration CancelSource::on_cancel(std::function<void()> fn) {
  Registration registration;
  std::lock_guard lock(mutex_);
  if (cancelled()) {
    fn();
    return registration;
  }
  registration.source_ = shared_from_this();
  registration.id_ = next_++;
  callbacks_.emplace(registration.id_, std::move(fn));
  return registration;
}

}  // namespace gantry::engine

// The outside of a job: its state as others see it, and its handle.
#include "engine/engine_impl.h"

namespace gantry::engine {

JobInfo JobState::info() const {
  std::lock_guard lock(mutex_);
  return info_;
}

void JobState::update(const std::function<void(JobInfo&)>& change) {
  std::lock_guard lock(mutex_);
  change(info_);
}

void JobState::finish(Result<std::shared_ptr<void>> result) {
  std::vector<std::function<void()>> done;
  {
    std::lock_guard lock(mutex_);
    result_.emplace(std::move(result));
    finished_ = true;
    done = std::move(done_);
  }
  changed_.notify_all();
  for (const auto& fn : done) fn();
}

bool JobState::finished() const {
  std::lock_guard lock(mutex_);
  return finished_;
}

void JobState::on_done(std::function<void()> fn) {
  {
    std::lock_guard lock(mutex_);
    if (!finished_) {
      done_.push_back(std::move(fn));
      return;
    }
  }
  fn();
}

Result<std::shared_ptr<void>> JobState::take_result() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return finished_; });
  if (!result_) return internal("the result of job {} was taken already", id);
  Result<std::shared_ptr<void>> result = std::move(*result_);
  result_.reset();
  return result;
}

JobHandleBase::JobHandleBase(std::shared_ptr<JobState> state) : state_(std::move(state)) {
  if (!state_->channel) return;
  // The last copy of the listener's end closes the channel, which frees a job that waits to push.
  std::shared_ptr<Channel<json::value>> channel = state_->channel;
  listener_ =
      ProgressChannel(channel.get(), [channel](Channel<json::value>*) { channel->close(); });
}

JobId JobHandleBase::id() const { return state_->id; }
void JobHandleBase::cancel(CancelReason reason) { state_->cancel->cancel(reason); }
bool JobHandleBase::finished() const { return state_->finished(); }
void JobHandleBase::on_done(std::function<void()> fn) { state_->on_done(std::move(fn)); }
ProgressChannel JobHandleBase::progress() { return std::move(listener_); }

Result<std::shared_ptr<void>> JobHandleBase::take_result() {
  listener_.reset();  // nobody took it: the job must not wait for a reader
  return state_->take_result();
}

}  // namespace gantry::engine

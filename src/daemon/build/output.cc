#include "daemon/build/output.h"

namespace gantry::daemon {

void BuildOutput::begin(size_t stages, bool quiet) {
  std::lock_guard lock(mutex_);
  stages_.resize(stages);
  quiet_ = quiet;
}

void BuildOutput::say(size_t stage, const std::string& text) {
  put(stage, {{"stream", text}}, text.size());
}

void BuildOutput::event(size_t stage, json::object event) { put(stage, std::move(event), 128); }

void BuildOutput::put(size_t stage, json::object event, size_t bytes) {
  std::unique_lock lock(mutex_);
  if (quiet_) return;
  if (stage == foremost_) {
    changed_.wait(lock, [&] { return ready_bytes_ < kBound || closed_; });
    ready_.emplace_back(std::move(event), bytes);
    ready_bytes_ += bytes;
    changed_.notify_all();
    return;
  }
  Stage& one = stages_[stage];
  if (one.clipped) return;
  if (one.bytes > kBound) {
    one.clipped = true;
    one.waiting.push_back(json::object{{"stream", "[output clipped: 1 MiB is reached]\n"}});
    return;
  }
  one.bytes += bytes;
  one.waiting.push_back(std::move(event));
}

void BuildOutput::advance() {
  while (foremost_ < stages_.size()) {
    Stage& stage = stages_[foremost_];
    for (json::value& event : stage.waiting) ready_.emplace_back(std::move(event), 0);
    stage.waiting.clear();
    if (!stage.finished) return;
    ++foremost_;
  }
}

void BuildOutput::finish(size_t stage) {
  std::lock_guard lock(mutex_);
  stages_[stage].finished = true;
  if (stage == foremost_) advance();
  changed_.notify_all();
}

void BuildOutput::tell(json::object event) {
  std::lock_guard lock(mutex_);
  ready_.emplace_back(std::move(event), 0);
  changed_.notify_all();
}

void BuildOutput::close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

void BuildOutput::notify() {
  std::lock_guard lock(mutex_);
  changed_.notify_all();
}

std::optional<json::value> BuildOutput::next(const std::function<bool()>& done) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !ready_.empty() || done(); });
  if (ready_.empty()) return {};
  auto [event, bytes] = std::move(ready_.front());
  ready_.pop_front();
  ready_bytes_ -= bytes;
  changed_.notify_all();
  return std::move(event);
}

std::string as_utf8(std::string_view bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size();) {
    const auto c = static_cast<unsigned char>(bytes[i]);
    size_t length = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3
                    : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    bool valid = length > 0 && i + length <= bytes.size();
    for (size_t k = 1; valid && k < length; ++k)
      valid = (static_cast<unsigned char>(bytes[i + k]) & 0xc0) == 0x80;
    if (valid && length == 3) {  // neither overlong nor a surrogate
      const auto d = static_cast<unsigned char>(bytes[i + 1]);
      valid = !(c == 0xe0 && d < 0xa0) && !(c == 0xed && d >= 0xa0);
    }
    if (valid && length == 4) {
      const auto d = static_cast<unsigned char>(bytes[i + 1]);
      valid = !(c == 0xf0 && d < 0x90) && !(c == 0xf4 && d >= 0x90);
    }
    if (valid) {
      out += bytes.substr(i, length);
      i += length;
    } else {
      out += "\xef\xbf\xbd";
      ++i;
    }
  }
  return out;
}

}  // namespace gantry::daemon

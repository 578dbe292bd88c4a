#include "drivers/log/forwarder.h"

#include <poll.h>

#include <algorithm>
#include <charconv>

#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"

namespace gantry::drivers {
namespace {

constexpr size_t kBatchBytes = 64 * 1024;
constexpr int64_t kLongestWaitMs = 15'000;
constexpr size_t kEntryOverhead = 40;  // of an entry in the file, about

std::string progress_path(const std::string& log_path) { return log_path + ".sent"; }

Result<uint64_t> last_number(const shim::LogConfig& config) {
  std::unique_ptr<LogReader> reader = TRY(LogReader::open(config, {.tail = 1}));
  std::optional<LogEntry> last = TRY(reader->next());
  return last ? last->number : 0;
}

}  // namespace

Result<LogProgress> read_progress(const std::string& log_path) {
  Result<std::string> text = fs::read_file(progress_path(log_path), 64);
  if (!text && text.error().kind() == ErrorKind::not_found) return LogProgress();
  if (!text) return std::move(text).error();
  LogProgress progress;
  unsigned long long sent = 0, dropped = 0;
  // Of a machine that lost power it may be empty: then everything that is kept is sent again.
  if (std::sscanf(text->c_str(), "%llu %llu", &sent, &dropped) == 2) progress = {sent, dropped};
  return progress;
}

Result<bool> has_unsent(const shim::LogConfig& config) {
  return TRY(last_number(config)) > TRY(read_progress(config.path)).sent;
}

LogForwarder::LogForwarder(Options options, std::unique_ptr<LogSink> sink, bool running)
    : options_(std::move(options)), sink_(std::move(sink)), running_(running) {
  thread_ = std::thread([this] { loop(); });
}

LogForwarder::~LogForwarder() { stop(); }

void LogForwarder::begin_run() {
  std::lock_guard lock(mutex_);
  running_ = again_ = true;
  idle_ = false;
  changed_.notify_all();
}

void LogForwarder::end_run() {
  std::lock_guard lock(mutex_);
  running_ = false;
  if (reader_) reader_->finish();
  changed_.notify_all();
}

bool LogForwarder::wait_until_sent(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [this] { return idle_ && !again_; });
}

void LogForwarder::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
    uint64_t one = 1;
    if (cancel_) (void)!::write(cancel_.get(), &one, sizeof one);
  }
  if (thread_.joinable()) thread_.join();
}

void LogForwarder::give_up() {
  stop();
  Result<uint64_t> last = last_number(options_.log);
  if (last && *last > progress_.sent)
    drop(*last - progress_.sent, "the container is removed before its server took them");
}

LogProgress LogForwarder::progress() const {
  std::lock_guard lock(mutex_);
  return progress_;
}

void LogForwarder::loop() {
  const std::string what = "the log of container " + options_.name;
  Status prepared = [&]() -> Status {
    UniqueFd cancel = TRY(sys::eventfd(0, O_NONBLOCK));
    LogProgress progress = TRY(read_progress(options_.log.path));
    progress_file_ =
        TRY(sys::open(progress_path(options_.log.path), O_WRONLY | O_CREAT | O_NOFOLLOW, 0640));
    std::lock_guard lock(mutex_);
    cancel_ = std::move(cancel);
    progress_ = progress;
    return {};
  }();
  if (!prepared) log::error("{} is not sent: {}", what, prepared.error().message());
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return again_ || stopping_; });
    if (stopping_) return;
    again_ = false;
    if (prepared) {
      lock.unlock();
      Result<bool> ended = run_once();
      if (!ended && ended.error().kind() != ErrorKind::cancelled)
        log::error("{}: {}", what, ended.error().message());
      lock.lock();
      reader_.reset();
    }
    idle_ = true;
    changed_.notify_all();
  }
}

// Numbers are dense, so the distance to the last one says how far from the end to begin.
Result<std::unique_ptr<LogReader>> LogForwarder::open_reader(bool follow) {
  uint64_t last = TRY(last_number(options_.log));
  if (last < progress_.sent) {  // somebody took the log away
    std::lock_guard lock(mutex_);
    progress_.sent = 0;
  }
  LogQuery query;
  query.follow = follow;
  query.tail = static_cast<int64_t>(last - progress_.sent);
  return LogReader::open(options_.log, query);
}

Result<bool> LogForwarder::run_once() {
  bool follow;
  {
    std::lock_guard lock(mutex_);
    follow = running_;
  }
  std::shared_ptr<LogReader> reader = TRY(open_reader(follow));
  std::optional<LogEntry> entry = TRY(reader->ready());
  // What was written while it was being opened has moved the end, from which the beginning was
  // counted.
  for (int tries = 0; entry && entry->number > progress_.sent + 1 && tries < 5; ++tries) {
    LogQuery query;
    query.follow = follow;
    query.tail = static_cast<int64_t>(TRY(last_number(options_.log)) - progress_.sent) + 1000;
    reader = TRY(LogReader::open(options_.log, query));
    entry = TRY(reader->ready());
  }
  {
    std::lock_guard lock(mutex_);
    reader_ = reader;
    if (!running_) reader->finish();
  }
  batch_.clear();
  batch_bytes_ = 0;
  last_ = progress_.sent;
  for (;;) {
    if (!entry) entry = TRY(reader->ready());
    if (!entry) {
      TRY(flush(*reader));
      entry = TRY(reader->next(cancel_.get()));
      if (!entry) return true;
    }
    if (entry->number > last_) {
      if (entry->number > last_ + 1) drop(entry->number - last_ - 1, "the file was rotated");
      last_ = entry->number;
      batch_bytes_ += entry->line.size() + kEntryOverhead;
      batch_.push_back(std::move(*entry));
      TRY(put_last(*reader));
      if (batch_bytes_ >= kBatchBytes) TRY(flush(*reader));
    }
    entry.reset();
  }
}

Status LogForwarder::put_last(LogReader& reader) {
  if (!connected_) {
    TRY(redeliver());
    return skip_excess(reader);
  }
  Status put = sink_->put(batch_.back(), cancel_.get());
  if (put) return {};
  if (put.error().kind() == ErrorKind::cancelled) return put;
  if (put.error().kind() == ErrorKind::invalid) {
    drop(1, put.error().message());
    batch_.pop_back();
    return {};
  }
  connected_ = false;
  log::warn("the log of container {} waits for its server: {}", options_.name,
            put.error().message());
  TRY(redeliver());
  return skip_excess(reader);
}

Status LogForwarder::flush(LogReader& reader) {
  if (connected_) {
    Status flushed = sink_->flush(cancel_.get());
    if (!flushed) {
      if (flushed.error().kind() == ErrorKind::cancelled) return flushed;
      connected_ = false;
      log::warn("the log of container {} waits for its server: {}", options_.name,
                flushed.error().message());
    }
  }
  if (!connected_ && !batch_.empty()) TRY(redeliver());
  note_sent();
  return skip_excess(reader);
}

// Until the server has all that is in hand.
Status LogForwarder::redeliver() {
  for (;;) {
    if (!TRY(reconnect())) {
      drop(batch_.size(), "its server could not be reached");
      note_sent();
      return {};
    }
    Status sent;
    for (const LogEntry& entry : batch_) {
      sent = sink_->put(entry, cancel_.get());
      if (!sent && sent.error().kind() == ErrorKind::invalid) {
        drop(1, sent.error().message());
        sent = Status();
      }
      if (!sent) break;
    }
    if (sent) sent = sink_->flush(cancel_.get());
    if (sent) {
      note_sent();
      return {};
    }
    if (sent.error().kind() == ErrorKind::cancelled) return sent;
    connected_ = false;
    TRY(pause(options_.delivery.retry_wait_ms));
  }
}

// False when it was tried as often as it may be.
Result<bool> LogForwarder::reconnect() {
  const LogDelivery& delivery = options_.delivery;
  int64_t wait = delivery.retry_wait_ms;
  for (int64_t tries = 1;; ++tries) {
    Status made = sink_->connect(cancel_.get());
    if (made) {
      connected_ = true;
      if (tries > 1) log::info("the log of container {} is sent again", options_.name);
      return true;
    }
    if (made.error().kind() == ErrorKind::cancelled) return std::move(made).error();
    if (tries == 1)
      log::warn("the log of container {} waits for its server: {}", options_.name,
                made.error().message());
    if (delivery.max_tries > 0 && tries > delivery.max_tries) return false;
    TRY(pause(wait));
    if (!delivery.constant_wait) wait = std::min(2 * wait, kLongestWaitMs);
  }
}

Status LogForwarder::pause(int64_t ms) {
  pollfd entry{cancel_.get(), POLLIN, 0};
  int timeout = static_cast<int>(std::min<int64_t>(ms, INT32_MAX));
  if (sys::retry([&] { return ::poll(&entry, 1, timeout); }) > 0)
    return make_error(ErrorKind::cancelled, "stopped");
  return {};
}

// The oldest go first, as from Docker's ring buffer.
Status LogForwarder::skip_excess(LogReader& reader) {
  const LogDelivery& delivery = options_.delivery;
  uint64_t skipped = 0;
  auto skip = [&]() -> Result<size_t> {
    std::optional<LogEntry> entry = TRY(reader.ready());
    if (!entry) return size_t{0};
    if (entry->number > last_) {
      skipped += entry->number - last_;
      last_ = entry->number;
    }
    return entry->line.size() + kEntryOverhead;
  };
  if (delivery.max_bytes > 0) {
    int64_t excess = TRY(reader.unread_bytes()) - delivery.max_bytes;
    while (excess > 0) {
      size_t size = TRY(skip());
      if (size == 0) break;
      excess -= static_cast<int64_t>(size);
    }
  }
  if (delivery.max_entries > 0) {
    uint64_t last = TRY(last_number(options_.log));
    while (last > last_ + static_cast<uint64_t>(delivery.max_entries))
      if (TRY(skip()) == 0) break;
  }
  if (skipped == 0) return {};
  drop(skipped, "more was waiting than may");
  note_sent();
  return {};
}

void LogForwarder::drop(uint64_t count, const std::string& why) {
  if (count == 0) return;
  {
    std::lock_guard lock(mutex_);
    progress_.dropped += count;
  }
  log::warn("the log of container {}: {} entries were dropped: {}", options_.name, count, why);
  if (options_.on_dropped) options_.on_dropped(count);
}

void LogForwarder::note_sent() {
  batch_.clear();
  batch_bytes_ = 0;
  std::string text;
  {
    std::lock_guard lock(mutex_);
    if (progress_.sent == last_) return;
    progress_.sent = last_;
    text = fmt::format("{:020} {:020}\n", progress_.sent, progress_.dropped);
  }
  log::ignored("how far a log was sent", sys::pwrite_all(progress_file_.get(), text, 0));
}

}  // namespace gantry::drivers

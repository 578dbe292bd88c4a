#include "base/byte_source.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/sys.h"

namespace gantry {

Result<size_t> read_full(ByteSource& source, std::span<char> into) {
  size_t done = 0;
  while (done < into.size()) {
    size_t got = TRY(source.read(into.subspan(done)));
    if (got == 0) break;
    done += got;
  }
  return done;
}

Result<std::string> read_all(ByteSource& source, size_t limit) {
  std::string out;
  std::vector<char> buffer(64 << 10);
  for (;;) {
    size_t got = TRY(source.read(buffer));
    if (got == 0) return out;
    if (out.size() + got > limit) return invalid("larger than {} bytes", limit);
    out.append(buffer.data(), got);
  }
}

Result<uint64_t> copy_all(ByteSource& source, ByteSink& sink) {
  std::vector<char> buffer(256 << 10);
  for (uint64_t total = 0;;) {
    size_t got = TRY(source.read(buffer));
    if (got == 0) return total;
    TRY(sink.write({buffer.data(), got}));
    total += got;
  }
}

Result<uint64_t> discard_all(ByteSource& source) {
  std::vector<char> buffer(64 << 10);
  for (uint64_t total = 0;;) {
    size_t got = TRY(source.read(buffer));
    if (got == 0) return total;
    total += got;
  }
}

Result<size_t> FdSource::read(std::span<char> into) {
  return sys::read(fd_, into.data(), into.size());
}

Result<size_t> FileRangeSource::read(std::span<char> into) {
  size_t wanted = static_cast<size_t>(std::min<uint64_t>(left_, into.size()));
  if (wanted == 0) return size_t{0};
  size_t got = TRY(sys::pread(fd_, into.data(), wanted, static_cast<off_t>(offset_)));
  if (got == 0) return invalid("the file ends {} bytes early", left_);
  offset_ += got;
  left_ -= got;
  return got;
}

Result<size_t> MemorySource::read(std::span<char> into) {
  size_t size = std::min(into.size(), bytes_.size());
  std::memcpy(into.data(), bytes_.data(), size);
  bytes_.remove_prefix(size);
  return size;
}

Status FdSink::write(std::string_view bytes) { return sys::write_all(fd_, bytes); }

void BytePipe::wake(std::unique_lock<std::mutex>& lock) {
  std::function<void()> waker = waker_;
  lock.unlock();
  changed_.notify_all();
  if (waker) waker();
}

Result<size_t> BytePipe::read(std::span<char> into) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !pieces_.empty() || finished_ || failure_; });
  if (pieces_.empty()) {
    if (failure_) return Error(*failure_);
    return size_t{0};
  }
  size_t done = 0;
  while (done < into.size() && !pieces_.empty()) {
    std::string& front = pieces_.front();
    size_t size = std::min(into.size() - done, front.size() - front_used_);
    std::memcpy(into.data() + done, front.data() + front_used_, size);
    done += size;
    front_used_ += size;
    if (front_used_ == front.size()) {
      pieces_.pop_front();
      front_used_ = 0;
    }
  }
  buffered_ -= done;
  wake(lock);
  return done;
}

Status BytePipe::write(std::string_view bytes) {
  while (!bytes.empty()) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return buffered_ < capacity_ || reader_gone_; });
    if (reader_gone_) return Error(ErrorKind::cancelled, "the reader has gone");
    size_t size = std::min(bytes.size(), capacity_ - buffered_);
    pieces_.emplace_back(bytes.substr(0, size));
    buffered_ += size;
    bytes.remove_prefix(size);
    wake(lock);
  }
  return {};
}

bool BytePipe::try_write(std::string& bytes) {
  std::unique_lock lock(mutex_);
  if (reader_gone_ || bytes.empty()) return true;
  if (buffered_ >= capacity_) return false;
  buffered_ += bytes.size();
  pieces_.push_back(std::move(bytes));
  wake(lock);
  return true;
}

std::optional<Result<std::string>> BytePipe::try_read() {
  std::unique_lock lock(mutex_);
  if (pieces_.empty()) {
    if (failure_) return Result<std::string>(Error(*failure_));
    if (finished_) return Result<std::string>(std::string());
    return std::nullopt;
  }
  std::string piece = std::move(pieces_.front());
  pieces_.pop_front();
  piece.erase(0, std::exchange(front_used_, 0));
  buffered_ -= piece.size();
  wake(lock);
  return Result<std::string>(std::move(piece));
}

void BytePipe::finish() {
  std::unique_lock lock(mutex_);
  finished_ = true;
  wake(lock);
}

void BytePipe::fail(Error error) {
  std::unique_lock lock(mutex_);
  if (!failure_) failure_ = std::move(error);
  wake(lock);
}

void BytePipe::close_reader() {
  std::unique_lock lock(mutex_);
  reader_gone_ = true;
  pieces_.clear();
  buffered_ = front_used_ = 0;
  wake(lock);
}

bool BytePipe::reader_gone() const {
  std::unique_lock lock(mutex_);
  return reader_gone_;
}

void BytePipe::set_waker(std::function<void()> waker) {
  std::unique_lock lock(mutex_);
  waker_ = std::move(waker);
}

}  // namespace gantry

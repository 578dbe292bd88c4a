// Streams of bytes between blocking code: where archives, layers and bodies come from and go to.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry {

// Something that is read once, front to back. Not thread-safe unless said so.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Blocks until at least one byte is there and gives how many were put into `into` (which is not
  // empty); 0 at the end, and again on every later call. A stream that was cut short is an error,
  // never an end.
  virtual Result<size_t> read(std::span<char> into) = 0;
};

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual Status write(std::string_view bytes) = 0;  // all of them, or an error
};

// Fills `into` unless the source ends first; gives how many bytes were read.
Result<size_t> read_full(ByteSource& source, std::span<char> into);
// Reads everything; more than `limit` bytes are an `invalid` error.
Result<std::string> read_all(ByteSource& source, size_t limit);
// Moves everything to `sink` (or drops it); gives the number of bytes.
Result<uint64_t> copy_all(ByteSource& source, ByteSink& sink);
Result<uint64_t> discard_all(ByteSource& source);

// read(2) on a descriptor: a file, a pipe, a socket in blocking mode.
class FdSource final : public ByteSource {
 public:
  explicit FdSource(UniqueFd fd) : owned_(std::move(fd)), fd_(owned_.get()) {}
  explicit FdSource(int borrowed) : fd_(borrowed) {}
  Result<size_t> read(std::span<char> into) override;

 private:
  UniqueFd owned_;
  int fd_;
};

// `size` bytes of a file from `offset` on, by pread(2): several may share one descriptor. A file
// that ends earlier is an error.
class FileRangeSource final : public ByteSource {
 public:
  FileRangeSource(int borrowed, uint64_t offset, uint64_t size)
      : fd_(borrowed), offset_(offset), left_(size) {}
  Result<size_t> read(std::span<char> into) override;

 private:
  int fd_;
  uint64_t offset_;
  uint64_t left_;
};

// Bytes in memory, which must outlive it.
class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::string_view bytes) : bytes_(bytes) {}
  Result<size_t> read(std::span<char> into) override;

 private:
  std::string_view bytes_;
};

class FdSink final : public ByteSink {
 public:
  explicit FdSink(UniqueFd fd) : owned_(std::move(fd)), fd_(owned_.get()) {}
  explicit FdSink(int borrowed) : fd_(borrowed) {}
  Status write(std::string_view bytes) override;

 private:
  UniqueFd owned_;
  int fd_;
};

class StringSink final : public ByteSink {
 public:
  Status write(std::string_view bytes) override {
    bytes_.append(bytes);
    return {};
  }
  std::string& bytes() { return bytes_; }

 private:
  std::string bytes_;
};

// A bounded pipe between a coroutine and a job's thread, either way round: one end blocks, the
// other tries and is woken. Thread-safe; one reader, one writer. Keep it in a shared_ptr.
//
// Upload: the coroutine try_write()s pieces of a body and finish()es or fail()s it; the job
// read()s. Download: the job write()s and finish()es; the coroutine try_read()s.
class BytePipe final : public ByteSource, public ByteSink {
 public:
  explicit BytePipe(size_t capacity = 1u << 20) : capacity_(capacity) {}

  // The blocking ends. write() fails with `cancelled` once the reader has closed.
  Result<size_t> read(std::span<char> into) override;
  Status write(std::string_view bytes) override;

  // The trying ends. try_write: false when full now (the bytes stay the caller's), true when taken
  // or when the reader has closed (the bytes are dropped then; see reader_gone()).
  bool try_write(std::string& bytes);
  // Nothing: empty now. "": the end, or the failure told by fail().
  std::optional<Result<std::string>> try_read();

  void finish();           // writer: no more bytes
  void fail(Error error);  // writer: the reader gets this error after what is buffered
  void close_reader();     // reader: not interested any more
  bool reader_gone() const;
  // Called, outside the lock, from the other side's thread whenever trying again may give something
  // new.
  void set_waker(std::function<void()> waker);

 private:
  void wake(std::unique_lock<std::mutex>& lock);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> pieces_;
  size_t front_used_ = 0;  // bytes of pieces_.front() already read
  size_t buffered_ = 0;
  const size_t capacity_;
  bool finished_ = false;
  bool reader_gone_ = false;
  std::optional<Error> failure_;
  std::function<void()> waker_;
};

}  // namespace gantry

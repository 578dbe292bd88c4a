#include "base/byte_source.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/sys.h"

namespace gantry {
namespace {

TEST(ByteSource, ReadsMemoryAndFiles) {
  MemorySource memory("hello");
  EXPECT_EQ(read_all(memory, 5).value(), "hello");
  MemorySource long_one("hello!");
  EXPECT_EQ(read_all(long_one, 5).error().kind(), ErrorKind::invalid);

  UniqueFd fd = sys::memfd_create("test", 0).release();
  ASSERT_TRUE(sys::write_all(fd.get(), "0123456789"));
  FileRangeSource range(fd.get(), 2, 5);
  EXPECT_EQ(read_all(range, 100).value(), "23456");
  FileRangeSource beyond(fd.get(), 8, 5);
  EXPECT_FALSE(read_all(beyond, 100));
}

TEST(BytePipe, CarriesBytesFromATryingToABlockingEnd) {
  BytePipe pipe(8);
  std::string sent;
  std::mutex mutex;
  std::condition_variable ready;
  bool woken = false;
  std::thread writer([&] {
    pipe.set_waker([&] {
      std::lock_guard lock(mutex);
      woken = true;
      ready.notify_one();
    });
    for (int i = 0; i < 1000; ++i) {
      std::string piece = fmt::format("{};", i);
      sent += piece;
      while (!pipe.try_write(piece)) {
        std::unique_lock lock(mutex);
        ready.wait(lock, [&] { return std::exchange(woken, false); });
      }
    }
    pipe.finish();
  });
  std::string got = read_all(pipe, 1 << 20).value();
  writer.join();
  EXPECT_EQ(got, sent);
}

TEST(BytePipe, GivesTheFailureAfterWhatWasBuffered) {
  BytePipe pipe;
  ASSERT_TRUE(pipe.write("abc"));
  pipe.fail(Error(ErrorKind::cancelled, "the client has gone"));
  char buffer[8];
  EXPECT_EQ(pipe.read(buffer).value(), 3u);
  EXPECT_EQ(pipe.read(buffer).error().message(), "the client has gone");
}

TEST(BytePipe, RefusesToWriteOnceTheReaderHasClosed) {
  BytePipe pipe(4);
  std::thread reader([&] { pipe.close_reader(); });
  Status written = pipe.write("more than fits in it");
  reader.join();
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().kind(), ErrorKind::cancelled);
}

}  // namespace
}  // namespace gantry

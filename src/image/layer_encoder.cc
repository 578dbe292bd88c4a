#include "image/layer_encoder.h"

#ifdef GANTRY_ISAL
#include <isa-l/igzip_lib.h>
#else
#include <zlib.h>
#endif

#include <cstring>
#include <deque>
#include <future>
#include <thread>
#include <vector>

#include "base/channel.h"

namespace gantry::image {
namespace {

constexpr size_t kMember = 1u << 20;  // of the tar; part of what encoder_name() stands for
constexpr size_t kThreads = 2;
constexpr size_t kInFlight = 4;

#ifdef GANTRY_ISAL
constexpr int kLevel = 2;

Result<std::string> encode_member(std::string_view in) {
  std::vector<uint8_t> work(ISAL_DEF_LVL2_DEFAULT);
  std::string out(in.size() + in.size() / 8 + 4096, '\0');
  isal_zstream stream;
  isal_deflate_init(&stream);
  stream.level = kLevel;
  stream.level_buf = work.data();
  stream.level_buf_size = static_cast<uint32_t>(work.size());
  stream.gzip_flag = IGZIP_GZIP;
  stream.end_of_stream = 1;
  stream.next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(in.data()));
  stream.avail_in = static_cast<uint32_t>(in.size());
  stream.next_out = reinterpret_cast<uint8_t*>(out.data());
  stream.avail_out = static_cast<uint32_t>(out.size());
  int code = isal_deflate(&stream);
  if (code != COMP_OK || stream.internal_state.state != ZSTATE_END)
    return internal("compressing a layer failed (code {})", code);
  out.resize(out.size() - stream.avail_out);
  return out;
}
#else
constexpr int kLevel = 4;

Result<std::string> encode_member(std::string_view in) {
  z_stream stream{};
  if (::deflateInit2(&stream, kLevel, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    return internal("zlib did not start");
  std::string out(::deflateBound(&stream, in.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  int code = ::deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  if (code != Z_STREAM_END) return internal("compressing a layer failed (code {})", code);
  return out;
}
#endif

class Encoder final : public ByteSource {
 public:
  explicit Encoder(std::unique_ptr<ByteSource> tar) : tar_(std::move(tar)) {
    for (size_t i = 0; i < kThreads; ++i)
      threads_.emplace_back([this] {
        while (std::optional<Task> task = tasks_.pop()) (*task)();
      });
  }
  ~Encoder() override {
    tasks_.close();
    for (std::thread& thread : threads_) thread.join();
  }

  Result<size_t> read(std::span<char> into) override {
    while (used_ == member_.size()) {
      TRY(fill());
      if (pending_.empty()) return size_t{0};
      member_ = TRY(pending_.front().get());
      pending_.pop_front();
      used_ = 0;
    }
    size_t size = std::min(into.size(), member_.size() - used_);
    std::memcpy(into.data(), member_.data() + used_, size);
    used_ += size;
    return size;
  }

 private:
  using Task = std::packaged_task<Result<std::string>()>;

  Status fill() {
    while (!ended_ && pending_.size() < kInFlight) {
      std::string block(kMember, '\0');
      size_t size = TRY(read_full(*tar_, block));
      block.resize(size);
      ended_ = size < kMember;
      if (size == 0 && any_) return {};
      any_ = true;  // an empty tar is one empty member
      Task task([block = std::move(block)] { return encode_member(block); });
      pending_.push_back(task.get_future());
      tasks_.push(std::move(task));
    }
    return {};
  }

  std::unique_ptr<ByteSource> tar_;
  Channel<Task> tasks_{kInFlight};
  std::vector<std::thread> threads_;
  std::deque<std::future<Result<std::string>>> pending_;
  std::string member_;
  size_t used_ = 0;
  bool ended_ = false;
  bool any_ = false;
};

}  // namespace

std::string_view encoder_name() {
#ifdef GANTRY_ISAL
  return "gantry-gzip-isal-1";
#else
  return "gantry-gzip-zlib-1";
#endif
}

std::unique_ptr<ByteSource> encode_layer(std::unique_ptr<ByteSource> tar) {
  return std::make_unique<Encoder>(std::move(tar));
}

}  // namespace gantry::image

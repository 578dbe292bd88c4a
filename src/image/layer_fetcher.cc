#include "image/layer_fetcher.h"

#include <sys/stat.h>

#include <thread>

#include "base/failpoint.h"
#include "base/sys.h"
#include "drivers/graph/graph_driver.h"
#include "graph/content_store.h"
#include "image/layer_gate.h"

namespace gantry::image {
namespace {

constexpr auto kBetween = std::chrono::milliseconds(100);  // progress events of one layer

// MiB that the layers of all pulls may hold together (layer_pipeline.h, decoders.h): however many
// downloads are asked for, the daemon stays under 64.
constexpr int kRoom = 40;
constexpr int kRoomOfLayer = 6;
constexpr int kRoomOfSmallLayer = 1;

LayerGate& gate() {
  static LayerGate gate(kRoom);
  return gate;
}

// What was kept of a blob, then what the registry has of the rest.
class Continued final : public ByteSource {
 public:
  Continued(RemoteRepository& remote, const Descriptor& blob, int fd, uint64_t kept)
      : remote_(remote), blob_(blob), file_(fd, 0, kept), kept_(kept) {}
  Result<size_t> read(std::span<char> into) override {
    if (at_ < kept_) {
      size_t got = TRY(file_.read(into));
      at_ += got;
      return got;
    }
    if (!rest_) rest_ = TRY(remote_.blob(blob_, kept_));
    return rest_->read(into);
  }

 private:
  RemoteRepository& remote_;
  const Descriptor& blob_;
  FileRangeSource file_;
  const uint64_t kept_;
  uint64_t at_ = 0;
  std::unique_ptr<ByteSource> rest_;
};

}  // namespace

std::string short_id(const Digest& digest) { return digest.hex().substr(0, 12); }

void LayerFetcher::tell(const WantedLayer& layer, const char* status, int64_t current,
                        int64_t total) {
  Event event{short_id(layer.digest), status, current, total};
  if (current >= 0)
    (void)events_.try_push(std::move(event));  // the next one tells as much
  else
    (void)events_.push(std::move(event));
}

bool LayerFetcher::failed() {
  std::lock_guard lock(mutex_);
  return failure_.has_value();
}

Status LayerFetcher::run(const std::vector<WantedLayer*>& layers) {
  std::vector<std::thread> threads;
  size_t count =
      std::min<size_t>(layers.size(), static_cast<size_t>(std::max(options_.parallel, 1)));
  running_ = count;
  for (size_t i = 0; i < count; ++i) threads.emplace_back([this, &layers] { work(layers); });
  while (std::optional<Event> event = events_.pop()) {
    if (!progress_) continue;
    json::object line{{"status", event->status}, {"id", event->id}};
    json::object detail;
    if (event->current >= 0) detail["current"] = event->current;
    if (event->total >= 0) detail["total"] = event->total;
    line["progressDetail"] = std::move(detail);
    progress_(std::move(line));
  }
  for (std::thread& thread : threads) thread.join();
  if (failure_) return std::move(*failure_);
  return {};
}

void LayerFetcher::work(const std::vector<WantedLayer*>& layers) {
  while (true) {
    WantedLayer* layer = nullptr;
    {
      std::lock_guard lock(mutex_);
      if (!failure_ && next_ < layers.size()) layer = layers[next_++];
      if (layer == nullptr && --running_ == 0) events_.close();
    }
    if (layer == nullptr) return;
    Status status;
    try {
      status = fetch(*layer);
    } catch (const std::exception& error) {
      status = internal("blob {}: {}", layer->digest.text(), error.what());
    }
    if (status) continue;
    std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(status).error();
  }
}

Status LayerFetcher::fetch(WantedLayer& layer) {
  std::optional<PartialBlobs::Holder> partial;
  if (layer.blob.size >= options_.keep_partial_from && partials_.reserved(layer.digest)) {
    Result<PartialBlobs::Holder> holder = partials_.hold(layer.digest);
    if (holder) partial.emplace(holder.release());
  }
  Status received = receive(layer, partial ? &*partial : nullptr);
  if (!received && received.error().message().find(layer.digest.text()) == std::string::npos)
    return std::move(received).context("layer {}", layer.digest.text());
  TRY(std::move(received));
  layer.state = WantedLayer::State::ingested;
  return {};
}

Status LayerFetcher::receive(WantedLayer& layer, PartialBlobs::Holder* partial) {
  uint64_t kept = 0;
  if (partial != nullptr) {
    struct stat st = TRY(sys::fstat(partial->fd()));
    kept = static_cast<uint64_t>(st.st_size);
    if (st.st_size > layer.blob.size) {
      TRY(sys::ftruncate(partial->fd(), 0));
      kept = 0;
    }
  }
  std::optional<graph::ContentStore::Writer> keep;
  if (options_.keep_compressed) keep.emplace(TRY(content_.writer()));
  Continued source(remote_, layer.blob, partial != nullptr ? partial->fd() : -1, kept);
  uint64_t at = 0;
  auto last = std::chrono::steady_clock::now();
  PipelineInput input;
  input.name = layer.digest.text();
  input.size = layer.blob.size;
  input.compressed = &source;
  input.limits = options_.limits;
  input.tee = [&](std::string_view bytes) -> Status {
    if (failed()) return Error(ErrorKind::cancelled, "another layer failed");
    if (keep) TRY(keep->write(bytes));
    uint64_t begin = at;
    at += bytes.size();
    if (partial == nullptr || at <= kept) return {};
    // A full disk or the like costs the resumption, not the pull.
    if (!sys::pwrite_all(partial->fd(), bytes, static_cast<off_t>(begin))) partial = nullptr;
    return {};
  };
  input.read_so_far = [&](int64_t size) {
    auto now = std::chrono::steady_clock::now();
    if (now - last < kBetween) return;
    last = now;
    tell(layer, "Downloading", size, layer.blob.size);
    claims_.progress(layer.chain_id, size, layer.blob.size);
  };
  TRY(failpoint("image.pull-layer"));
  LayerGate::Pass pass = TRY(gate().enter(
      is_small_layer(layer.blob.size) ? kRoomOfSmallLayer : kRoomOfLayer, job_.cancel()));
  Result<PipelineResult> result = run_pipeline(input, [&](ByteSource& tar) -> Status {
    drivers::IngestedLayer ingested = TRY(driver_.ingest(layer.directory, tar));
    layer.size = ingested.size;
    return {};
  });
  bool wrong = !result && result.error().kind() == ErrorKind::invalid;
  if (wrong && kept > 0) {  // perhaps it is what was kept that is wrong
    std::lock_guard lock(mutex_);
    spoiled_.push_back(layer.digest.text());
  }
  if (!result) return std::move(result).error();
  tell(layer, "Verifying Checksum");
  TRY(check(layer, *result));
  layer.result = *result;
  if (keep) TRY(keep->commit(layer.digest));
  tell(layer, "Download complete");
  tell(layer, "Extracting", layer.blob.size, layer.blob.size);
  return {};
}

Status LayerFetcher::check(const WantedLayer& layer, const PipelineResult& result) {
  Status status;
  if (result.compressed_size != layer.blob.size)
    status = invalid("blob {}: it has {} bytes, its manifest says {}", layer.digest.text(),
                     result.compressed_size, layer.blob.size);
  else if (result.compressed != layer.digest)
    status =
        invalid("filesystem layer verification failed for digest {}: its bytes have the digest {}",
                layer.digest.text(), result.compressed.text());
  else if (result.tar != layer.diff_id)
    return invalid("layer {}: wrong diff id calculated on extraction: expected {}, got {}",
                   layer.digest.text(), layer.diff_id.text(), result.tar.text());
  if (!status) {
    std::lock_guard lock(mutex_);
    spoiled_.push_back(layer.digest.text());
  }
  return status;
}

}  // namespace gantry::image

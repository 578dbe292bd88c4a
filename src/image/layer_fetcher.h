// The layers of one pull: which are here, which another pull is fetching, and the rest brought in
// by a few threads. Internal to the room.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/channel.h"
#include "engine/engine.h"
#include "image/layer_claims.h"
#include "image/layer_pipeline.h"
#include "image/partial_blobs.h"
#include "image/transfer.h"

namespace gantry::graph {
class ContentStore;
}
namespace gantry::drivers {
class GraphDriver;
}

namespace gantry::image {

// A layer of the image that is pulled.
struct WantedLayer {
  Descriptor blob;
  Digest digest;  // of the blob
  Digest diff_id;
  Digest chain_id;
  Digest parent;
  enum class State { wanted, here, ingested };
  State state = State::wanted;
  bool mine = false;      // claimed by this pull
  std::string directory;  // of what was ingested
  uint64_t size = 0;      // bytes of its files
  PipelineResult result;
  bool announced = false;  // the client has a line for it
};

// Fetches a set of layers with `parallel` threads into directories whose rows the job has. Progress
// is told on the calling thread.
class LayerFetcher {
 public:
  LayerFetcher(engine::JobContext& job, drivers::GraphDriver& driver,
               const graph::ContentStore& content, PartialBlobs& partials, LayerClaims& claims,
               RemoteRepository& remote, const PullOptions& options, const Progress& progress)
      : job_(job),
        driver_(driver),
        content_(content),
        partials_(partials),
        claims_(claims),
        remote_(remote),
        options_(options),
        progress_(progress) {}

  // Every layer has a directory. On success all are ingested and their digests compared. The first
  // error ends the others.
  Status run(const std::vector<WantedLayer*>& layers);
  // Blobs whose kept beginning was not what the digest says.
  const std::vector<std::string>& spoiled() const { return spoiled_; }

 private:
  struct Event {
    std::string id;
    const char* status;
    int64_t current = -1;
    int64_t total = -1;
  };
  void work(const std::vector<WantedLayer*>& layers);
  Status fetch(WantedLayer& layer);
  Status receive(WantedLayer& layer, PartialBlobs::Holder* partial);
  Status check(const WantedLayer& layer, const PipelineResult& result);
  void tell(const WantedLayer& layer, const char* status, int64_t current = -1, int64_t total = -1);
  bool failed();

  engine::JobContext& job_;
  drivers::GraphDriver& driver_;
  const graph::ContentStore& content_;
  PartialBlobs& partials_;
  LayerClaims& claims_;
  RemoteRepository& remote_;
  const PullOptions& options_;
  const Progress& progress_;
  Channel<Event> events_{256};
  std::mutex mutex_;
  size_t next_ = 0;
  size_t running_ = 0;
  std::optional<Error> failure_;
  std::vector<std::string> spoiled_;
};

// The first twelve digits, as progress lines name a blob.
std::string short_id(const Digest& digest);

}  // namespace gantry::image

// What pulls and pushes take and give (image/image_store.h).
//
// Remembered of a pull: manifests and indexes byte for byte (blob nodes, held by the image as
// content_of; an index by the reference by digest), the reference by digest ("busybox@sha256:…", a
// tag node like any other), and of each layer the compressed digest, size, media type and the
// repositories that had it.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/digest.h"
#include "base/json.h"
#include "image/layer_pipeline.h"
#include "image/origin.h"
#include "image/reference.h"
#include "image/remote.h"

namespace gantry::engine {
class JobContext;
}

namespace gantry::image {

// Lines of progress as Docker's JSON message stream shows them ({"stream": …}, {"status": …, "id":
// …}).
using Progress = std::function<void(json::object)>;

// What is about to become visible, for whoever may refuse it.
struct PullCandidate {
  const Reference& reference;      // as the user named it
  const RemoteManifest& named;     // what the reference names: a manifest or an index
  const RemoteManifest& manifest;  // of the platform chosen; the same when `named` is no index
  RemoteRepository& remote;        // for what lies beside it (signatures)
};
// Called on the job's thread before layers are fetched, and before a line of progress; an error is
// the pull's, and nothing stays. What it gives is kept with the image.
using PullPolicy = std::function<Result<Admission>(engine::JobContext&, const PullCandidate&)>;

struct PullOptions {
  std::string platform;          // os[/arch[/variant]]; "" is the host's
  bool keep_compressed = false;  // keep the blobs as they came
  LayerLimits limits;
  int parallel = 4;                     // layers at a time
  int64_t keep_partial_from = 1 << 20;  // bytes; of smaller blobs no beginning is kept
};
struct PulledImage {
  Digest id;
  Digest digest;       // of what the reference names
  bool newer = false;  // something changed here
};

struct PushOptions {
  bool recompress = false;  // push under another digest what cannot be had as it was
  int parallel = 4;
  RemoteOpener sources;  // where originals may still be; absent: nowhere
};
struct PushedImage {
  Digest digest;
  int64_t size = 0;  // of the manifest
  bool recompressed = false;
};

}  // namespace gantry::image

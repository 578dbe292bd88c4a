// A compressed layer on its way from a registry to the disk, in one pass: read, decompressed, both
// sides digested, and consumed, each on a thread of its own with bounded buffers between them. A
// small layer takes no thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/byte_source.h"
#include "base/digest.h"
#include "image/compression.h"

namespace gantry::image {

// What a layer may become at most: a bomb is refused while it goes off.
struct LayerLimits {
  int64_t max_size = int64_t{64} << 30;  // bytes of the tar
  int64_t max_ratio = 400;               // of tar to compressed bytes, counted above `ratio_from`
  int64_t ratio_from = int64_t{256} << 20;
};

struct PipelineInput {
  std::string name;        // of the blob, for errors
  int64_t size = -1;       // of the compressed bytes, as the manifest says; < 0: not known
  ByteSource* compressed;  // borrowed; its read() must end when the job is cancelled
  LayerLimits limits;
  // Told of every piece of the compressed stream, in order, from the thread that reads it; an error
  // ends the whole.
  std::function<Status(std::string_view)> tee = nullptr;
  std::function<void(int64_t)> read_so_far = nullptr;  // bytes, from the same thread
  bool digest_compressed = true;                       // else the result has none
};

// `invalid` once more has come out than may, of so many bytes; `what` names them ("layer
// sha256:…").
Status check_limits(const LayerLimits& limits, std::string_view what, int64_t unpacked,
                    int64_t compressed);

struct PipelineResult {
  Digest compressed;
  int64_t compressed_size = 0;
  Digest tar;
  int64_t tar_size = 0;
  Compression compression = Compression::none;
};

// Of so many compressed bytes: without threads and their buffers.
bool is_small_layer(int64_t size);

// Runs until the source's end or the first error. `consume` runs on the calling thread and reads
// the tar to its end. Memory: under 4 MiB beside the decoder's window.
Result<PipelineResult> run_pipeline(const PipelineInput& input,
                                    const std::function<Status(ByteSource&)>& consume);

}  // namespace gantry::image

// An image of one layer out of a root tarball.
#include <fcntl.h>

#include <algorithm>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/sys.h"
#include "engine/engine.h"
#include "image/changes.h"
#include "image/layer_pipeline.h"
#include "image/local_store.h"

namespace gantry::image {
namespace {

#if defined(__x86_64__)
constexpr const char* kHostArchitecture = "amd64";
#elif defined(__aarch64__)
constexpr const char* kHostArchitecture = "arm64";
#else
constexpr const char* kHostArchitecture = "unknown";
#endif

// os[/architecture[/variant]]
Status set_platform(ImageConfig& config, const std::string& platform) {
  config.os = "linux";
  config.architecture = kHostArchitecture;
  if (platform.empty()) return {};
  std::vector<std::string> parts;
  for (size_t at = 0; at <= platform.size();) {
    size_t end = std::min(platform.find('/', at), platform.size());
    parts.push_back(platform.substr(at, end - at));
    at = end + 1;
  }
  for (const std::string& part : parts)
    if (part.empty() || parts.size() > 3) return invalid("\"{}\" is an invalid platform", platform);
  if (parts.size() == 1 && parts[0] != "linux") {
    config.architecture = parts[0];
    return {};
  }
  config.os = parts[0];
  if (parts.size() > 1) config.architecture = parts[1];
  if (parts.size() > 2) config.variant = parts[2];
  if (config.os != "linux") return invalid("operating system {} is not supported", config.os);
  return {};
}

}  // namespace

Result<Digest> LocalStore::import(engine::JobContext& job, ByteSource& tarball,
                                  const ImportOptions& options) {
  Addition addition;
  if (!options.repository.empty()) {
    Reference name = TRY(Reference::parse(options.repository));
    if (!name.digest().empty()) return invalid("cannot import digest reference");
    if (!options.tag.empty()) {
      TRY(check_tag(options.tag));
      name = name.with_tag(options.tag);
    }
    addition.names.push_back(name.with_default_tag());
  }
  ImageConfig& config = addition.config;
  TRY(set_platform(config, options.platform));
  TRY(apply_changes(config.config, options.changes));

  if (archive_policy_) addition.admission = TRY(archive_policy_({"tarball"}));

  // The name of the layer is the digest of the tarball, and a resource has its name before it is
  // taken.
  TRY(failpoint("image.import.spool"));
  UniqueFd spool = TRY(sys::open(temporary_directory_, O_TMPFILE | O_RDWR, 0600));
  PipelineInput pipeline;
  pipeline.name = options.source == "-" ? "of the request" : options.source;
  pipeline.compressed = &tarball;
  pipeline.limits = limits_;
  pipeline.digest_compressed = false;
  PipelineResult read = TRY(run_pipeline(pipeline, [&](ByteSource& tar) -> Status {
    std::vector<char> buffer(256 << 10);
    for (;;) {
      TRY(job.check());
      size_t got = TRY(tar.read(buffer));
      if (options.while_reading) options.while_reading();
      if (got == 0) return {};
      TRY(sys::write_all(spool.get(), {buffer.data(), got}));
    }
  }));
  LayerInput input;
  input.diff_id = input.chain_id = read.tar;
  input.compressed_size = read.tar_size;
  TRY(failpoint("image.import.spooled"));
  TRY(lock(job));
  FileRangeSource layer(spool.get(), 0, static_cast<uint64_t>(read.tar_size));
  TRY(add_layer(job, input, layer, addition));
  addition.chain = {input.chain_id};
  config.created = format_time(now_ns());
  config.comment = options.message.empty() ? "Imported from " + options.source : options.message;
  config.rootfs = {"layers", {input.diff_id.text()}};
  HistoryEntry entry;
  entry.created = config.created;
  entry.comment = config.comment;
  config.history = {std::move(entry)};
  std::string blob = json::dump(config);
  TRY(put_config(job, blob, addition));
  Digest id = addition.id;
  std::vector<Addition> additions;
  additions.push_back(std::move(addition));
  TRY(add_images(job, std::move(additions)));
  return id;
}

}  // namespace gantry::image

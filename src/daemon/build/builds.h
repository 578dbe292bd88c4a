// Building images: the handlers of the jobs in build_jobs.h.
//
// image.build reads the context and the Dockerfile, and runs a build.stage for each stage that is
// needed as soon as what it needs is there. A stage goes through its instructions; those that touch
// files are looked up in the cache by a key, and what is not found there is a build.step: a
// container layer over the layers so far, changed by a command (build.exec) or written as an archive
// (COPY, ADD), becomes a layer and a record of the cache in one closing transaction. So a build that
// fails or is killed leaves records, which are cache, and nothing else; image.build's closing
// transaction makes the image.
#pragma once

#include <memory>
#include <string>

#include "daemon/build/build_jobs.h"
#include "daemon/build/cache.h"

namespace gantry::http {
class Agent;
}

namespace gantry::daemon {

class Daemon;
struct BuiltStage;

// Thread-safe. `daemon` must outlive it.
class Builds {
 public:
  // Registers the handlers and the kind of the directories of cache mounts.
  explicit Builds(Daemon& daemon);
  ~Builds();

  BuildCache& cache() { return cache_; }
  http::Agent& agent() { return *agent_; }

 private:
  Result<ImageBuild::Output> build(engine::JobContext& job, ImageBuild::Input input);
  Status prepare(engine::JobContext& job, BuildRun& run);
  Status read_context(engine::JobContext& job, BuildRun& run);
  Status run_stages(engine::JobContext& job, const std::shared_ptr<BuildRun>& run);
  Result<ImageBuild::Output> finish(engine::JobContext& job, BuildRun& run);
  Status squash(engine::JobContext& job, BuildRun& run, BuiltStage& stage);

  Daemon& daemon_;
  BuildCache cache_;
  std::unique_ptr<http::Agent> agent_;
};

// The code that a command of a build ended with, if that is what an error tells of; else 0.
int exit_code_of_build(const Error& error);

}  // namespace gantry::daemon

// One build while it runs: what its stages share, and what has come of them. Private to
// daemon/build.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "builder/context.h"
#include "builder/copy.h"
#include "builder/dockerfile.h"
#include "builder/stage.h"
#include "daemon/build/build_jobs.h"
#include "daemon/build/output.h"
#include "image/config.h"

namespace gantry::daemon {

// A stage as far as it has been built.
struct BuiltStage {
  builder::StageState state;
  image::ImageConfig base;                   // of the image it stands on, without its layers' sake
  std::vector<std::string> diff_ids;         // of all layers
  Digest chain;                              // the topmost; empty: none
  Digest base_chain;                         // of the image that its first stage stands on
  std::vector<image::HistoryEntry> history;  // of all layers, times included
  int64_t epoch = 0;                         // seconds: no time in it is later
};

// Thread-safe as its members say: `stages` and `used` belong to the stage's job until it has ended.
class BuildRun {
 public:
  ImageBuild::Input input;
  builder::Dockerfile file;
  std::string file_name, file_text;
  builder::BuildArguments arguments;
  std::unique_ptr<builder::Context> context;  // not changed while stages run
  std::vector<size_t> order;               // of the stages that are needed
  std::vector<size_t> first_step;          // number of each stage's first step, by stage
  std::vector<BuiltStage> stages;          // by stage
  size_t steps = 0;
  std::optional<int64_t> epoch;            // SOURCE_DATE_EPOCH
  engine::JobId job = 0;
  BuildOutput output;

  size_t place_of(size_t stage) const {
    return static_cast<size_t>(std::find(order.begin(), order.end(), stage) - order.begin());
  }
};

// RFC 3339; unlike format_time() also of the epoch itself.
std::string build_time(int64_t seconds);

}  // namespace gantry::daemon

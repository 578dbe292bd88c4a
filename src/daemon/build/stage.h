// One stage on its way through its instructions. Private to daemon/build.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/build/builds.h"
#include "daemon/build/root_tree.h"
#include "daemon/build/run.h"
#include "daemon/daemon.h"

namespace gantry::daemon {

// Text that goes into a key, each part told apart from the next.
class BuildKey {
 public:
  BuildKey& add(std::string_view part) {
    hash_.update(fmt::format("{}:", part.size()));
    hash_.update(part);
    return *this;
  }
  BuildKey& add(const std::vector<std::string>& parts) {
    add(std::to_string(parts.size()));
    for (const std::string& part : parts) add(part);
    return *this;
  }
  std::string finish() { return hash_.finish().hex(); }

 private:
  Sha256 hash_;
};

class StageBuilder {
 public:
  StageBuilder(Daemon& daemon, Builds& builds, engine::JobContext& job, BuildRun& run,
               size_t stage);
  Status build();

 private:
  // ---- stage.cc
  Status from();
  Status use_image(const image::Image& image);
  Result<image::Image> image_of(const std::string& name, const std::string& platform,
                                bool as_base);
  Status step(const builder::Instruction& instruction);
  Status workdir(const builder::WorkdirInstruction& what);
  Status triggers();
  void announce(const std::string& original);
  void say(const std::string& text) { run_.output.say(place_, text); }
  // The layer that `work` makes, or that was made before under this key.
  Status operation(const std::string& key, const std::string& type, const std::string& history,
                   const std::function<Result<image::BuiltLayer>(engine::JobContext&)>& work);
  // The layers of a stage or an image that --from names.
  Result<Digest> chain_of(const std::string& name);
  // ARGs that are set, as RUN's environment and history have them.
  std::vector<std::string> argument_list() const;
  BuildKey key(std::string_view what) const;

  // ---- copy.cc
  Status copy(const builder::CopyInstruction& written);
  Status copy_local(const builder::CopyInstruction& what, builder::CopySpec spec,
                    const std::string& history);
  Status add_url(const builder::CopyInstruction& what, const builder::CopySpec& spec,
                 const std::string& url, const std::string& history);
  struct Target {
    std::unique_ptr<RootTree> tree;
    builder::CopyTarget target;
  };
  Result<Target> target_of(engine::JobContext& job, const builder::CopyInstruction& what,
                           bool exact_times);

  // ---- exec.cc
  Status exec(const builder::RunInstruction& what);

  Daemon& daemon_;
  Builds& builds_;
  engine::JobContext& job_;
  BuildRun& run_;
  const size_t index_;
  const size_t place_;
  const builder::Stage& stage_;
  BuiltStage& built_;
  size_t number_ = 0;  // of the step
};

}  // namespace gantry::daemon

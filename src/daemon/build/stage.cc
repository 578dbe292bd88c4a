#include "daemon/build/stage.h"

#include <algorithm>
#include <cctype>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "daemon/images.h"
#include "daemon/transfers.h"
#include "daemon/trust.h"
#include "engine/engine.h"
#include "engine/lease.h"
#include "image/platform.h"

namespace gantry::daemon {
namespace {

std::string short_digest(const Digest& digest) { return digest.hex().substr(0, 12); }

}  // namespace

std::string build_time(int64_t seconds) {
  return seconds == 0 ? "1970-01-01T00:00:00Z" : format_time(seconds * 1'000'000'000);
}

StageBuilder::StageBuilder(Daemon& daemon, Builds& builds, engine::JobContext& job, BuildRun& run,
                           size_t stage)
    : daemon_(daemon),
      builds_(builds),
      job_(job),
      run_(run),
      index_(stage),
      place_(run.place_of(stage)),
      stage_(run.file.stages[stage]),
      built_(run.stages[stage]),
      number_(run.first_step[stage]) {}

Status StageBuilder::build() {
  TRY(from());
  TRY(triggers());
  for (const builder::Instruction& instruction : stage_.instructions) TRY(step(instruction));
  return {};
}

void StageBuilder::announce(const std::string& original) {
  say(fmt::format("Step {}/{} : {}\n", number_++, run_.steps, original));
}

BuildKey StageBuilder::key(std::string_view what) const {
  BuildKey out;
  out.add("1").add(what).add(built_.chain.text()).add(std::to_string(built_.epoch));
  return out;
}

// ---- FROM

Status StageBuilder::from() {
  announce(stage_.original);
  std::string base =
      TRY(builder::expand_global(stage_.from.image, run_.arguments, run_.file.escape));
  std::string platform =
      TRY(builder::expand_global(stage_.from.platform, run_.arguments, run_.file.escape));
  if (platform.empty()) platform = run_.input.platform;
  std::string lower = base;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (size_t i = index_; i-- > 0;) {
    if (run_.file.stages[i].from.name.empty() || run_.file.stages[i].from.name != lower) continue;
    built_ = run_.stages[i];
    built_.state.command_given = false;
    say(fmt::format(" ---> {}\n", short_digest(built_.chain)));
    return {};
  }
  built_.state.escape = run_.file.escape;
  if (base == "scratch") {
    const image::Platform wanted = platform.empty() ? image::host_platform()
                                                    : TRY(image::parse_platform(platform));
    built_.base.os = wanted.os;
    built_.base.architecture = wanted.architecture;
    built_.base.variant = platform.empty() ? "" : wanted.variant;
    built_.epoch = run_.epoch.value_or(0);
    built_.state.config.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
    say(" ---> \n");
    return {};
  }
  image::Image image = TRY(image_of(base, platform, true));
  TRY(use_image(image));
  say(fmt::format(" ---> {}\n", short_digest(image.id)));
  return {};
}

Status StageBuilder::use_image(const image::Image& image) {
  built_.base = image.config;
  built_.state.config = image.config.config;
  built_.state.author = image.config.author;
  built_.diff_ids = image.config.rootfs.diff_ids;
  built_.chain = built_.base_chain = image.top_layer;
  built_.history = image.config.history;
  if (built_.history.empty()) built_.history.resize(built_.diff_ids.size());
  built_.epoch = run_.epoch ? *run_.epoch
                            : parse_time(image.config.created).value_or(0) / 1'000'000'000;
  built_.epoch = std::max<int64_t>(built_.epoch, 0);
  const bool path = std::any_of(built_.state.config.env.begin(), built_.state.config.env.end(),
                                [](const std::string& entry) { return entry.starts_with("PATH="); });
  if (!path)
    built_.state.config.env.push_back(
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  return {};
}

// An image that is here, or is pulled; leased for the build.
Result<image::Image> StageBuilder::image_of(const std::string& name, const std::string& platform,
                                            bool as_base) {
  TRY(failpoint("build.from"));
  image::ImageStore& store = daemon_.images().store();
  Result<image::Image> found = store.find(name);
  auto fits = [&](const image::Image& image) -> Result<bool> {
    if (platform.empty()) return true;
    image::Platform wanted = TRY(image::parse_platform(platform));
    image::Platform offered;
    offered.os = image.config.os;
    offered.architecture = image.config.architecture;
    offered.variant = image.config.variant;
    return image::matches(image::normalized(wanted), image::normalized(offered));
  };
  if (!found && found.error().kind() != ErrorKind::not_found) return std::move(found).error();
  const bool wrong = found && !TRY(fits(*found));
  if (!found || wrong || (run_.input.pull && as_base && !image::is_id_prefix(name))) {
    ImagePull::Input pull;
    pull.image = name;
    pull.platform = platform;
    Result<image::Reference> reference = image::Reference::parse(name);
    if (!reference) return std::move(reference).error();
    pull.credentials = run_.input.credentials.of(reference->domain());
    pull.forward = [this](json::object event) { run_.output.event(place_, std::move(event)); };
    Result<ImagePull::Output> pulled = job_.run<ImagePull>(std::move(pull));
    if (!pulled) return std::move(pulled).error();
    found = store.find(name);
    if (!found) return std::move(found).error();
    if (!TRY(fits(*found)))
      return invalid(
          "image with reference {} was found but does not match the specified platform: wanted {}, "
          "actual: {}/{}",
          name, platform, found->config.os, found->config.architecture);
  }
  TRY(daemon_.trust().check_use(*found));
  graph::Graph& graph = daemon_.graph();
  TRY(graph.database().write(
      graph::Durability::normal, graph::Space::ordinary, [&](graph::Transaction& tx) -> Status {
        graph::Node node =
            TRY(graph.read(tx).get(graph::NodeKind::image, found->id.text()));
        return engine::lease_for(job_, tx, run_.job, node.id);
      }));
  return found;
}

// The base's ONBUILD instructions come first, once.
Status StageBuilder::triggers() {
  std::vector<std::string> triggers = std::exchange(built_.state.config.on_build, {});
  if (triggers.empty()) return {};
  say(fmt::format("# Executing {} build trigger{}\n", triggers.size(),
                  triggers.size() == 1 ? "" : "s"));
  for (const std::string& text : triggers) {
    builder::Instruction instruction =
        TRY(builder::parse_trigger(text).context("ONBUILD {}", text));
    --number_;  // they are not counted
    TRY(step(instruction));
  }
  return {};
}

// ---- instructions

Status StageBuilder::step(const builder::Instruction& instruction) {
  TRY(job_.check());
  announce(instruction.original);
  const size_t known = built_.state.history.size();
  const bool metadata = TRY(builder::apply_metadata(instruction, run_.arguments, built_.state));
  if (metadata) {
    for (size_t i = known; i < built_.state.history.size(); ++i) {
      image::HistoryEntry entry = built_.state.history[i];
      entry.created = build_time(built_.epoch);
      built_.history.push_back(std::move(entry));
    }
    return {};
  }
  if (auto* command = std::get_if<builder::RunInstruction>(&instruction.what))
    return exec(*command);
  if (auto* files = std::get_if<builder::CopyInstruction>(&instruction.what)) return copy(*files);
  if (auto* directory = std::get_if<builder::WorkdirInstruction>(&instruction.what))
    return workdir(*directory);
  return internal("{} is not carried out", instruction.name);
}

Status StageBuilder::operation(
    const std::string& key, const std::string& type, const std::string& history,
    const std::function<Result<image::BuiltLayer>(engine::JobContext&)>& work) {
  std::optional<image::BuiltLayer> layer;
  if (!run_.input.no_cache) layer = TRY(builds_.cache().find(job_, key, run_.job));
  if (layer) {
    say(" ---> Using cache\n");
  } else {
    BuildCache::Turn turn = TRY(builds_.cache().turn(job_, key));
    // Somebody else may have done it meanwhile.
    if (!run_.input.no_cache) layer = TRY(builds_.cache().find(job_, key, run_.job));
    if (!layer) {
      BuildStep::Input step;
      step.key = key;
      step.type = type;
      step.description = history;
      step.build = run_.job;
      step.work = [&, parent = built_.chain](
                      engine::JobContext& job) -> Result<image::BuiltLayer> {
        image::BuiltLayer made = TRY(work(job));
        TRY(failpoint("build.step.made"));
        builds_.cache().keep(job, step, made, parent.text());
        return made;
      };
      layer = TRY(job_.run<BuildStep>(step));
    } else {
      say(" ---> Using cache\n");
    }
  }
  image::HistoryEntry entry;
  entry.created = build_time(built_.epoch);
  entry.created_by = history;
  entry.author = built_.state.author;
  entry.empty_layer = layer->diff_id.empty();
  built_.history.push_back(std::move(entry));
  if (!layer->diff_id.empty()) {
    built_.chain = layer->chain_id;
    built_.diff_ids.push_back(layer->diff_id.text());
  }
  say(fmt::format(" ---> {}\n", short_digest(built_.chain)));
  return {};
}

Status StageBuilder::workdir(const builder::WorkdirInstruction& what) {
  std::string path = TRY(built_.state.word(what.path));
  if (path.empty()) return invalid("WORKDIR requires exactly one argument");
  built_.state.config.working_dir = built_.state.absolute(path);
  const std::string& directory = built_.state.config.working_dir;
  return operation(
      key("workdir").add(directory).finish(), "regular", "WORKDIR " + directory,
      [&](engine::JobContext& job) -> Result<image::BuiltLayer> {
        std::unique_ptr<RootTree> tree =
            TRY(RootTree::mount(job, daemon_.graph_driver(), built_.chain));
        builder::CopyTarget target;
        target.stat = [&](const std::string& at) { return tree->stat(at); };
        target.latest = built_.epoch;
        return daemon_.images().store().add_layer(
            job, built_.chain, [&](ByteSink& out) -> Status {
              builder::CopyWriter writer(out, std::move(target));
              TRY(writer.directory(directory));
              return writer.finish();
            });
      });
}

Result<Digest> StageBuilder::chain_of(const std::string& name) {
  if (std::optional<size_t> stage = builder::find_stage(run_.file, name, index_))
    return Digest(run_.stages[*stage].chain);
  if (name == "scratch") return Digest();
  image::Image image = TRY(image_of(name, run_.input.platform, false));
  return Digest(image.top_layer);
}

std::vector<std::string> StageBuilder::argument_list() const {
  std::vector<std::string> out;
  for (const auto& [name, value] : built_.state.arguments) {
    if (builder::is_predefined(name)) continue;
    out.push_back(name + "=" + value);
  }
  return out;
}

}  // namespace gantry::daemon

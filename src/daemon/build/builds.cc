#include "daemon/build/builds.h"

#include <fcntl.h>

#include <atomic>
#include <charconv>
#include <set>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/tree_archive.h"
#include "daemon/build/run.h"
#include "daemon/build/stage.h"
#include "daemon/events.h"
#include "daemon/image_download.h"
#include "daemon/images.h"
#include "daemon/options.h"
#include "drivers/graph/graph_driver.h"
#include "drivers/graph/rootfs_mount.h"
#include "drivers/graph/tree_diff.h"
#include "engine/engine.h"
#include "engine/lease.h"
#include "image/platform.h"

namespace gantry::daemon {
namespace {

constexpr engine::JobOptions kBuild = {.job_class = engine::JobClass::build,
                                       .journaling = engine::Journaling::at_start,
                                       .durability = graph::Durability::full};
// Stages wait for no job of their class, so that they always get on.
constexpr engine::JobOptions kPart = {.job_class = engine::JobClass::container};

constexpr std::string_view kFailed = "' returned a non-zero code: ";

Status check_syntax(const std::string& syntax) {
  if (syntax.empty()) return {};
  std::string name = syntax;
  for (std::string_view prefix : {"docker.io/", "index.docker.io/"})
    if (name.starts_with(prefix)) name.erase(0, prefix.size());
  name = name.substr(0, name.find_first_of(":@"));
  if (name == "docker/dockerfile" || name == "docker/dockerfile-upstream") return {};
  return unsupported("syntax={}: only docker/dockerfile, which is built in, is supported", syntax);
}

// Docker's words for a Dockerfile that is not in the context.
Error no_dockerfile(const std::string& name) {
  return invalid("Cannot locate specified Dockerfile: {}", name);
}

image::Platform platform_of(const std::string& text) {
  Result<image::Platform> parsed =
      text.empty() ? image::host_platform() : image::parse_platform(text);
  return parsed ? parsed.release() : image::host_platform();
}

void set_platform_arguments(builder::BuildArguments& arguments, const image::Platform& build,
                            const image::Platform& target) {
  auto put = [&](const std::string& prefix, const image::Platform& platform) {
    arguments.platform[prefix + "PLATFORM"] = image::to_string(platform);
    arguments.platform[prefix + "OS"] = platform.os;
    arguments.platform[prefix + "ARCH"] = platform.architecture;
    arguments.platform[prefix + "VARIANT"] = platform.variant;
  };
  put("BUILD", build);
  put("TARGET", target);
}

bool is_git_remote(const std::string& remote) {
  return remote.starts_with("git@") || remote.starts_with("git://") ||
         remote.starts_with("github.com/") ||
         remote.substr(0, remote.find('#')).ends_with(".git");
}

}  // namespace

int exit_code_of_build(const Error& error) {
  size_t at = error.message().rfind(kFailed);
  int code = 0;
  if (at == std::string::npos) return 0;
  const std::string& text = error.message();
  std::from_chars(text.data() + at + kFailed.size(), text.data() + text.size(), code);
  return code;
}

Builds::~Builds() = default;

Builds::Builds(Daemon& daemon) : daemon_(daemon), cache_(daemon), agent_(download_agent()) {
  engine::Engine& engine = daemon.engine();
  engine.add<ImageBuild>(
      [this](engine::JobContext& job, ImageBuild::Input in) { return build(job, std::move(in)); },
      kBuild);
  engine.add<BuildStage>(
      [this](engine::JobContext& job, BuildStage::Input in) -> Result<engine::Nothing> {
        TRY(failpoint("build.stage"));
        TRY(StageBuilder(daemon_, *this, job, *in.run, in.stage).build());
        return engine::Nothing{};
      },
      kPart);
  engine.add<BuildStep>(
      [](engine::JobContext& job, BuildStep::Input in) { return in.work(job); }, kPart);
  engine.add<BuildExec>(
      [](engine::JobContext& job, BuildExec::Input in) -> Result<BuildExec::Output> {
        BuildExec::Output out;
        out.exit_code = TRY(in.work(job));
        return out;
      },
      kPart);
}

// ---- the context

Status Builds::read_context(engine::JobContext& job, BuildRun& run) {
  const std::string temporary = daemon_.options().data_root + "/tmp";
  TRY(failpoint("build.context"));
  std::shared_ptr<ByteSource> source = run.input.context;
  engine::CancelSource::Registration interrupt;
  if (auto pipe = std::dynamic_pointer_cast<BytePipe>(source))
    interrupt =
        job.cancel().on_cancel([pipe] { pipe->fail(Error(ErrorKind::cancelled, "cancelled")); });
  auto check = [&] { return job.check(); };
  image::LayerLimits limits;
  limits.max_size = daemon_.options().max_layer_size;
  limits.max_ratio = daemon_.options().max_layer_ratio;
  std::string text;
  bool plain = false;
  if (!run.input.remote.empty()) {
    const std::string& remote = run.input.remote;
    if (is_git_remote(remote))
      return unsupported("remote {}: git repositories are not fetched: clone it, and send the "
                         "directory",
                         remote);
    const int cancel_fd = TRY(job.cancel().fd());
    std::unique_ptr<ImageDownload> download = TRY(
        ImageDownload::create(*agent_, remote, daemon_.options().max_layer_size, cancel_fd));
    UniqueFd spool = TRY(sys::open(temporary, O_TMPFILE | O_RDWR, 0600));
    FdSink sink(spool.get());
    const uint64_t size =
        TRY(copy_all(*download, sink).context("error downloading remote context {}", remote));
    FileRangeSource whole(spool.get(), 0, size);
    Result<std::unique_ptr<builder::Context>> context =
        builder::Context::read(whole, temporary, limits, check);
    if (context) {
      run.context = context.release();
    } else {  // no archive: the Dockerfile itself
      TRY(job.check());
      FileRangeSource again(spool.get(), 0, size);
      text = TRY(read_all(again, builder::kMaxDockerfile));
      if (text.find('\0') != text.npos) return std::move(context).error();
      run.context = builder::Context::empty();
      plain = true;
    }
  } else {
    if (!source) return invalid("no build context was sent");
    run.context = TRY(builder::Context::read(*source, temporary, limits, check));
  }
  TRY(failpoint("build.context.read"));

  run.file_name = run.input.dockerfile.empty() ? "Dockerfile" : run.input.dockerfile;
  std::optional<std::string> path = tar::clean_path(run.file_name);
  if (!path)
    return invalid("forbidden path outside the build context: {} ()", run.file_name);
  if (!plain) {
    Result<std::string> read = run.context->contents(*path, builder::kMaxDockerfile);
    if (!read && run.input.dockerfile.empty())
      read = run.context->contents("dockerfile", builder::kMaxDockerfile);
    if (!read && read.error().kind() == ErrorKind::not_found) return no_dockerfile(run.file_name);
    text = TRY(std::move(read));
    for (const std::string& name : {*path + ".dockerignore", std::string(".dockerignore")}) {
      Result<std::string> list = run.context->contents(name, 4u << 20);
      if (!list) continue;
      builder::IgnoreList ignore = TRY(builder::IgnoreList::parse(*list));
      run.context->ignore(ignore);
      break;
    }
  }
  run.file_text = std::move(text);
  return {};
}

Status Builds::prepare(engine::JobContext& job, BuildRun& run) {
  TRY(read_context(job, run));
  Result<builder::Dockerfile> parsed = builder::Dockerfile::parse(run.file_text);
  if (!parsed) {
    const int line = builder::line_of(parsed.error());
    if (line > 0 && !run.input.quiet)
      job.progress(
          json::object{{"stream", builder::excerpt(run.file_name, run.file_text, line)}});
    return std::move(parsed).error();
  }
  run.file = parsed.release();
  TRY(check_syntax(run.file.syntax));
  run.arguments.given = run.input.build_args;
  const image::Platform target = platform_of(run.input.platform);
  if (!run.input.platform.empty()) TRY(image::parse_platform(run.input.platform));
  set_platform_arguments(run.arguments, image::host_platform(), target);
  TRY(builder::take_globals(run.file, run.arguments));
  if (auto epoch = run.input.build_args.find("SOURCE_DATE_EPOCH");
      epoch != run.input.build_args.end()) {
    int64_t seconds = 0;
    const std::string& text = epoch->second;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc() || end != text.data() + text.size() || seconds < 0)
      return invalid("SOURCE_DATE_EPOCH={}: it must be a number of seconds since 1970", text);
    run.epoch = seconds;
  }
  size_t last = run.file.stages.size() - 1;
  if (!run.input.target.empty()) {
    std::optional<size_t> found =
        builder::find_stage(run.file, run.input.target, run.file.stages.size());
    if (!found) {
      std::vector<std::string_view> names;
      for (const builder::Stage& stage : run.file.stages)
        if (!stage.from.name.empty()) names.push_back(stage.from.name);
      const std::string likely = builder::suggestion(run.input.target, names);
      return invalid("failed to reach build target {} in Dockerfile{}", run.input.target,
                     likely.empty() ? "" : " (did you mean " + likely + "?)");
    }
    last = *found;
  }
  run.order = TRY(builder::needed_stages(run.file, last, run.arguments));
  run.stages.resize(run.file.stages.size());
  run.first_step.resize(run.file.stages.size());
  size_t number = 1 + run.file.global_arguments.size();
  for (size_t stage : run.order) {
    run.first_step[stage] = number;
    number += 1 + run.file.stages[stage].instructions.size();
  }
  run.steps = number - 1;
  return {};
}

// ---- stages

Status Builds::run_stages(engine::JobContext& job, const std::shared_ptr<BuildRun>& run) {
  using Handle = std::shared_ptr<engine::JobHandle<engine::Nothing>>;
  enum class Phase { waiting, running, done };
  struct Part {
    Phase phase = Phase::waiting;
    std::vector<size_t> needs;
    Handle handle;
    std::shared_ptr<std::atomic<bool>> ended = std::make_shared<std::atomic<bool>>(false);
  };
  std::map<size_t, Part> parts;
  for (size_t stage : run->order) {
    std::vector<size_t> needs =
        TRY(builder::needed_stages(run->file, stage, run->arguments));
    std::erase(needs, stage);
    parts[stage].needs = std::move(needs);
  }
  run->output.begin(run->order.size(), run->input.quiet);
  size_t number = 1;
  if (!run->input.quiet)
    for (const builder::Instruction& argument : run->file.global_arguments)
      job.progress(json::object{{"stream", fmt::format("Step {}/{} : {}\n", number++, run->steps,
                                                       argument.original)}});
  Status failed;
  auto stop_all = [&] {
    run->output.close();
    for (auto& [stage, part] : parts)
      if (part.phase == Phase::running) part.handle->cancel();
  };
  auto wake = job.cancel().on_cancel([run] { run->output.notify(); });
  bool stopping = false;
  for (;;) {
    bool running = false, all_done = true;
    for (auto& [stage, part] : parts) {
      if (part.phase == Phase::running && *part.ended) {
        Result<engine::Nothing> result = part.handle->wait();
        part.phase = Phase::done;
        run->output.finish(run->place_of(stage));
        if (!result && failed) failed = std::move(result).error();
      }
    }
    if (failed && job.cancelled()) failed = job.check();
    if (!failed && !stopping) {
      stopping = true;
      // What was said before it failed is still to be read.
      for (auto& [stage, part] : parts)
        if (part.phase == Phase::running) part.handle->cancel();
    }
    for (auto& [stage, part] : parts) {
      const bool ready = std::all_of(part.needs.begin(), part.needs.end(), [&](size_t need) {
        return parts[need].phase == Phase::done;
      });
      if (part.phase == Phase::waiting && ready && failed) {
        engine::SubmitOptions options;
        options.caller = job.caller();
        options.deadline = job.deadline();
        part.handle = job.engine().submit<BuildStage>({run, stage}, std::move(options));
        part.phase = Phase::running;
        part.handle->on_done([run, ended = part.ended] {
          *ended = true;
          run->output.notify();
        });
      }
      running |= part.phase == Phase::running;
      all_done &= part.phase == Phase::done;
    }
    if (!running && (all_done || !failed)) break;
    auto something = [&] {
      if (failed && job.cancelled()) return true;
      return std::any_of(parts.begin(), parts.end(), [](const auto& one) {
        return one.second.phase == Phase::running && *one.second.ended;
      });
    };
    while (std::optional<json::value> event = run->output.next(something)) {
      job.progress(std::move(*event));
      if (job.cancelled()) break;
    }
    if (job.cancelled()) stop_all();
  }
  if (!job.cancelled())
    while (std::optional<json::value> event = run->output.next([] { return true; }))
      job.progress(std::move(*event));
  return failed;
}

// ---- the image

// All that a stage has changed as one layer over its base.
Status Builds::squash(engine::JobContext& job, BuildRun& run, BuiltStage& stage) {
  if (stage.chain == stage.base_chain) return {};
  BuildStep::Input step;
  step.key = BuildKey()
                 .add("squash")
                 .add(stage.base_chain.text())
                 .add(stage.chain.text())
                 .add(std::to_string(stage.epoch))
                 .finish();
  step.type = "regular";
  step.description = "squash";
  step.build = run.job;
  std::optional<image::BuiltLayer> layer = TRY(cache_.find(job, step.key, run.job));
  if (!layer) {
    step.work = [&](engine::JobContext& child) -> Result<image::BuiltLayer> {
      std::unique_ptr<RootTree> before =
          TRY(RootTree::mount(child, daemon_.graph_driver(), stage.base_chain));
      std::unique_ptr<RootTree> now =
          TRY(RootTree::mount(child, daemon_.graph_driver(), stage.chain));
      std::unique_ptr<RootTree> nothing =
          TRY(RootTree::mount(child, daemon_.graph_driver(), Digest()));
      auto write = [&](ByteSink& out) -> Status {
        TreeArchiver archive(out);
        archive.set_latest(stage.epoch);
        TRY(drivers::diff_trees(
            before->root().fd(), now->root().fd(), nothing->root().fd(),
            [&](const drivers::Change& change) -> Status {
              std::string path = change.path.substr(1);
              if (change.kind == drivers::ChangeKind::deleted) return archive.add_whiteout(path);
              return archive.add(path, change.directory_fd, change.name);
            }));
        return archive.finish();
      };
      image::BuiltLayer made =
          TRY(daemon_.images().store().add_layer(child, stage.base_chain, write));
      cache_.keep(child, step, made, stage.base_chain.text());
      return made;
    };
    layer = TRY(job.run<BuildStep>(step));
  }
  const size_t kept = stage.base.rootfs.diff_ids.size();
  stage.diff_ids.resize(kept);
  size_t layers = 0;
  for (image::HistoryEntry& entry : stage.history)
    if (!entry.empty_layer && ++layers > kept) entry.empty_layer = true;
  if (!layer->diff_id.empty()) {
    stage.diff_ids.push_back(layer->diff_id.text());
    image::HistoryEntry entry;
    entry.created = build_time(stage.epoch);
    entry.comment = "merge of the layers of the build";
    stage.history.push_back(std::move(entry));
  }
  stage.chain = layer->chain_id;
  return {};
}

Result<ImageBuild::Output> Builds::finish(engine::JobContext& job, BuildRun& run) {
  BuiltStage& stage = run.stages[run.order.back()];
  if (run.input.squash) TRY(squash(job, run, stage));
  image::BuildOptions options;
  image::ImageConfig& config = options.config;
  config = stage.base;
  config.created = build_time(stage.epoch);
  config.author = stage.state.author;
  config.comment.clear();
  config.docker_version.clear();
  config.parent.clear();
  config.config = stage.state.config;
  for (const auto& [name, value] : run.input.labels) config.config.labels[name] = value;
  config.rootfs.type = "layers";
  config.rootfs.diff_ids = stage.diff_ids;
  config.history = stage.history;
  ImageBuild::Output output;
  for (const std::string& text : run.input.names) {
    image::Reference name = TRY(image::Reference::parse(text));
    name = name.with_default_tag();
    output.names.push_back(name.familiar());
    options.names.push_back(std::move(name));
  }
  TRY(failpoint("build.image"));
  Digest id = TRY(daemon_.images().store().build(job, options));
  output.id = id.text();
  std::vector<std::string> unused;
  std::set<std::string> used;
  for (size_t one : run.order)
    used.insert(run.stages[one].state.used.begin(), run.stages[one].state.used.end());
  for (const auto& [name, value] : run.input.build_args) {
    const bool global = std::any_of(
        run.file.global_arguments.begin(), run.file.global_arguments.end(),
        [&](const builder::Instruction& argument) {
          for (const auto& [known, fallback] :
               std::get<builder::ArgInstruction>(argument.what).arguments)
            if (known == name) return true;
          return false;
        });
    if (!used.contains(name) && !global && !builder::is_predefined(name) &&
        name != "SOURCE_DATE_EPOCH")
      unused.push_back(name);
  }
  job.after_commit([this, &job, output, unused, quiet = run.input.quiet] {
    auto say = [&](const std::string& text) { job.progress(json::object{{"stream", text}}); };
    if (!unused.empty() && !quiet) {
      std::string list;
      for (const std::string& name : unused) list += (list.empty() ? "" : " ") + name;
      say(fmt::format("[Warning] One or more build-args [{}] were not consumed\n", list));
    }
    job.progress(json::object{{"aux", json::object{{"ID", output.id}}}});
    if (quiet) {
      say(output.id + "\n");
    } else {
      say(fmt::format("Successfully built {}\n", output.id.substr(7, 12)));
      for (const std::string& name : output.names)
        say(fmt::format("Successfully tagged {}\n", name));
    }
    for (const std::string& name : output.names)
      daemon_.events().publish({"image", "tag", output.id, {{"name", name}}, 0});
  });
  return output;
}

Result<ImageBuild::Output> Builds::build(engine::JobContext& job, ImageBuild::Input input) {
  for (const std::string& name : input.names) {
    image::Reference reference = TRY(image::Reference::parse(name));
    if (!reference.digest().empty())
      return invalid("{}: an image cannot be named by a digest before it is built", name);
  }
  auto run = std::make_shared<BuildRun>();
  run->input = std::move(input);
  run->job = job.id();
  TRY(daemon_.graph().database().write(
      graph::Durability::normal, graph::Space::ordinary,
      [&](graph::Transaction& tx) { return engine::open_lease(job, tx); }));
  if (!run->input.cache_from.empty() && !run->input.quiet)
    job.progress(json::object{
        {"stream",
         "[Warning] cache_from is not looked at: what is built here is found again by its "
         "contents\n"}});
  TRY(prepare(job, *run));
  TRY(run_stages(job, run));
  return finish(job, *run);
}

}  // namespace gantry::daemon

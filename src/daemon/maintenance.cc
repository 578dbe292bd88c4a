#include "daemon/maintenance.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "daemon/daemon.h"
#include "daemon/images.h"
#include "daemon/options.h"
#include "engine/engine.h"
#include "graph/database.h"
#include "graph/gc.h"
#include "image/image_store.h"

namespace gantry::daemon {
namespace {

// What a step of a collection waits for containers that are just being started or stopped: 10,000
// blobs, 157 steps, still go within a second beside a daemon that is never idle.
constexpr std::chrono::milliseconds kGiveWay(4);

}  // namespace

Maintenance::Maintenance(Daemon& daemon) : daemon_(daemon) {
  engine::Engine& engine = daemon.engine();
  // Interrupted ones are told of: both may take long.
  const engine::JobOptions options{.job_class = engine::JobClass::maintenance,
                                   .journaling = engine::Journaling::at_start};
  engine.add<SystemCheck>(
      [this](engine::JobContext& job, SystemCheck::Input in) { return check(job, in); }, options);
  engine.add<SystemRebuild>(
      [this](engine::JobContext& job, SystemRebuild::Input) { return rebuild(job); }, options);
  engine.add<ContainerRebase>(
      [this](engine::JobContext& job, ContainerRebase::Input in) { return rebase(job, in); },
      engine::JobClass::maintenance);
  engine.add<SystemCollect>(
      [this](engine::JobContext& job, SystemCollect::Input in) { return collect(job, in); },
      options);
  engine.add<CollectStep>(
      [this](engine::JobContext& job, CollectStep::Input in) { return collect_step(job, in); },
      engine::JobClass::maintenance);
}

Maintenance::~Maintenance() { shut_down(); }

void Maintenance::start() {
  if (daemon_.options().gc.interval_ns > 0) thread_ = std::thread([this] { loop(); });
}

void Maintenance::stop() {
  std::lock_guard lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
}

void Maintenance::shut_down() {
  stop();
  if (thread_.joinable()) thread_.join();
}

void Maintenance::loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    Result<SystemCollect::Output> collected =
        daemon_.engine().run<SystemCollect>({}, {.caller = {.name = "gantryd"}});
    lock.lock();
    if (stopping_) return;
    if (!collected) {
      log::warn("collection: {}", collected.error().message());
    } else if (!collected->items.empty()) {
      log::info("collection: {} things that nothing holds are gone, {}", collected->items.size(),
                human_size(static_cast<double>(collected->reclaimed)));
    }
    changed_.wait_for(lock, std::chrono::nanoseconds(daemon_.options().gc.interval_ns),
                      [&] { return stopping_; });
  }
}

Result<SystemCollect::Output> Maintenance::collect(engine::JobContext& job,
                                                   const SystemCollect::Input& input) {
  const int64_t begun = monotonic_ns();
  const GcOptions& policy = daemon_.options().gc;
  graph::CollectOptions options;
  options.keep = {{graph::NodeKind::image, policy.images},
                  {graph::NodeKind::index, policy.images},
                  {graph::NodeKind::build_record, policy.build_cache}};
  options.grace_ns = policy.grace_ns;
  SystemCollect::Output output;
  auto add = [&](const graph::Node& node) {
    output.items.push_back({std::string(to_string(node.kind)), node.key, node.size});
    output.reclaimed += node.size;
  };
  // The files go by the rows of what owned them (collect_step), not by the collector.
  auto collector = std::make_shared<graph::Collector>(
      TRY(graph::Collector::plan(daemon_.graph(), nullptr, options)));
  if (input.dry_run) {
    for (const graph::Node& node : collector->planned()) add(node);
  } else {
    const size_t planned = collector->planned().size();
    while (!collector->finished()) {
      TRY(job.check());
      job.give_way(kGiveWay);
      std::vector<graph::Node> gone = TRY(job.run<CollectStep>({collector}));
      for (const graph::Node& node : gone) add(node);
      job.progress(json::object{{"Planned", planned}, {"Removed", output.items.size()}});
    }
  }
  output.duration_ns = monotonic_ns() - begun;
  return output;
}

// A load finds what it needs in the graph and links it when it ends; it holds the images' lock all
// that time, so nothing goes under its hands, and it waits for one step at most. What belongs to a
// node is marked in the transaction that removes it: the end of this job may fail.
Result<std::vector<graph::Node>> Maintenance::collect_step(engine::JobContext& job,
                                                           const CollectStep::Input& input) {
  TRY(daemon_.images().store().lock(job));
  engine::Engine& engine = daemon_.engine();
  std::vector<graph::Node> gone = TRY(input.collector->step(
      [&](graph::Transaction& tx, const std::vector<graph::Node>& nodes) -> Status {
        for (const graph::Node& node : nodes)
          TRY(engine.release_owned(tx, fmt::format("{}:{}", to_string(node.kind), node.key)));
        return {};
      }));
  if (!gone.empty()) engine.wake_releaser();
  return gone;
}

}  // namespace gantry::daemon

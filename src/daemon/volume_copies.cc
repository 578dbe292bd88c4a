// Snapshots and clones of volumes, and the way back: what Docker lacks.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "base/clock.h"
#include "base/copy_tree.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/sys.h"
#include "daemon/containers.h"
#include "daemon/daemon.h"
#include "daemon/events.h"
#include "daemon/names.h"
#include "daemon/volumes.h"
#include "graph/graph.h"

namespace gantry::daemon {
namespace {

constexpr std::string_view kRewindKind = "volume-rewind";
constexpr std::string_view kRewindName = "_rewind";  // beside _data
constexpr std::string_view kSnapshotLabel = "gantry.volume.snapshot-of";
constexpr std::string_view kCloneLabel = "gantry.volume.clone-of";

std::string default_name(const std::string& source, bool snapshot) {
  const int64_t now = now_ns();
  const time_t seconds = now / 1'000'000'000;
  std::tm parts = {};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 32> text = {};
  (void)std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%S", &parts);
  return fmt::format("{}-{}{}.{:03}", source, snapshot ? "" : "clone-", text.data(),
                     now / 1'000'000 % 1000);
}

// Shares the blocks where the file system can (copy_file_range(2)), and ends on the disk.
Status copy_content(const std::string& from, const std::string& to) {
  UniqueFd source = TRY(sys::open(from, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  UniqueFd target = TRY(sys::open(to, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  TRY(fs::copy_tree(source.get(), target.get()));
  if (::syncfs(target.get()) == -1) return error_from_errno(errno, "syncfs");
  return {};
}

}  // namespace

void Volumes::register_copies() {
  engine::Engine& engine = daemon_.engine();
  const std::string root = daemon_.options().data_root + "/volumes/";
  auto place = [root](const engine::Resource& rewind) {
    return fmt::format("{}{}/{}", root, rewind.name, kRewindName);
  };
  engine::ResourceKind kind;
  kind.name = kRewindKind;
  kind.probe = [place](const engine::Resource& rewind) -> Result<engine::Presence> {
    return fs::exists(place(rewind)) ? engine::Presence::present : engine::Presence::absent;
  };
  kind.release = [place](const engine::Resource& rewind) { return fs::remove_tree(place(rewind)); };
  log::ignored("volumes", engine.resources().add(std::move(kind)));
  const engine::JobOptions durable{.job_class = engine::JobClass::transfer,
                                   .durability = graph::Durability::full};
  engine.add<VolumeCopy>(
      [this](engine::JobContext& job, VolumeCopy::Input in) { return copy(job, in); }, durable);
  engine.add<VolumeRewind>(
      [this](engine::JobContext& job, VolumeRewind::Input in) { return rewind(job, in); }, durable);
}

Result<api::Strings> Volumes::users(const std::string& name) const {
  graph::View view = daemon_.graph().read();
  Result<graph::Node> node = view.get(graph::NodeKind::volume, name);
  if (!node) return not_found("get {}: no such volume", name);
  api::Strings ids;
  std::vector<graph::Node> holders = TRY(view.holders(node->id, graph::EdgeKind::uses));
  for (const graph::Node& user : holders) ids.push_back(user.key);
  std::sort(ids.begin(), ids.end());
  return ids;
}

// The containers that use `source` too: none of them begins or ends while it is copied.
Result<api::Strings> Volumes::lock_with_users(engine::JobContext& job, const std::string& used,
                                              const std::string& other) {
  api::Strings before = TRY(users(used));
  std::vector<engine::LockName> locks = {{engine::LockKind::volume, used},
                                         {engine::LockKind::volume, other}};
  for (const std::string& id : before) locks.push_back({engine::LockKind::container, id});
  TRY(job.lock(std::move(locks)));
  api::Strings now = TRY(users(used));
  if (!std::includes(before.begin(), before.end(), now.begin(), now.end()))
    return conflict("volume {}: another container has come to use it meanwhile, try again", used);
  return now;
}

Result<VolumeCreate::Output> Volumes::copy(engine::JobContext& job,
                                           const VolumeCopy::Input& input) {
  const std::string target =
      input.Name.empty() ? default_name(input.source, input.snapshot) : input.Name;
  if (!is_valid_name(target))
    return invalid(
        "create {}: \"{}\" includes invalid characters for a local volume name, only "
        "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed",
        target, target);
  if (target == input.source) return conflict("volume {} is there already", target);
  const api::Strings held = TRY(lock_with_users(job, input.source, target));
  if (TRY(daemon_.graph().read().contains(graph::NodeKind::volume, target)))
    return conflict("volume {} is there already", target);

  TRY(job.take({intent(target)}));
  TRY(make(target));
  TRY(daemon_.containers().hold_still(held, [&]() -> Status {
    TRY(failpoint("volume.held"));
    return copy_content(directory(input.source), directory(target))
        .context("copying volume {}", input.source);
  }));
  TRY(failpoint("volume.copied"));
  TRY(sync(target));
  api::StringMap labels;
  labels[std::string(input.snapshot ? kSnapshotLabel : kCloneLabel)] = input.source;
  job.on_commit([this, target, labels](graph::Transaction& tx) {
    return add_node(tx, target, false, labels);
  });
  job.after_commit([this, target] { created(target); });
  return VolumeCreate::Output{json::object{{"Name", target},
                                           {"Driver", "local"},
                                           {"Mountpoint", directory(target)},
                                           {"Labels", json::encode(labels)},
                                           {"Options", nullptr},
                                           {"Scope", "local"}}};
}

// What it had is replaced in one step: who looks sees the one or the other, also after a crash.
Result<engine::Nothing> Volumes::rewind(engine::JobContext& job, const VolumeRewind::Input& input) {
  if (input.name == input.Snapshot)
    return invalid("volume {} cannot be restored from itself", input.name);
  TRY(users(input.Snapshot));  // it has to be there
  const api::Strings held = TRY(lock_with_users(job, input.name, input.Snapshot));
  for (const std::string& id : held)
    if (daemon_.containers().is_running(id))
      return conflict("volume {} is in use by the running container {}: stop it first", input.name,
                      short_id(id));
  TRY(users(input.Snapshot));
  const std::string root = daemon_.options().data_root + "/volumes/" + input.name;
  const std::string made = fmt::format("{}/{}", root, kRewindName);
  TRY(job.take({{std::string(kRewindKind), input.name, "", ""}}));
  TRY(failpoint("volume.rewind"));
  TRY(fs::remove_tree(made));
  TRY(fs::make_directories(made, 0755));
  TRY(copy_content(directory(input.Snapshot), made).context("copying volume {}", input.Snapshot));
  TRY(failpoint("volume.rewound"));
  if (::renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, directory(input.name).c_str(),
                  RENAME_EXCHANGE) == -1)
    return error_from_errno(errno, fmt::format("exchanging {}", made));
  TRY(fs::sync_directory(root));
  job.after_commit([this, name = input.name, snapshot = input.Snapshot] {
    daemon_.events().publish(
        {"volume", "restore", name, {{"driver", "local"}, {"snapshot", snapshot}}, 0});
  });
  return engine::Nothing{};
}

}  // namespace gantry::daemon

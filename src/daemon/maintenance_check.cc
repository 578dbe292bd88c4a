// The job system.check: everything the database says against what is there, in both directions.
#include <algorithm>
#include <map>
#include <set>

#include "base/clock.h"
#include "base/fs.h"
#include "daemon/container_record.h"
#include "daemon/daemon.h"
#include "daemon/image_jobs.h"
#include "daemon/images.h"
#include "daemon/maintenance.h"
#include "daemon/network_jobs.h"
#include "daemon/options.h"
#include "daemon/volumes.h"
#include "engine/engine.h"
#include "graph/check.h"
#include "graph/database.h"
#include "image/image_store.h"

namespace gantry::daemon {

namespace {

using Findings = std::vector<CheckFinding>;

CheckFinding converted(engine::Finding&& found) {
  CheckFinding out;
  out.what = to_string(found.what);
  out.kind = std::move(found.kind);
  out.name = std::move(found.name);
  out.owner = std::move(found.owner);
  out.detail = std::move(found.detail);
  out.repaired = found.repaired;
  return out;
}

Status check_database(Daemon& daemon, bool repair, Findings& findings) {
  graph::Database& database = daemon.graph().database();
  std::vector<std::string> complaints = TRY(database.integrity_check());
  if (complaints.empty()) return {};
  // More than mend() can do is for the next start, which makes a new database of what can be read.
  bool mended = false;
  if (repair && database.mend()) {
    std::vector<std::string> left = TRY(database.integrity_check());
    mended = left.empty();
  }
  for (std::string& complaint : complaints) {
    CheckFinding finding;
    finding.what = "damaged";
    finding.kind = "database";
    finding.name = database.path();
    finding.detail = std::move(complaint);
    if (!mended) finding.detail += "; restart gantryd: it makes a new one of what can be read";
    finding.repaired = mended;
    findings.push_back(std::move(finding));
  }
  return {};
}

// What is gone or was corrupt is had again from where it was pulled, if that asks for no
// credentials; else the finding says what to pull. Each image is asked for once.
void fetch_again(Daemon& daemon, engine::JobContext& job, Findings& findings) {
  std::map<std::string, std::string> asked;  // tag → what stood in the way; "" when it is here
  for (CheckFinding& finding : findings) {
    if (finding.kind != "layer" && finding.kind != "blob") continue;
    for (const std::string& holder : finding.needed_by) {
      std::string name = holder.substr(holder.find(' ') + 1);
      Result<image::ImageInspect> image = daemon.images().store().inspect(name);
      if (!image || image->repo_digests.empty()) continue;
      const std::string& source = image->repo_digests.front();
      auto [known, fresh] = asked.try_emplace(source);
      if (fresh) {
        Result<ImagePull::Output> pulled = job.run<ImagePull>({.image = source});
        if (!pulled) known->second = pulled.error().message();
      }
      if (known->second.empty()) {
        finding.repaired = true;
        finding.detail += (finding.detail.empty() ? "" : "; ") + ("fetched again from " + source);
        break;
      }
      finding.detail += fmt::format("{}pull {} to have it again: {}",
                                    finding.detail.empty() ? "" : "; ", source, known->second);
    }
  }
}

Status check_store(Daemon& daemon, engine::JobContext& job, const SystemCheck::Input& input,
                   Findings& findings) {
  std::vector<image::StoreFinding> found =
      TRY(daemon.images().store().check(job, {.repair = input.repair, .read = input.content}));
  for (image::StoreFinding& one : found) {
    CheckFinding finding;
    finding.what = one.what == image::StoreFinding::What::missing ? "missing" : "corrupt";
    finding.kind = std::move(one.kind);
    finding.name = std::move(one.key);
    finding.detail = std::move(one.detail);
    finding.needed_by = std::move(one.needed_by);
    finding.repaired = one.repaired;
    findings.push_back(std::move(finding));
  }
  if (input.repair) fetch_again(daemon, job, findings);
  return {};
}

// A volume's directory is its owner's: one that the graph does not know is taken in, never removed;
// one that is gone is made again, empty, so that what uses it can start.
Status check_volumes(Daemon& daemon, engine::JobContext& job, bool repair, Findings& findings) {
  Volumes& volumes = daemon.volumes();
  std::vector<graph::Node> nodes = TRY(daemon.graph().read().list(graph::NodeKind::volume));
  std::set<std::string> known;
  for (const graph::Node& node : nodes) {
    known.insert(node.key);
    if (fs::exists(volumes.directory(node.key))) continue;
    CheckFinding finding;
    finding.what = "missing";
    finding.kind = "volume";
    finding.name = node.key;
    finding.detail = "its directory is gone, and what was in it";
    if (repair) {
      TRY(job.run<VolumeRestore>({node.key}));
      finding.repaired = true;
      finding.detail += "; it is there again, empty";
    }
    findings.push_back(std::move(finding));
  }
  std::vector<std::string> on_disk = TRY(volumes.on_disk());
  for (const std::string& name : on_disk) {
    if (known.contains(name) || daemon.engine().resources().get("volume-dir", name)) continue;
    CheckFinding finding;
    finding.what = "unknown";
    finding.kind = "volume";
    finding.name = name;
    finding.detail = "a directory of a volume that the database does not know";
    if (repair) {
      TRY(job.run<VolumeRestore>({name}));
      finding.repaired = true;
      finding.detail += "; it is a volume again";
    }
    findings.push_back(std::move(finding));
  }
  return {};
}

Status check_containers(Daemon& daemon, Findings& findings) {
  std::vector<graph::Node> nodes = TRY(daemon.graph().read().list(graph::NodeKind::container));
  for (const graph::Node& node : nodes) {
    Result<ContainerRecord> record = json::parse<ContainerRecord>(node.data);
    if (record) continue;
    CheckFinding finding;
    finding.what = "unreadable";
    finding.kind = "container";
    finding.name = node.key;
    finding.detail = record.error().message();
    findings.push_back(std::move(finding));
  }
  return {};
}

bool same(const engine::Finding& a, const engine::Finding& b) {
  return a.what == b.what && a.kind == b.kind && a.name == b.name;
}

// What two looks find: a job that is ending has given back things whose rows go a moment later.
Result<std::vector<engine::Finding>> standing_findings(engine::Engine& engine) {
  engine::ReconcileReport first = TRY(engine.reconcile(engine::ReconcileMode::check));
  if (first.findings.empty()) return std::move(first.findings);
  constexpr std::chrono::seconds kSettle{2};
  (void)engine.drain_releases(kSettle);
  engine::ReconcileReport second = TRY(engine.reconcile(engine::ReconcileMode::check));
  std::erase_if(second.findings, [&](const engine::Finding& found) {
    return std::none_of(first.findings.begin(), first.findings.end(),
                        [&](const engine::Finding& other) { return same(found, other); });
  });
  return std::move(second.findings);
}

}  // namespace

Result<SystemCheck::Output> Maintenance::check(engine::JobContext& job,
                                               const SystemCheck::Input& input) {
  const int64_t begun = monotonic_ns();
  SystemCheck::Output output;
  Findings& findings = output.findings;
  TRY(check_database(daemon_, input.repair, findings));
  TRY(check_store(daemon_, job, input, findings));
  TRY(check_volumes(daemon_, job, input.repair, findings));
  TRY(check_containers(daemon_, findings));
  TRY(job.check());

  engine::Engine& engine = daemon_.engine();
  using engine::ReconcileMode;
  std::vector<engine::Finding> before = TRY(standing_findings(engine));
  if (!input.repair) {
    for (engine::Finding& found : before) findings.push_back(converted(std::move(found)));
  } else {
    // What can be made again is made before the rows of what is gone are dropped.
    TRY(job.run<NetworkRestore>({}));
    engine::ReconcileReport after = TRY(engine.reconcile(ReconcileMode::repair));
    for (engine::Finding& found : before) {
      auto still = std::find_if(after.findings.begin(), after.findings.end(),
                                [&](const engine::Finding& other) { return same(found, other); });
      if (still == after.findings.end())
        found.repaired = true;
      else
        found = *still;
      findings.push_back(converted(std::move(found)));
    }
    job.on_commit([this](graph::Transaction& tx) {
      return daemon_.graph().set_setting(tx, graph::kRecoveredKey, "");
    });
  }
  for (const CheckFinding& finding : findings) output.unrepaired += finding.repaired ? 0 : 1;
  output.duration_ns = monotonic_ns() - begun;
  return output;
}

}  // namespace gantry::daemon

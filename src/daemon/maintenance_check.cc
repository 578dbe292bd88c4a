// The job system.check: everything the database says against what is there, in both directions.
#include <algorithm>
#include <map>
#include <set>

#include "base/clock.h"
#include "base/failpoint.h"
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

void add_detail(CheckFinding& finding, const std::string& text) {
  finding.detail += (finding.detail.empty() ? "" : "; ") + text;
}

// Pulls what is gone, or was corrupt and dropped, from where it came from. Each image is asked for
// once, with its own platform.
class Refetcher {
 public:
  Refetcher(Daemon& daemon, engine::JobContext& job,
            const registry::RegistryCredentials& credentials)
      : store_(daemon.images().store()), job_(job), credentials_(credentials) {}

  Status fetch(const image::StoreFinding& gone, CheckFinding& finding) {
    bool here = TRY(store_.is_here(gone));
    if (here) {
      // Brought by what was fetched for another, or kept because a container stands on it.
      if (gone.what == image::StoreFinding::What::missing || gone.repaired) {
        finding.repaired = true;
        finding.fetched_from = last_;
        if (!last_.empty()) add_detail(finding, "fetched again with " + last_);
      }
      return {};
    }
    std::vector<image::ImageSource> sources = TRY(store_.sources_of(gone));
    for (const image::ImageSource& source : sources) {
      const std::string name = source.reference.familiar();
      Result<ImagePull::Output> pulled = pull(source, name);
      TRY(job_.check());
      here = TRY(store_.is_here(gone));
      if (here) {
        finding.repaired = true;
        finding.fetched_from = last_ = name;
        add_detail(finding, "fetched again from " + name);
        return {};
      }
      add_detail(finding, fmt::format("it cannot be fetched from {} again: {}", name,
                                      pulled ? "what is there now is without it"
                                             : pulled.error().message()));
    }
    return fetch_alone(gone, finding);
  }

 private:
  // What no image can be pulled for (its own tag is gone), or what a pull of one that is here does
  // not look for (the compressed form of a layer).
  Status fetch_alone(const image::StoreFinding& gone, CheckFinding& finding) {
    Result<image::Refetched> fetched = job_.run<ImageRefetch>({gone.kind, gone.key, credentials_});
    TRY(job_.check());
    if (!fetched) {
      add_detail(finding, "it cannot be fetched again: " + fetched.error().message());
      return {};
    }
    for (const std::string& failure : fetched->failures)
      add_detail(finding, "it cannot be fetched from " + failure);
    if (fetched->from.empty()) return {};
    finding.repaired = true;
    finding.fetched_from = last_ = fetched->from;
    add_detail(finding, "fetched again from " + fetched->from);
    return {};
  }
  Result<ImagePull::Output> pull(const image::ImageSource& source, const std::string& name) {
    auto [known, fresh] = asked_.try_emplace(name + " " + source.platform);
    if (!fresh) {
      if (!known->second) return ImagePull::Output{};
      return Error(known->second->kind(), known->second->message());
    }
    ImagePull::Input input;
    input.image = name;
    input.platform = source.platform;
    input.credentials = credentials_.of(source.reference.domain());
    Result<ImagePull::Output> pulled = job_.run<ImagePull>(std::move(input));
    if (!pulled) known->second.emplace(pulled.error().kind(), pulled.error().message());
    return pulled;
  }

  image::ImageStore& store_;
  engine::JobContext& job_;
  const registry::RegistryCredentials& credentials_;
  std::map<std::string, std::optional<Error>> asked_;  // what stood in the way
  std::string last_;                                   // the image that was fetched last
};

// Containers stand on directories, and a layer that came again has another. Each under its own
// lock: one that is being removed meanwhile is passed over.
Status rebase_containers(Daemon& daemon, engine::JobContext& job) {
  std::vector<graph::Node> nodes = TRY(daemon.graph().read().list(graph::NodeKind::container));
  for (const graph::Node& node : nodes) TRY(job.run<ContainerRebase>({node.key}));
  return {};
}

Status check_store(Daemon& daemon, engine::JobContext& job, const SystemCheck::Input& input,
                   Findings& findings) {
  std::vector<image::StoreFinding> found =
      TRY(daemon.images().store().check(job, {.repair = input.repair, .read = input.content}));
  // What was dropped is on the disk until it has been given back.
  constexpr std::chrono::seconds kSettle{10};
  if (input.repair && !found.empty()) (void)daemon.engine().drain_releases(kSettle);
  Refetcher refetcher(daemon, job, input.credentials);
  for (const image::StoreFinding& one : found) {
    CheckFinding finding;
    finding.what = one.what == image::StoreFinding::What::missing ? "missing" : "corrupt";
    finding.kind = one.kind;
    finding.name = one.key;
    finding.detail = one.detail;
    finding.needed_by = one.needed_by;
    finding.repaired = one.repaired;
    if (input.repair) TRY(refetcher.fetch(one, finding));
    findings.push_back(std::move(finding));
  }
  // Whatever was fetched now: an earlier repair may have been cut short before this.
  if (input.repair) TRY(rebase_containers(daemon, job));
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

Result<bool> Maintenance::rebase(engine::JobContext& job, const ContainerRebase::Input& input) {
  TRY(job.lock({{engine::LockKind::container, input.container, engine::LockMode::exclusive}}));
  Result<graph::Node> node =
      daemon_.graph().read().get(graph::NodeKind::container, input.container);
  if (!node) return false;
  Result<ContainerRecord> record = json::parse<ContainerRecord>(node->data);
  if (!record) return false;  // told of by check_containers
  Result<image::Image> image = daemon_.images().store().find(record->image_id);
  if (!image || image->top_layer.empty()) return false;
  TRY(failpoint("container.rebase"));
  Status rebased = daemon_.graph_driver().rebase_container(input.container, image->top_layer);
  if (!rebased && rebased.error().kind() != ErrorKind::not_found) return std::move(rebased).error();
  return rebased.has_value();
}

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

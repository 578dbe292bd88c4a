// The comparison of rows with the world, in both directions.
#include <unordered_map>
#include <unordered_set>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/journal.h"

namespace gantry::engine {
namespace {

std::string key_of(const Resource& resource) { return resource.kind + '\0' + resource.name; }

Finding finding(Finding::What what, const Resource& resource, std::string detail = {}) {
  return {what, resource.kind, resource.name, resource.owner, std::move(detail), false};
}

// One pass. What is to be released is first marked `releasing` in one transaction, so that a crash
// in the middle of a repair is just another crash; the marked rows are then released by the one
// function that releases anything.
class Pass {
 public:
  Pass(const graph::Graph& graph, Resources& resources, Releaser& releaser,
       const EngineOptions& options, ReconcileMode mode)
      : graph_(graph),
        database_(graph.database()),
        resources_(resources),
        releaser_(releaser),
        options_(options),
        mode_(mode) {}

  template <typename Active>
  Status run(const Active& active, const std::function<Status(graph::Transaction&)>& trim);
  std::vector<Finding> take_findings() { return std::move(findings_); }

 private:
  struct Doubt {
    ResourceRow row;  // id 0: an orphan
    size_t finding;
    int64_t new_id = 0;  // the row that an orphan got
    bool marked = false;
  };
  Status enumerate();
  void look_at_held(const ResourceRow& row, std::unordered_map<std::string, bool>& owners);
  Status repair(const std::vector<JobInfo>& interrupted, const std::function<bool(JobId)>& active,
                const std::function<Status(graph::Transaction&)>& trim);
  Status mark(graph::Transaction& tx, const std::string& boot);
  void doubt(const ResourceRow& row, Finding::What what, std::string detail = {}) {
    bool unaccounted = what == Finding::What::orphan || what == Finding::What::ownerless;
    if (mode_ == ReconcileMode::careful && unaccounted) {
      findings_.push_back(finding(what, row, std::move(detail)));
      return;
    }
    to_release_.push_back({.row = row, .finding = findings_.size()});
    findings_.push_back(finding(what, row, std::move(detail)));
  }

  const graph::Graph& graph_;
  graph::Database& database_;
  Resources& resources_;
  Releaser& releaser_;
  const EngineOptions& options_;
  const ReconcileMode mode_;
  std::vector<Finding> findings_;
  std::vector<Resource> existing_;  // what the kinds can enumerate
  std::vector<Doubt> to_release_;   // rows, or orphans (row.id 0)
  std::vector<Doubt> to_forget_;    // rows of things that are gone
};

// Before the rows are read: a thing that exists now and has no row later has no owner.
Status Pass::enumerate() {
  for (const ResourceKind* kind : resources_.kinds()) {
    if (!kind->enumerate) continue;
    Result<std::vector<Resource>> found = kind->enumerate();
    if (!found) {
      findings_.push_back(
          {Finding::What::failed, kind->name, "", "", found.error().message(), false});
      continue;
    }
    for (Resource& resource : *found) {
      resource.kind = kind->name;
      existing_.push_back(std::move(resource));
    }
  }
  return {};
}

void Pass::look_at_held(const ResourceRow& row, std::unordered_map<std::string, bool>& owners) {
  auto known = owners.find(row.owner);
  if (known == owners.end()) {
    Result<bool> exists =
        row.owner.empty() ? Result<bool>(false) : options_.owner_exists(row.owner);
    if (!exists) {
      findings_.push_back(finding(Finding::What::failed, row, exists.error().message()));
      return;
    }
    known = owners.emplace(row.owner, *exists).first;
  }
  if (!known->second) return doubt(row, Finding::What::ownerless);
  const ResourceKind* kind = resources_.find_kind(row.kind);
  if (!kind->probe) return;
  Result<Presence> presence = kind->probe(row);
  if (!presence) {
    findings_.push_back(finding(Finding::What::failed, row, presence.error().message()));
  } else if (*presence == Presence::absent) {
    to_forget_.push_back({.row = row, .finding = findings_.size()});
    findings_.push_back(finding(Finding::What::vanished, row));
  }
}

template <typename Active>
Status Pass::run(const Active& active, const std::function<Status(graph::Transaction&)>& trim) {
  TRY(failpoint("engine.reconcile"));
  TRY(enumerate());
  std::vector<JobInfo> unfinished;
  std::vector<ResourceRow> rows;
  {
    graph::Snapshot snapshot = TRY(database_.read());
    unfinished = TRY(journal::unfinished(snapshot.connection()));
    rows = TRY(journal::all(snapshot.connection()));
  }
  std::erase_if(unfinished, [&](const JobInfo& job) { return active.contains(job.id); });
  for (const JobInfo& job : unfinished)
    findings_.push_back(
        {Finding::What::interrupted_job, job.name, fmt::format("{}", job.id), "", "", false});

  std::unordered_set<std::string> have_rows;
  std::unordered_map<std::string, bool> owners;
  for (const ResourceRow& row : rows) {
    have_rows.insert(key_of(row));
    if (!resources_.find_kind(row.kind)) {
      findings_.push_back(finding(Finding::What::unknown_kind, row));
    } else if (row.state == ResourceState::held) {
      look_at_held(row, owners);
    } else if (row.state == ResourceState::releasing) {
      // One that is just being released is no fault.
      if (releaser_.has_failed(row.id)) doubt(row, Finding::What::releasing);
    } else if (!active.contains(row.job)) {
      doubt(row, Finding::What::unfinished, fmt::format("left by job {}", row.job));
    }
  }
  for (Resource& resource : existing_) {
    if (have_rows.contains(key_of(resource))) continue;
    ResourceRow orphan;
    static_cast<Resource&>(orphan) = std::move(resource);
    doubt(orphan, Finding::What::orphan);
  }
  return mode_ != ReconcileMode::check
             ? repair(
                   unfinished, [&](JobId id) { return active.contains(id); }, trim)
             : Status();
}

// Turns what is to be released into rows that say so.
Status Pass::mark(graph::Transaction& tx, const std::string& boot) {
  graph::Connection& db = tx.connection();
  for (Doubt& item : to_release_) {
    if (item.row.id != 0) {
      // Gone or changed since it was read: its job has dealt with it.
      bool moved =
          TRY(journal::move_state(db, item.row.id, item.row.state, ResourceState::releasing));
      item.marked = moved;
      continue;
    }
    ResourceRow row = item.row;
    row.state = ResourceState::releasing;
    row.created_at = now_ns();
    row.boot_id = boot;
    Result<int64_t> id = journal::intend(db, row);
    if (!id && id.error().kind() != ErrorKind::conflict) return std::move(id).error();
    item.marked = id.has_value();  // else taken by a job in the meantime
    if (id) item.new_id = *id;
  }
  return {};
}

Status Pass::repair(const std::vector<JobInfo>& interrupted,
                    const std::function<bool(JobId)>& active,
                    const std::function<Status(graph::Transaction&)>& trim) {
  TRY(failpoint("engine.repair"));
  std::string boot = TRY(boot_id());
  auto settle = [&](graph::Transaction& tx) -> Status {
    for (const JobInfo& job : interrupted)
      TRY(journal::interrupt(tx.connection(), job.id, now_ns()));
    TRY(expire_leases(graph_, tx, active));
    TRY(trim(tx));
    return mark(tx, boot);
  };
  TRY(database_.write(graph::Durability::normal, graph::Space::reserve, settle));
  TRY(failpoint("engine.repair.marked"));
  for (Finding& found : findings_)
    if (found.what == Finding::What::interrupted_job) found.repaired = true;

  // Newest first, as rollback does; orphans, of which the order is not known, at the end.
  for (size_t i = to_release_.size(); i-- > 0;) {
    Doubt& item = to_release_[i];
    Finding& found = findings_[item.finding];
    if (!item.marked) continue;
    if (item.new_id != 0) item.row.id = item.new_id;
    const ResourceKind* kind = resources_.find_kind(item.row.kind);
    if (kind->mode == Release::deferred) {
      found.repaired = true;  // by the releaser, from its row
      continue;
    }
    Status released = releaser_.finish(item.row);
    found.repaired = released.has_value();
    if (!released) found.detail = released.error().message();
  }
  auto forget = [&](graph::Transaction& tx) -> Status {
    // Only as it was probed: a job may be releasing it just now.
    for (const Doubt& item : to_forget_)
      TRY(tx.connection().execute("DELETE FROM resource WHERE id=?1 AND state=?2", item.row.id,
                                  ResourceState::held));
    return {};
  };
  TRY(database_.write(graph::Durability::normal, graph::Space::reserve, forget));
  for (const Doubt& item : to_forget_) findings_[item.finding].repaired = true;
  releaser_.retry_now();
  return {};
}

}  // namespace

Status Engine::Impl::settle(const Active& gone_unless) {
  TRY(failpoint("engine.settle"));
  return database->write(
      graph::Durability::normal, graph::Space::reserve, [&](graph::Transaction& tx) -> Status {
        graph::Connection& db = tx.connection();
        std::vector<JobInfo> jobs = TRY(journal::unfinished(db));
        for (const JobInfo& job : jobs)
          if (!gone_unless.contains(job.id)) TRY(journal::interrupt(db, job.id, now_ns()));
        std::vector<ResourceRow> rows =
            TRY(journal::by_state(db, ResourceState::intended, journal::Order::releasing));
        for (const ResourceRow& row : rows)
          if (!gone_unless.contains(row.job))
            TRY(journal::set_state(db, row.id, ResourceState::releasing));
        return expire_leases(graph, tx, [&](JobId id) { return gone_unless.contains(id); });
      });
}

Status Engine::Impl::trim_journal(graph::Transaction& tx, JobId newest) const {
  const int64_t age = std::chrono::nanoseconds(options.journal_age).count();
  return journal::trim(tx.connection(), newest - options.journal_limit + 1,
                       age == 0 ? 0 : now_ns() - age);
}

Result<ReconcileReport> Engine::reconcile(ReconcileMode mode) {
  int64_t start = monotonic_ns();
  Pass pass(impl_->graph, impl_->resources, impl_->releaser, impl_->options, mode);
  const Impl::Active active = impl_->active_jobs();
  TRY(pass.run(active,
               [&](graph::Transaction& tx) { return impl_->trim_journal(tx, active.next - 1); }));
  ReconcileReport report;
  report.findings = pass.take_findings();
  report.duration_ns = monotonic_ns() - start;
  for (const Finding& found : report.findings)
    log::info("reconcile: {} {} {}{}{}{}", to_string(found.what), found.kind, found.name,
              found.detail.empty() ? "" : ": ", found.detail, found.repaired ? " (repaired)" : "");
  return report;
}

}  // namespace gantry::engine

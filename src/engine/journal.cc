#include "engine/journal.h"

#include "engine/engine.h"

namespace gantry::engine::journal {
namespace {

#define GANTRY_JOB_COLUMNS                                                                      \
  "id, name, status, class, parent, caller, queued_at, started_at, finished_at, input_digest, " \
  "error, resources"
#define GANTRY_RESOURCE_COLUMNS "id, kind, name, owner, job, state, data, boot_id, created_at"

JobInfo job_of(const graph::Statement& row) {
  JobInfo job;
  job.id = row.integer(0);
  job.name = row.string(1);
  job.status = static_cast<JobStatus>(row.integer(2));
  job.job_class = static_cast<JobClass>(row.integer(3));
  job.parent = row.integer(4);
  // A row that cannot be read is shown without what it does not tell.
  if (auto caller = json::parse<Caller>(row.text(5))) job.caller = caller.release();
  job.queued_at = row.integer(6);
  job.started_at = row.integer(7);
  job.finished_at = row.integer(8);
  job.input_digest = row.string(9);
  job.error = row.string(10);
  if (auto resources = json::parse<std::vector<std::string>>(row.text(11)))
    job.resources = resources.release();
  return job;
}

ResourceRow resource_of(const graph::Statement& row) {
  ResourceRow resource;
  resource.id = row.integer(0);
  resource.kind = row.string(1);
  resource.name = row.string(2);
  resource.owner = row.string(3);
  resource.job = row.integer(4);
  resource.state = static_cast<ResourceState>(row.integer(5));
  resource.data = row.string(6);
  resource.boot_id = row.string(7);
  resource.created_at = row.integer(8);
  return resource;
}

Result<std::vector<JobInfo>> jobs(graph::Statement rows) {
  std::vector<JobInfo> out;
  while (TRY(rows.step())) out.push_back(job_of(rows));
  return out;
}

Result<std::vector<ResourceRow>> resources(graph::Statement rows) {
  std::vector<ResourceRow> out;
  while (TRY(rows.step())) out.push_back(resource_of(rows));
  return out;
}

}  // namespace

Status put(graph::Connection& db, const JobInfo& job) {
  return db.execute("INSERT OR REPLACE INTO job(" GANTRY_JOB_COLUMNS
                    ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)",
                    job.id, job.name, job.status, job.job_class, job.parent, json::dump(job.caller),
                    job.queued_at, job.started_at, job.finished_at, job.input_digest, job.error,
                    json::dump(job.resources));
}

Result<std::optional<JobInfo>> get(graph::Connection& db, JobId id) {
  graph::Statement rows = TRY(db.query("SELECT " GANTRY_JOB_COLUMNS " FROM job WHERE id=?1", id));
  if (!TRY(rows.step())) return std::optional<JobInfo>();
  return std::optional<JobInfo>(job_of(rows));
}

Result<std::vector<JobInfo>> newest(graph::Connection& db, size_t limit,
                                    const std::function<bool(const JobInfo&)>& wanted) {
  graph::Statement rows = TRY(db.query("SELECT " GANTRY_JOB_COLUMNS " FROM job ORDER BY id DESC"));
  std::vector<JobInfo> out;
  while (out.size() < limit && TRY(rows.step()))
    if (JobInfo job = job_of(rows); wanted(job)) out.push_back(std::move(job));
  return out;
}

Result<std::vector<JobInfo>> unfinished(graph::Connection& db) {
  graph::Statement rows =
      TRY(db.query("SELECT " GANTRY_JOB_COLUMNS " FROM job WHERE status <= 2 ORDER BY id"));
  return jobs(std::move(rows));
}

Status interrupt(graph::Connection& db, JobId id, int64_t now) {
  return db.execute(
      "UPDATE job SET status=?2, finished_at=?3, error='interrupted by the end of the daemon' "
      "WHERE id=?1 AND status <= 2",
      id, JobStatus::interrupted, now);
}

Status trim(graph::Connection& db, JobId oldest_kept, int64_t ended_before) {
  return db.execute("DELETE FROM job WHERE status > 2 AND (id < ?1 OR finished_at < ?2)",
                    oldest_kept, ended_before);
}

Result<JobId> highest_id(graph::Connection& db) {
  graph::Statement row =
      TRY(db.query("SELECT max(coalesce((SELECT max(id) FROM job), 0), coalesce((SELECT max(job) "
                   "FROM resource), 0))"));
  TRY(row.step());
  return row.integer(0);
}

Result<int64_t> intend(graph::Connection& db, const ResourceRow& row) {
  TRY(db.execute(
      "INSERT INTO resource(kind, name, owner, job, state, data, boot_id, created_at) "
      "VALUES(?1,?2,?3,?4,?5,?6,?7,?8)",
      row.kind, row.name, row.owner, row.job, row.state, row.data, row.boot_id, row.created_at));
  return db.last_insert_id();
}

Result<std::optional<ResourceRow>> find(graph::Connection& db, std::string_view kind,
                                        std::string_view name) {
  graph::Statement rows = TRY(db.query(
      "SELECT " GANTRY_RESOURCE_COLUMNS " FROM resource WHERE kind=?1 AND name=?2", kind, name));
  if (!TRY(rows.step())) return std::optional<ResourceRow>();
  return std::optional<ResourceRow>(resource_of(rows));
}

Status set_state(graph::Connection& db, int64_t id, ResourceState state) {
  return db.execute("UPDATE resource SET state=?2 WHERE id=?1", id, state);
}

Result<bool> move_state(graph::Connection& db, int64_t id, ResourceState from, ResourceState to) {
  TRY(db.execute("UPDATE resource SET state=?3 WHERE id=?1 AND state=?2", id, from, to));
  return db.changes() == 1;
}

Status set_data(graph::Connection& db, int64_t id, std::string_view data) {
  return db.execute("UPDATE resource SET data=?2 WHERE id=?1", id, data);
}

Status erase(graph::Connection& db, int64_t id) {
  return db.execute("DELETE FROM resource WHERE id=?1", id);
}

Result<std::vector<ResourceRow>> all(graph::Connection& db) {
  graph::Statement rows =
      TRY(db.query("SELECT " GANTRY_RESOURCE_COLUMNS " FROM resource ORDER BY id"));
  return resources(std::move(rows));
}

Result<std::vector<ResourceRow>> by_owner(graph::Connection& db, std::string_view owner,
                                          Order order) {
  graph::Statement rows = TRY(db.query(
      order == Order::taking
          ? "SELECT " GANTRY_RESOURCE_COLUMNS " FROM resource WHERE owner=?1 ORDER BY id"
          : "SELECT " GANTRY_RESOURCE_COLUMNS " FROM resource WHERE owner=?1 ORDER BY id DESC",
      owner));
  return resources(std::move(rows));
}

Result<std::vector<ResourceRow>> by_kind(graph::Connection& db, std::string_view kind) {
  graph::Statement rows = TRY(
      db.query("SELECT " GANTRY_RESOURCE_COLUMNS " FROM resource WHERE kind=?1 ORDER BY id", kind));
  return resources(std::move(rows));
}

Result<std::vector<ResourceRow>> by_state(graph::Connection& db, ResourceState state, Order order) {
  // `state <> 2` lets SQLite use the partial index; there is no reason to ask for held rows here.
  graph::Statement rows = TRY(db.query(
      order == Order::taking ? "SELECT " GANTRY_RESOURCE_COLUMNS
                               " FROM resource WHERE state=?1 AND state <> 2 ORDER BY id"
                             : "SELECT " GANTRY_RESOURCE_COLUMNS
                               " FROM resource WHERE state=?1 AND state <> 2 ORDER BY id DESC",
      state));
  return resources(std::move(rows));
}

}  // namespace gantry::engine::journal

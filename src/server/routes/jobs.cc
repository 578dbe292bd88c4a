// Gantry's own, beside Docker's API: what the engine does and did.
//
//   GET /gantry/jobs            the newest jobs, running and ended, as an array. limit=N (100);
//                               filters={"status": ["running", …], "name": ["container.start",
//                               "image", …]}: a name, or what is before its dot.
//   GET /gantry/jobs?stream=1   one document per change of a job's status and per progress event,
//                               of all jobs that the filters match, until the client goes. Who does
//                               not keep up misses some.
//   GET /gantry/jobs/{id}       one job. stream=1: as it is now, then a document per change; ends
//                               with the job, and the last document tells how.
//   DELETE /gantry/jobs/{id}    asks a job to stop: 204 once asked, 409 when it has ended.
//   GET /gantry/engine          what runs, what is still given back, what the database did.
#include <algorithm>

#include "base/clock.h"
#include "graph/database.h"
#include "server/routes.h"
#include "server/run_job.h"

namespace gantry::server {
namespace {

constexpr int64_t kDefaultLimit = 100, kHighestLimit = 10000;

json::object encode_job(const engine::JobInfo& job) {
  json::array resources;
  for (const std::string& resource : job.resources) resources.emplace_back(resource);
  json::object out{{"Id", job.id},
                   {"Name", job.name},
                   {"Status", engine::to_string(job.status)},
                   {"Class", engine::to_string(job.job_class)},
                   {"Parent", job.parent},
                   {"Caller", json::encode(job.caller)},
                   {"QueuedAt", format_time(job.queued_at)},
                   {"StartedAt", format_time(job.started_at)},
                   {"FinishedAt", format_time(job.finished_at)},
                   {"InputDigest", job.input_digest},
                   {"Error", job.error},
                   {"Resources", std::move(resources)}};
  if (!job.progress.is_null()) out["Progress"] = job.progress;
  return out;
}

Result<engine::JobId> job_id(Call& call) {
  const std::string& text = call.name("id");
  if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != std::string::npos)
    return invalid("invalid job id {:?}: it is a number", text);
  return engine::JobId{std::stoll(text)};
}

Result<engine::JobFilter> job_filter(Call& call) {
  engine::JobFilter filter;
  for (auto& [key, values] : TRY(call.filters())) {
    if (key == "name")
      filter.names = values;
    else if (key == "status")
      for (const std::string& word : values)
        filter.statuses.push_back(TRY(engine::job_status_from(word)));
    else
      return invalid("invalid filter '{}'", key);
  }
  return filter;
}

bool ended(const engine::JobInfo& job) { return job.status > engine::JobStatus::running; }

Status watch_all(Call& call, const engine::JobFilter& filter) {
  engine::JobWatch watch = call.daemon().engine().watch();
  TRY(call.start_stream("application/json"));
  while (auto job = TRY(call.x.next(*watch)))
    if (filter.matches(*job)) TRY(call.write_json(encode_job(*job)));
  return call.x.finish();
}

Status watch_one(Call& call, engine::JobId id) {
  engine::Engine& engine = call.daemon().engine();
  engine::JobWatch watch = engine.watch(id);  // first, so that nothing falls between
  engine::JobInfo last = TRY(engine.inspect(id));
  TRY(call.start_stream("application/json"));
  TRY(call.write_json(encode_job(last)));
  while (!ended(last)) {
    auto job = TRY(call.x.next(*watch));
    if (!job) break;
    last = std::move(*job);
    TRY(call.write_json(encode_job(last)));
  }
  if (!ended(last)) {  // the event of the end came when the channel was full
    last = TRY(engine.inspect(id));
    TRY(call.write_json(encode_job(last)));
  }
  return call.x.finish();
}

Status list(Call& call) {
  engine::JobFilter filter = TRY(job_filter(call));
  int64_t limit = TRY(call.number("limit")).value_or(kDefaultLimit);
  if (limit < 1 || limit > kHighestLimit)
    return invalid("limit must be between 1 and {}", kHighestLimit);
  if (call.flag("stream")) return watch_all(call, filter);
  auto jobs = TRY(call.x.run_blocking(
      [&] { return call.daemon().engine().list(static_cast<size_t>(limit), filter); }));
  json::array out;
  for (const engine::JobInfo& job : jobs) out.emplace_back(encode_job(job));
  return call.send(200, out);
}

Status inspect(Call& call) {
  engine::JobId id = TRY(job_id(call));
  if (call.flag("stream")) return watch_one(call, id);
  engine::JobInfo job = TRY(call.daemon().engine().inspect(id));
  return call.send(200, encode_job(job));
}

Status cancel(Call& call) {
  engine::JobId id = TRY(job_id(call));
  return call.answer_empty(call.daemon().engine().cancel(id));
}

Status show_engine(Call& call) {
  daemon::Daemon& daemon = call.daemon();
  const engine::EngineStats stats = call.x.run_blocking([&] { return daemon.engine().stats(); });
  const graph::DatabaseCounters database = daemon.engine().database().counters();
  return call.send(200, json::object{{"Ready", daemon.ready()},
                                     {"Reconciled", daemon.reconciled()},
                                     {"Running", stats.running},
                                     {"Queued", stats.queued},
                                     {"Threads", stats.threads},
                                     {"Releasing", stats.releasing},
                                     {"Database",
                                      {{"Transactions", database.transactions},
                                       {"WriteNs", database.write_ns},
                                       {"Snapshots", database.snapshots},
                                       {"ReadNs", database.read_ns}}}});
}

constexpr Route kRoutes[] = {
    {"GET", "/gantry/engine", show_engine, Route::Answered::at_once},
    {"GET", "/gantry/jobs", list, Route::Answered::at_once},
    {"GET", "/gantry/jobs/{id}", inspect, Route::Answered::at_once},
    {"DELETE", "/gantry/jobs/{id}", cancel, Route::Answered::at_once},
};

}  // namespace

std::span<const Route> job_routes() { return kRoutes; }

}  // namespace gantry::server

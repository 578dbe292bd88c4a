// /gantry/jobs: the journal and what runs now. Gantry's own, beside Docker's API.
#include "base/clock.h"
#include "server/routes.h"
#include "server/run_job.h"

namespace gantry::server {
namespace {

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
                   {"Resources", std::move(resources)}};
  if (!job.error.empty()) out["Error"] = job.error;
  if (!job.progress.is_null()) out["Progress"] = job.progress;
  return out;
}

Result<engine::JobId> job_id(Call& call) {
  const std::string& text = call.name("id");
  if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != std::string::npos)
    return invalid("invalid job id {:?}", text);
  return engine::JobId{std::stoll(text)};
}

Status list(Call& call) {
  constexpr int64_t kDefault = 100, kMost = 10000;
  int64_t limit = TRY(call.number("limit")).value_or(kDefault);
  if (limit < 1 || limit > kMost) return invalid("limit must be between 1 and {}", kMost);
  auto jobs = TRY(
      call.x.run_blocking([&] { return call.daemon().engine().list(static_cast<size_t>(limit)); }));
  json::array out;
  for (const engine::JobInfo& job : jobs) out.emplace_back(encode_job(job));
  return call.send(200, out);
}

Status inspect(Call& call) {
  engine::JobId id = TRY(job_id(call));
  engine::JobInfo job = TRY(call.daemon().engine().inspect(id));
  return call.send(200, encode_job(job));
}

Status cancel(Call& call) {
  engine::JobId id = TRY(job_id(call));
  return call.answer_empty(call.daemon().engine().cancel(id));
}

// One document per change, until the job ends (or for ever, of all jobs).
Status stream(Call& call, engine::JobId id) {
  engine::JobWatch watch = call.daemon().engine().watch(id);
  TRY(call.start_stream("application/json"));
  while (true) {
    auto job = call.x.next(*watch);
    if (!job || !*job) break;
    TRY(call.write_json(encode_job(**job)));
  }
  return call.x.finish();
}

Status watch_one(Call& call) {
  engine::JobId id = TRY(job_id(call));
  TRY(call.daemon().engine().inspect(id));
  return stream(call, id);
}

Status watch_all(Call& call) { return stream(call, 0); }

constexpr Route kRoutes[] = {
    {"GET", "/gantry/jobs", list},
    {"GET", "/gantry/jobs/watch", watch_all},
    {"GET", "/gantry/jobs/{id}", inspect},
    {"GET", "/gantry/jobs/{id}/watch", watch_one},
    {"POST", "/gantry/jobs/{id}/cancel", cancel},
};

}  // namespace

std::span<const Route> job_routes() { return kRoutes; }

}  // namespace gantry::server

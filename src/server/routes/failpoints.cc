// /gantry/failpoints: only where failpoints are compiled in, for tests. PUT arms what its body says
// (base/failpoint.h) and forgets what was passed; GET tells what was passed since, and which jobs
// and resource kinds there are.
#ifdef GANTRY_FAILPOINTS

#include "base/failpoint.h"
#include "server/routes.h"
#include "server/run_job.h"

namespace gantry::server {
namespace {

Status arm(Call& call) {
  std::string text = TRY(call.x.read_body(64 << 10));
  TRY(failpoints_arm(text));
  return call.send_empty(204);
}

Status show(Call& call) {
  json::array passed, jobs, kinds;
  for (const FailpointPasses& point : failpoints_passed())
    passed.emplace_back(json::object{{"Scope", point.scope},
                                     {"Name", point.name},
                                     {"Passes", point.passes},
                                     {"Fired", point.fired}});
  for (const std::string& name : call.daemon().engine().job_names()) jobs.emplace_back(name);
  for (const engine::ResourceKind* kind : call.daemon().engine().resources().kinds())
    kinds.emplace_back(kind->name);
  engine::EngineStats stats = call.daemon().engine().stats();
  return call.send(200, json::object{{"Passed", std::move(passed)},
                                     {"Jobs", std::move(jobs)},
                                     {"Kinds", std::move(kinds)},
                                     {"Running", stats.running},
                                     {"Queued", stats.queued},
                                     {"Releasing", stats.releasing}});
}

constexpr Route kRoutes[] = {
    {"GET", "/gantry/failpoints", show},
    {"PUT", "/gantry/failpoints", arm},
};

}  // namespace

std::span<const Route> failpoint_routes() { return kRoutes; }

}  // namespace gantry::server

#endif

// /gantry/graph and /gantry/system: what is kept and why, checks, collection. Gantry's own, beside
// Docker's API.
//
//   GET  /gantry/graph?format=json|dot|tree&id=ID   the graph, or what ID holds
//   GET  /gantry/graph/roots                        what begins a chain, and how much it holds
//   GET  /gantry/graph/why?id=ID&limit=N            the chains that hold a thing
//   POST /gantry/system/check?repair=1&content=1    SystemCheck (daemon/maintenance_jobs.h)
//   POST /gantry/system/gc?dry-run=1                SystemCollect
#include "daemon/graph_queries.h"
#include "daemon/maintenance_jobs.h"
#include "server/routes.h"
#include "server/run_job.h"

namespace gantry::server {
namespace {

Status show(Call& call) {
  std::string format = call.query("format").empty() ? "json" : call.query("format");
  std::string text = TRY(call.x.run_blocking(
      [&] { return daemon::show_graph(call.daemon(), format, call.query("id")); }));
  return call.send_text(200, format == "json" ? "application/json" : "text/plain; charset=utf-8",
                        text);
}

Status roots(Call& call) {
  return call.answer(200, call.x.run_blocking([&] { return daemon::graph_roots(call.daemon()); }));
}

Status why(Call& call) {
  constexpr int64_t kDefault = 16, kMost = 1000;
  int64_t limit = TRY(call.number("limit")).value_or(kDefault);
  if (limit < 1 || limit > kMost) return invalid("limit must be between 1 and {}", kMost);
  const std::string object = call.query("id");
  if (object.empty()) return invalid("id is missing: whose chains?");
  return call.answer(200, call.x.run_blocking([&] {
    return daemon::why(call.daemon(), object, static_cast<size_t>(limit));
  }));
}

Status check(Call& call) {
  daemon::SystemCheck::Input input{.repair = call.flag("repair"), .content = call.flag("content")};
  input.credentials =
      TRY(registry::RegistryCredentials::decode(call.x.headers().get("X-Registry-Config")));
  return call.answer(200, run_job<daemon::SystemCheck>(call, input, WhenGone::cancel));
}

Status collect(Call& call) {
  daemon::SystemCollect::Input input{.dry_run = call.flag("dry-run")};
  return call.answer(200, run_job<daemon::SystemCollect>(call, input, WhenGone::cancel));
}

constexpr Route kRoutes[] = {
    {"GET", "/gantry/graph", show},         {"GET", "/gantry/graph/roots", roots},
    {"GET", "/gantry/graph/why", why},      {"POST", "/gantry/system/check", check},
    {"POST", "/gantry/system/gc", collect},
};

}  // namespace

std::span<const Route> graph_routes() { return kRoutes; }

}  // namespace gantry::server

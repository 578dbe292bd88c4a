// GET /_ping, /version, /info, /events, /system/df; POST /auth.
#include "daemon/system.h"
#include "daemon/events.h"
#include "daemon/transfers.h"

#include "base/clock.h"
#include "server/routes.h"
#include "server/run_job.h"

namespace gantry::server {
namespace {

// The builder that clients are to choose: 1 is Docker's classic one.
constexpr std::string_view kBuilderVersion = "1";

Status ping(Call& call) {
  http::Headers headers = call.headers("text/plain; charset=utf-8");
  headers.add("Builder-Version", std::string(kBuilderVersion));
  headers.add("Cache-Control", "no-cache, no-store, must-revalidate");
  headers.add("Pragma", "no-cache");
  headers.add("Swarm", "inactive");
  return call.x.respond(200, std::move(headers), call.x.method() == "HEAD" ? "" : "OK");
}

Status version(Call& call) { return call.answer(200, daemon::version(call.daemon())); }

Status info(Call& call) {
  return call.answer(200, call.x.run_blocking([&] { return daemon::info(call.daemon()); }));
}

Status disk_usage(Call& call) {
  std::vector<std::string> types = call.x.query().all("type");
  for (const std::string& type : types)
    if (type != "container" && type != "image" && type != "volume" && type != "build-cache")
      return invalid("unknown object type: {}", type);
  return call.answer(200,
                     call.x.run_blocking([&] { return daemon::disk_usage(call.daemon(), types); }));
}

// Sends what comes through `listener` until `until` (0: for ever).
Status send_events(Call& call, daemon::Events::Listener& listener, int64_t until) {
  std::optional<http::Clock::time_point> deadline;
  if (until != 0)
    deadline =
        http::Clock::now() + std::chrono::nanoseconds(std::max<int64_t>(until - now_ns(), 0));
  listener.set_waker(call.x.waker());
  while (true) {
    while (auto event = listener.try_pop())
      TRY(call.x.write(json::serialize(event->to_json()) + "\n"));
    if (listener.finished()) return call.x.finish();
    http::Wake wake = call.x.wait(deadline);
    if (wake == http::Wake::client_gone) return gone_error(wake);
    if (wake != http::Wake::notified) return call.x.finish();
  }
}

Status events(Call& call) {
  int64_t since = TRY(call.time("since"));
  int64_t until = TRY(call.time("until"));
  if (since != 0 && until != 0 && until < since)
    return invalid("`since` time ({}) cannot be after `until` time ({})", call.query("since"),
                   call.query("until"));
  Filters filters = TRY(call.filters());
  auto filter = TRY(daemon::EventFilter::parse(filters));
  daemon::Events& events = call.daemon().events();
  if (until != 0 && until <= now_ns()) {
    TRY(call.start_stream("application/json"));
    for (const daemon::Event& event : events.past(filter, since, until))
      TRY(call.x.write(json::serialize(event.to_json()) + "\n"));
    return call.x.finish();
  }
  auto listener = events.subscribe(std::move(filter), since, until);
  Status sent = call.start_stream("application/json");
  if (sent) sent = send_events(call, *listener, until);
  listener->set_waker(nullptr);
  events.unsubscribe(listener);
  return sent;
}

Status auth(Call& call) {
  auto credentials = TRY(call.body_as<registry::AuthConfig>());
  Result<json::object> answer =
      call.x.run_blocking([&] { return call.daemon().transfers().login(credentials); });
  // Docker's status for credentials that the registry does not take.
  if (!answer && answer.error().kind() == ErrorKind::permission)
    return call.send(401, json::object{{"message", answer.error().message()}});
  if (!answer) return std::move(answer).error();
  return call.send(200, answer.release());
}

Status metrics(Call& call) {
  const std::string text = call.x.run_blocking([&] { return daemon::metrics(call.daemon()); });
  return call.send_text(200, "text/plain; version=0.0.4; charset=utf-8", text);
}

constexpr Route kRoutes[] = {
    {"GET", "/_ping", ping, Route::Answered::at_once},
    {"GET", "/version", version, Route::Answered::at_once},
    {"GET", "/info", info},
    {"GET", "/events", events, Route::Answered::at_once},
    {"GET", "/system/df", disk_usage},
    {"GET", "/metrics", metrics},
    {"POST", "/auth", auth},
};

}  // namespace

std::span<const Route> system_routes() { return kRoutes; }

}  // namespace gantry::server

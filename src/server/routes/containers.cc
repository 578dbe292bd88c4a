// /containers/… but for the streams (routes/container_streams.cc).
#include "daemon/containers.h"
#include "daemon/image_jobs.h"

#include "server/routes.h"
#include "server/routes/container_streams.h"
#include "server/run_job.h"

namespace gantry::server {
namespace {

using namespace daemon;

constexpr ApiVersion kPrivateIpcSince{1, 40}, kPrivateCgroupnsSince{1, 41};

Status list(Call& call) {
  ListQuery query;
  query.all = call.flag("all");
  query.size = call.flag("size");
  query.limit = static_cast<int>(TRY(call.number("limit")).value_or(0));
  query.filters = TRY(call.filters());
  if (query.limit > 0) query.all = true;
  Containers& containers = call.daemon().containers();
  if (!query.size) {
    PiecewiseAnswer answer(call, "application/json");
    TRY(containers.list(query, [&](std::string_view piece) { return answer.write(piece); }));
    return answer.finish("\n");
  }
  std::string text;
  TRY(call.x.run_blocking([&] {
    return containers.list(query, [&](std::string_view piece) -> Status {
      text += piece;
      return {};
    });
  }));
  return call.send_text(200, "application/json", text += "\n");
}

Status create(Call& call) {
  ContainerCreate::Input input;
  input.name = call.query("name");
  input.platform = call.query("platform");
  json::value body = TRY(call.body());
  if (body.is_null() || (body.is_object() && body.get_object().empty()))
    return invalid("config cannot be empty in order to create a container");
  input.body = TRY(api::parse_create_body(body).context("invalid JSON"));
  // What an absent mode meant to clients of then.
  if (input.body.host_config.IpcMode.empty() && call.version < kPrivateIpcSince)
    input.body.host_config.IpcMode = "shareable";
  if (input.body.host_config.CgroupnsMode.empty() && call.version < kPrivateCgroupnsSince)
    input.body.host_config.CgroupnsMode = "host";
  return call.answer(201, run_job<ContainerCreate>(call, std::move(input)));
}

Status inspect(Call& call) {
  bool size = call.flag("size");
  auto query = [&] { return call.daemon().containers().inspect(call.name("id"), size); };
  return call.answer(200, size ? call.x.run_blocking(query) : query());
}

Status top(Call& call) {
  std::string arguments = call.x.query().has("ps_args") ? call.query("ps_args") : "-ef";
  return call.answer(200, call.x.run_blocking([&] {
    return call.daemon().containers().top(call.name("id"), arguments);
  }));
}

// 204, or 304 when there was nothing to do.
Status send_changed(Call& call, Result<ChangeOutput> output) {
  return call.answer_empty(std::move(output), output && !output->changed ? 304 : 204);
}

Status start(Call& call) {
  if (call.x.content_length() != std::optional<uint64_t>(0)) {
    // Old clients sent a host configuration; one of nothing but white space and braces is no body.
    std::string body = TRY(call.x.read_body());
    if (body.find_first_not_of(" \t\r\n{}") != std::string::npos)
      return invalid(
          "starting container with non-empty request body was deprecated since API v1.22 and "
          "removed in v1.24");
  }
  return send_changed(call, run_job<ContainerStart>(call, {call.name("id")}));
}

Status changes(Call& call) {
  auto query = [&] { return call.daemon().containers().changes(call.name("id")); };
  Result<json::array> found = call.x.run_blocking(query);
  if (!found) return std::move(found).error();
  return call.send(200, found.release());
}

Status commit(Call& call) {
  ImageCommit::Input input;
  input.container = call.query("container");
  input.repository = call.query("repo");
  input.tag = call.query("tag");
  input.author = call.query("author");
  input.comment = call.query("comment");
  input.pause = call.query("pause").empty() || call.flag("pause");
  input.changes = call.x.query().all("changes");
  json::value body = TRY(call.body());
  if (!body.is_null() && !body.is_object())
    return json::type_error("an object", body).context("invalid JSON");
  if (body.is_object() && !body.get_object().empty())
    input.config = TRY(call.decoded<api::ContainerConfig>(body));
  return call.answer(201, run_job<ImageCommit>(call, std::move(input)));
}

Result<ContainerStop::Input> stop_input(Call& call) {
  ContainerStop::Input input;
  input.container = call.name("id");
  input.signal = call.query("signal");
  if (auto timeout = TRY(call.number("t"))) input.timeout = static_cast<int>(*timeout);
  return input;
}

Status stop(Call& call) {
  auto input = TRY(stop_input(call));
  return send_changed(call, run_job<ContainerStop>(call, std::move(input)));
}

Status restart(Call& call) {
  auto input = TRY(stop_input(call));
  return call.answer_empty(run_job<ContainerRestart>(call, std::move(input)));
}

Status kill(Call& call) {
  return call.answer_empty(run_job<ContainerKill>(call, {call.name("id"), call.query("signal")}));
}

Status pause(Call& call) {
  return call.answer_empty(run_job<ContainerPause>(call, {call.name("id")}));
}

Status unpause(Call& call) {
  return call.answer_empty(run_job<ContainerUnpause>(call, {call.name("id")}));
}

Status rename(Call& call) {
  return call.answer_empty(run_job<ContainerRename>(call, {call.name("id"), call.query("name")}));
}

Status update(Call& call) {
  json::value body = TRY(call.body());
  if (!body.is_object()) return json::type_error("an object", body).context("invalid JSON");
  return call.answer(200, run_job<ContainerUpdate>(call, {call.name("id"), body.get_object()}));
}

Status resize(Call& call) {
  auto rows = TRY(call.number("h"));
  auto columns = TRY(call.number("w"));
  if (!rows || !columns || *rows < 0 || *columns < 0 || *rows > 65535 || *columns > 65535)
    return invalid("invalid terminal size: h and w must be numbers between 0 and 65535");
  // Asks the container's shim.
  TRY(call.x.run_blocking([&] {
    return call.daemon().containers().resize(call.name("id"), static_cast<unsigned>(*rows),
                                             static_cast<unsigned>(*columns));
  }));
  return call.send_empty(200);
}

Status remove(Call& call) {
  if (call.flag("link")) return unsupported("removing links between containers is not supported");
  return call.answer_empty(
      run_job<ContainerRemove>(call, {call.name("id"), call.flag("force"), call.flag("v")}));
}

Status prune(Call& call) {
  Filters filters = TRY(call.filters());
  return call.answer(200, run_job<ContainerPrune>(call, {std::move(filters)}));
}

constexpr Route kRoutes[] = {
    {"GET", "/containers/json", list},
    {"POST", "/containers/create", create},
    {"POST", "/containers/prune", prune},
    {"GET", "/containers/{id}/json", inspect},
    {"GET", "/containers/{id}/top", top},
    {"GET", "/containers/{id}/changes", changes},
    {"GET", "/containers/{id}/logs", container_logs},
    {"GET", "/containers/{id}/stats", container_stats},
    {"POST", "/containers/{id}/attach", container_attach},
    {"GET", "/containers/{id}/attach/ws", container_attach_websocket},
    {"POST", "/containers/{id}/wait", container_wait},
    {"POST", "/containers/{id}/start", start},
    {"POST", "/containers/{id}/stop", stop},
    {"POST", "/containers/{id}/restart", restart},
    {"POST", "/containers/{id}/kill", kill},
    {"POST", "/containers/{id}/pause", pause},
    {"POST", "/containers/{id}/unpause", unpause},
    {"POST", "/containers/{id}/rename", rename},
    {"POST", "/containers/{id}/update", update},
    {"POST", "/containers/{id}/resize", resize},
    {"DELETE", "/containers/{id}", remove},
    {"POST", "/commit", commit},
};

}  // namespace

std::span<const Route> container_routes() { return kRoutes; }

}  // namespace gantry::server

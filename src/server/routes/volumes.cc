// /volumes/….
#include "daemon/volumes.h"

#include "server/routes.h"
#include "server/run_job.h"

namespace gantry::server {
namespace {

using namespace daemon;

Status list(Call& call) { return call.send(200, TRY(call.daemon().volumes().list(TRY(call.filters())))); }

Status create(Call& call) {
  auto input = TRY(call.body_as<VolumeCreate::Input>());
  return call.send(201, TRY(run_job<VolumeCreate>(call, std::move(input))).volume);
}

Status inspect(Call& call) {
  return call.send(200, TRY(call.daemon().volumes().inspect(call.name("name"))));
}

Status remove(Call& call) {
  TRY(run_job<VolumeRemove>(call, {call.name("name"), call.flag("force")}));
  return call.send_empty(204);
}

Status prune(Call& call) {
  return call.send(200, json::encode(TRY(run_job<VolumePrune>(call, {TRY(call.filters())}))));
}

constexpr Route kRoutes[] = {
    {"GET", "/volumes", list},
    {"POST", "/volumes/create", create},
    {"POST", "/volumes/prune", prune},
    {"GET", "/volumes/{name}", inspect},
    {"DELETE", "/volumes/{name}", remove},
};

}  // namespace

std::span<const Route> volume_routes() { return kRoutes; }

}  // namespace gantry::server

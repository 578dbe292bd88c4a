// /volumes/….
#include "daemon/volumes.h"

#include "server/routes.h"
#include "server/run_job.h"

namespace gantry::server {
namespace {

using namespace daemon;

Status list(Call& call) {
  Filters filters = TRY(call.filters());
  return call.answer(200, call.daemon().volumes().list(filters));
}

Status create(Call& call) {
  auto input = TRY(call.body_as<VolumeCreate::Input>());
  auto output = TRY(run_job<VolumeCreate>(call, std::move(input)));
  return call.send(201, output.volume);
}

Status inspect(Call& call) {
  return call.answer(200, call.daemon().volumes().inspect(call.name("name")));
}

Status remove(Call& call) {
  return call.answer_empty(run_job<VolumeRemove>(call, {call.name("name"), call.flag("force")}));
}

Status prune(Call& call) {
  Filters filters = TRY(call.filters());
  return call.answer(200, run_job<VolumePrune>(call, {std::move(filters)}));
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

// /volumes/…, and snapshots of them.
#include "daemon/volumes.h"

#include "server/routes.h"
#include "server/run_job.h"

namespace gantry::server {
namespace {

using namespace daemon;

constexpr ApiVersion kAnonymousOnlySince{1, 42};  // prune

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
  if (call.version < kAnonymousOnlySince) filters["all"] = {"true"};
  return call.answer(200, run_job<VolumePrune>(call, {std::move(filters)}));
}

// Gantry's own: {"Name": …} of the new volume, or {"Snapshot": …} to go back to.
Status copy(Call& call, bool snapshot) {
  auto input = TRY(call.body_as<VolumeCopy::Input>());
  input.source = call.name("name");
  input.snapshot = snapshot;
  auto output = TRY(run_job<VolumeCopy>(call, std::move(input)));
  return call.send(201, output.volume);
}
Status take_snapshot(Call& call) { return copy(call, true); }
Status clone(Call& call) { return copy(call, false); }

Status rewind(Call& call) {
  auto input = TRY(call.body_as<VolumeRewind::Input>());
  input.name = call.name("name");
  if (input.Snapshot.empty()) return invalid("Snapshot is missing: what is to be restored?");
  return call.answer_empty(run_job<VolumeRewind>(call, std::move(input)));
}

constexpr Route kRoutes[] = {
    {"GET", "/volumes", list},
    {"POST", "/volumes/create", create},
    {"POST", "/volumes/prune", prune},
    {"GET", "/volumes/{name}", inspect},
    {"DELETE", "/volumes/{name}", remove},
    {"POST", "/gantry/volumes/{name}/snapshot", take_snapshot},
    {"POST", "/gantry/volumes/{name}/clone", clone},
    {"POST", "/gantry/volumes/{name}/restore", rewind},
};

}  // namespace

std::span<const Route> volume_routes() { return kRoutes; }

}  // namespace gantry::server

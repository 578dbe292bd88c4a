// /networks/….
#include "daemon/networks.h"

#include "server/routes.h"
#include "server/run_job.h"

namespace gantry::server {
namespace {

using namespace daemon;

Status list(Call& call) {
  Filters filters = TRY(call.filters());
  return call.answer(200, call.daemon().networks().list(filters));
}

Status inspect(Call& call) {
  return call.answer(200, call.daemon().networks().inspect(call.name("id"), call.flag("verbose")));
}

Status create(Call& call) {
  auto input = TRY(call.body_as<NetworkCreate::Input>());
  return call.answer(201, run_job<NetworkCreate>(call, std::move(input)));
}

Status remove(Call& call) {
  return call.answer_empty(run_job<NetworkRemove>(call, {call.name("id")}));
}

Status prune(Call& call) {
  Filters filters = TRY(call.filters());
  return call.answer(200, run_job<NetworkPrune>(call, {std::move(filters)}));
}

Status connect(Call& call) {
  auto input = TRY(call.body_as<NetworkConnect::Input>());
  input.network = call.name("id");
  return call.answer_empty(run_job<NetworkConnect>(call, std::move(input)), 200);
}

Status disconnect(Call& call) {
  auto input = TRY(call.body_as<NetworkDisconnect::Input>());
  input.network = call.name("id");
  return call.answer_empty(run_job<NetworkDisconnect>(call, std::move(input)), 200);
}

constexpr Route kRoutes[] = {
    {"GET", "/networks", list},
    {"POST", "/networks/create", create},
    {"POST", "/networks/prune", prune},
    {"GET", "/networks/{id}", inspect},
    {"DELETE", "/networks/{id}", remove},
    {"POST", "/networks/{id}/connect", connect},
    {"POST", "/networks/{id}/disconnect", disconnect},
};

}  // namespace

std::span<const Route> network_routes() { return kRoutes; }

}  // namespace gantry::server

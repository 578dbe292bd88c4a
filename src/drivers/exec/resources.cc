#include "drivers/exec/resources.h"

#include <poll.h>
#include <signal.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sys.h"
#include "libcontainer/container.h"
#include "runtime/shim/layout.h"

namespace gantry::drivers {
namespace {

using engine::Presence;
using engine::Resource;

// How long a killed shim may take to die.
constexpr int kDeathMs = 5000;

struct ShimData {
  std::string directory;
};

}  // namespace
}  // namespace gantry::drivers

template <>
struct gantry::json::Schema<gantry::drivers::ShimData> {
  static constexpr Field fields[] = {
      field<&gantry::drivers::ShimData::directory>("directory", kRequired)};
};

namespace gantry::drivers {
namespace {

Result<Presence> probe_directory(const Resource& resource) {
  return fs::exists(resource.name) ? Presence::present : Presence::absent;
}

Status release_directory(const Resource& resource) {
  bool locked = TRY(shim::is_locked(resource.name));
  if (locked) return conflict("{}: a living shim holds it", resource.name);
  return fs::remove_tree(resource.name);
}

Result<Presence> probe_cgroup(const Resource& resource) {
  return libcontainer::cgroup_exists(resource.name) ? Presence::present : Presence::absent;
}

Status release_cgroup(const Resource& resource) {
  return libcontainer::remove_cgroup(resource.name);
}

Result<Presence> probe_shim(const Resource& resource) {
  ShimData data = TRY(json::parse<ShimData>(resource.data));
  bool locked = TRY(shim::is_locked(data.directory));
  return locked ? Presence::present : Presence::absent;
}

// By pidfd, and only if it is the process that wrote state.json: a pid alone may be somebody else's
// by now.
Status release_shim(const Resource& resource) {
  ShimData data = TRY(json::parse<ShimData>(resource.data));
  bool locked = TRY(shim::is_locked(data.directory));
  if (!locked) return {};
  Result<shim::State> state = shim::read_state(data.directory);
  // Not that far yet: it finds its daemon gone and undoes itself.
  if (!state && state.error().kind() == ErrorKind::not_found)
    return conflict("shim {}: is still making its container", resource.name);
  if (!state) return std::move(state).error();
  std::string boot = TRY(boot_id());
  if (state->boot_id != boot) return {};
  Result<UniqueFd> process = sys::pidfd_open(state->shim_pid);
  if (!process) return {};
  Result<uint64_t> started = process_start_time(state->shim_pid);
  if (!started || *started != state->shim_start_time) return {};
  TRY(sys::pidfd_send_signal(process->get(), SIGKILL));
  bool dead = TRY(sys::poll_one(process->get(), POLLIN, kDeathMs));
  if (!dead) return make_error(ErrorKind::unavailable, "shim {}: does not die", resource.name);
  return {};
}

}  // namespace

Status register_exec_resources(engine::Resources& resources) {
  // Deferred, because how the container ended stands in it until the daemon's record is on disk.
  TRY(resources.add({.name = "rundir",
                     .probe = probe_directory,
                     .release = release_directory,
                     .mode = engine::Release::deferred}));
  TRY(resources.add({.name = "cgroup",
                     .probe = probe_cgroup,
                     .release = release_cgroup,
                     .mode = engine::Release::deferred}));
  TRY(resources.add({.name = "shim", .probe = probe_shim, .release = release_shim}));
  return {};
}

std::vector<Resource> launch_resources(const Launch& launch, const std::string& owner) {
  std::vector<Resource> rows;
  rows.push_back({.kind = "rundir", .name = launch.directory, .owner = owner, .data = "{}"});
  if (launch.spec.linux_section && !launch.spec.linux_section->cgroups_path.empty())
    rows.push_back({.kind = "cgroup",
                    .name = launch.spec.linux_section->cgroups_path,
                    .owner = owner,
                    .data = "{}"});
  rows.push_back({.kind = "shim",
                  .name = launch.id,
                  .owner = owner,
                  .data = json::dump(ShimData{launch.directory})});
  return rows;
}

}  // namespace gantry::drivers

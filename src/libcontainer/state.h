// What is remembered of a container on disk (state.json in its state directory), so that another
// process can find, enter, stop and remove it. Written before anything is taken and again when init
// exists: a half-made container can always be deleted.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "libcontainer/intel_rdt.h"
#include "libcontainer/spec.h"

namespace gantry::libcontainer {

struct State {
  std::string oci_version;
  std::string id;
  std::string bundle;
  std::string rootfs;           // absolute path of the root file system on the host
  pid_t pid = 0;                // 0: not cloned yet
  uint64_t pid_start_time = 0;  // with the pid, the identity of init (proc(5), field 22)
  int64_t created = 0;          // ns since the epoch
  uint32_t owner = 0;           // uid of who made it
  std::string cgroups_path;     // as taken: absolute below the root of each hierarchy
  // Mount points of the hierarchies where that group was there before: it is not ours to remove.
  std::vector<std::string> cgroups_found;
  bool systemd_cgroup = false;
  bool new_keyring = true;
  RdtGroup rdt;
  std::vector<std::string> namespaces;  // types that differ from the runtime's: what exec joins
  std::map<std::string, std::string> annotations;
};

// state.json. Not for concurrent writers: who changes it holds the container (its creator,
// `update`).
Status write_state(int directory, const State& state);
Result<State> read_state(int directory);

// Is init of `state` still that process?
bool init_alive(const State& state);

}  // namespace gantry::libcontainer

template <>
struct gantry::json::Schema<gantry::libcontainer::RdtGroup> {
  using G = gantry::libcontainer::RdtGroup;
  static constexpr Field fields[] = {field<&G::directory>("directory", kOmitEmpty),
                                     field<&G::ours>("ours", kOmitEmpty),
                                     field<&G::monitoring>("monitoring", kOmitEmpty)};
};

template <>
struct gantry::json::Schema<gantry::libcontainer::State> {
  using S = gantry::libcontainer::State;
  static constexpr Field fields[] = {field<&S::oci_version>("ociVersion", kRequired),
                                     field<&S::id>("id", kRequired),
                                     field<&S::bundle>("bundle"),
                                     field<&S::rootfs>("rootfs"),
                                     field<&S::pid>("pid"),
                                     field<&S::pid_start_time>("pidStartTime"),
                                     field<&S::created>("created"),
                                     field<&S::owner>("owner"),
                                     field<&S::cgroups_path>("cgroupsPath"),
                                     field<&S::cgroups_found>("cgroupsFound", kOmitEmpty),
                                     field<&S::systemd_cgroup>("systemdCgroup"),
                                     field<&S::new_keyring>("newKeyring"),
                                     field<&S::rdt>("intelRdt", kOmitEmpty),
                                     field<&S::namespaces>("namespaces"),
                                     field<&S::annotations>("annotations", kOmitEmpty)};
};

// What a shim keeps in its container's runtime directory (mode 0700, one per container):
//
//   lock         locked by the shim (fcntl(2), F_OFD_SETLK) for as long as it lives with a
//   container that
//                has not been recorded as ended; nobody touches the directory of a locked one
//   shim.sock    where a daemon connects; there from the container's creation to its end
//   state.json   State: written when the container is at its gate and again when it runs
//   exit.json    ExitStatus: written once, before anybody is told of the end
//   container/   libcontainer's state directory
//
// The directory and the container's cgroup are of one run: a shim that has recorded the end still
// hands the last output to slow clients, but touches neither any more.
//
// Files are replaced whole (rename). Lock free and exit.json there: the container has ended. Lock
// free and no exit.json: the shim was killed (or this is another boot), and whoever finds it so
// cleans up after it.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/shim/protocol.h"

namespace gantry::shim {

inline constexpr const char* kLockFile = "lock";
inline constexpr const char* kSocketFile = "shim.sock";
inline constexpr const char* kStateFile = "state.json";
inline constexpr const char* kExitFile = "exit.json";
inline constexpr const char* kContainerDirectory = "container";

// Contents of state.json. The three process identities are valid in the boot that is named.
struct State {
  uint32_t version = kProtocolVersion;
  std::string id;
  std::string boot_id;
  int32_t shim_pid = 0;
  uint64_t shim_start_time = 0;  // base/clock.h process_start_time()
  int32_t pid = 0;               // the container's first process
  uint64_t start_time = 0;
  std::string cgroup;
  bool terminal = false;
  LogConfig log;
  int64_t created_at = 0;
  int64_t started_at = 0;  // 0: still at its gate
};

// The lock, taken without waiting; `conflict` when a living shim holds it.
Result<UniqueFd> take_lock(const std::string& directory);
// Whether a living shim holds the lock; does not disturb one that is about to take it. A directory
// or lock file that is not there is not locked.
Result<bool> is_locked(const std::string& directory);

Result<State> read_state(const std::string& directory);
Status write_state(const std::string& directory, const State& state);
// Nothing when the container has not been recorded as ended.
Result<std::optional<ExitStatus>> read_exit(const std::string& directory);
Status write_exit(const std::string& directory, const ExitStatus& status);

// The exit status that wait(2) gave, in Docker's terms.
ExitStatus exit_status_of(int wait_status);

}  // namespace gantry::shim

namespace gantry::json {

template <>
struct Schema<shim::State> {
  using T = shim::State;
  static constexpr Field fields[] = {field<&T::version>("version", kRequired),
                                     field<&T::id>("id", kRequired),
                                     field<&T::boot_id>("bootId"),
                                     field<&T::shim_pid>("shimPid"),
                                     field<&T::shim_start_time>("shimStartTime"),
                                     field<&T::pid>("pid"),
                                     field<&T::start_time>("startTime"),
                                     field<&T::cgroup>("cgroup"),
                                     field<&T::terminal>("terminal"),
                                     field<&T::log>("log"),
                                     field<&T::created_at>("createdAt"),
                                     field<&T::started_at>("startedAt", kOmitEmpty)};
};

}  // namespace gantry::json

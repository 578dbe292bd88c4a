// What a program that stands in as a container's pid 1 (CreateOptions::init_program) begins with:
// the user, capabilities and filter of the container, its environment and its streams, and
//
//   argv        kInitName, "--", and the container's own process.args
//   kInitSync   a SyncSocket on which it says why process.args could not be executed; its end, once
//   the
//               program was executed and init has closed its own copy, means success
#pragma once

namespace gantry::libcontainer {

inline constexpr const char* kInitName = "/sbin/docker-init";  // what `ps` shows, as under Docker
inline constexpr int kInitSync = 3;

}  // namespace gantry::libcontainer

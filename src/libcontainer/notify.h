// Hands a seccomp notify descriptor to who listens at linux.seccomp.listenerPath, with the
// specification's "container process state" in front of it.
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "libcontainer/spec.h"
#include "libcontainer/state.h"

namespace gantry::libcontainer {

// `pid` is the process that the filter was loaded for; `descriptor` is borrowed.
Status hand_over_notify(const Spec& spec, const State& state, pid_t pid, int descriptor);

}  // namespace gantry::libcontainer

// Hooks (config.md, "POSIX-platform Hooks"): programs run at points of the life cycle with the
// container's state as JSON on their standard input.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "libcontainer/spec.h"
#include "libcontainer/state.h"

namespace gantry::libcontainer {

// The state as the specification and `gantry-runtime state` show it.
json::object state_document(const State& state, std::string_view status);

// Runs them in order; the first failure (exit status not 0, no such program, timeout) ends it:
// "hooks.prestart[1] /bin/x: exit status 3".
Status run_hooks(const std::vector<Hook>& hooks, std::string_view kind, const State& state,
                 std::string_view status);

// For poststop: every hook runs, whatever the ones before it did; failures are
// logged.
void log_hooks(const std::vector<Hook>& hooks, std::string_view kind, const State& state,
               std::string_view status);

}  // namespace gantry::libcontainer

// Keeps containers from writing this program through /proc/PID/exe (CVE-2019-5736): it runs from a
// sealed memfd (how the daemon starts shims) or from a read-only mount of its own file that no
// container can reach (which early.h sees to, as a rule).
#pragma once

#include "base/result.h"

namespace gantry::runtime {

// Is the running image out of a container's reach already?
Result<bool> is_protected();
// Unless it is: executes this program again, out of reach; returns only on failure. To be called
// before anything is opened, by every verb that enters a container.
Status ensure_protected(char** argv);

}  // namespace gantry::runtime

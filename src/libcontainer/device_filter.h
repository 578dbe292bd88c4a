// What linux.resources.devices becomes on cgroup v2: an eBPF program of type CGROUP_DEVICE, in our
// own encoding, that the kernel asks about every open and mknod of a device.
#pragma once

#include <linux/bpf.h>

#include <vector>

#include "base/result.h"
#include "libcontainer/spec.h"

namespace gantry::libcontainer {

// Pure. As on v1, the last rule that speaks of a kind of access to a device decides about it; a
// request for several kinds is granted when each of them is; what no rule speaks of is denied. A
// rule of type "a" is about everything, whatever numbers it has. Errors name the rule's field.
Result<std::vector<bpf_insn>> compile_device_filter(const std::vector<DeviceCgroup>& rules);

// Loads the program for `rules` and attaches it to the v2 group whose directory is `group`, then
// takes off what was attached to that group before, so that at no time more is allowed than either
// says.
Status attach_device_filter(int group, const std::vector<DeviceCgroup>& rules);

}  // namespace gantry::libcontainer

// What a container gets unless told otherwise: Docker's defaults, as functions that fill in a Spec.
// Pure: no kernel state is touched, nothing but base is needed, any thread may call.
#pragma once

#include <string>
#include <vector>

#include "libcontainer/spec.h"

namespace gantry::libcontainer {

// "CAP_CHOWN", … : Docker's fourteen.
std::vector<std::string> default_capabilities();
// Every capability this build knows, in kernel order ("CAP_CHOWN" is 0).
std::vector<std::string> all_capabilities();
// True for a name all_capabilities() has.
bool is_capability(const std::string& name);

// Docker's default seccomp profile, resolved for a set of capabilities, the architecture of this
// build and a kernel ("6.18.0"; "" is the running one). AF_ALG and AF_VSOCK sockets are refused.
Seccomp default_seccomp(const std::vector<std::string>& capabilities,
                        const std::string& kernel = "");
// The same resolution for a profile in Docker's format (archMap, includes, excludes); what
// `--security-opt seccomp=FILE` names.
Result<Seccomp> resolve_seccomp_profile(std::string_view json,
                                        const std::vector<std::string>& capabilities,
                                        const std::string& kernel = "");

std::vector<std::string> default_masked_paths();
std::vector<std::string> default_readonly_paths();
// /proc, /dev, /dev/pts, /sys, /sys/fs/cgroup, /dev/mqueue and /dev/shm as Docker mounts them.
std::vector<Mount> default_mounts(int64_t shm_bytes = 64 << 20);
// Deny all, then the default device set: what linux.resources.devices of an ordinary container
// holds.
std::vector<DeviceCgroup> default_device_rules();
// pid, mount, ipc, uts, network and cgroup, all new.
std::vector<Namespace> default_namespaces();

// The spec of an ordinary container with all of the above; the caller fills in process.args, root,
// hostname, cgroups_path and what the user asked for.
Spec default_spec();
// For the user and group with these ids, who have nothing but them: a user namespace in which they
// are root, the host's network, no limits.
Spec rootless_spec(uint32_t uid, uint32_t gid);

}  // namespace gantry::libcontainer

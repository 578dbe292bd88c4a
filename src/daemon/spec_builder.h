// From a container's record to the OCI specification that its shim carries out.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemon/container_record.h"
#include "libcontainer/spec.h"
#include "libcontainer/user.h"

namespace gantry::daemon {

// What is not in the record: paths of the engine and namespaces of other containers.
struct SpecInputs {
  std::string container_directory;  // holds hosts, hostname, resolv.conf
  std::string cgroups_path;
  std::string network_namespace;  // "": a new one; "host"; or a path
  std::string pid_namespace;      // the same
  std::string ipc_namespace;
  // Mounts that are attached to nothing yet, by where they go: "/proc/PID/fd/N".
  std::map<std::string, std::string> detached;
  bool mount_network_files = true;
};

// Errors name the field (`invalid`), or say what this engine or kernel cannot do (`unsupported`).
Result<libcontainer::Spec> build_spec(const ContainerRecord& record, const SpecInputs& inputs);
// Who the program runs as; names are looked up in the container.
libcontainer::UserSpec user_of(const ContainerRecord& record);
// A further process with the container's environment and rights (docker exec).
Result<libcontainer::Process> build_exec_process(const ContainerRecord& record,
                                                 const api::Strings& command,
                                                 const api::Strings& environment, bool terminal,
                                                 bool privileged,
                                                 const std::string& working_directory);

// The AppArmor profile of a container with these options: that of its --security-opt, "unconfined"
// when it is privileged, else the default; "" where the kernel has no AppArmor.
Result<std::string> build_apparmor_profile(const api::HostConfig& host_config);
// HostConfig's limits in OCI terms.
Result<libcontainer::Resources> build_resources(const api::HostConfig& host_config);
// CapAdd and CapDrop applied to the default set; "CAP_" may be missing, "ALL" is everything.
Result<std::vector<std::string>> build_capabilities(const api::HostConfig& host_config);

}  // namespace gantry::daemon

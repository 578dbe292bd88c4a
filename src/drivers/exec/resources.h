// What a run of a container takes from the system, as resources of the engine.
//
//   rundir  the runtime directory     name: its path          release: the tree, once no shim holds
//   it cgroup  the container's group     name: linux.cgroupsPath release: its processes and
//   directories shim    the process beside it     name: the container's id release: the process,
//   unless the container
//                                     has ended and it only hands over the last output
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "drivers/exec/exec_driver.h"
#include "engine/resource.h"

namespace gantry::drivers {

Status register_exec_resources(engine::Resources& resources);

// The rows of a launch, in the order of taking; to be taken before ExecDriver::create().
std::vector<engine::Resource> launch_resources(const Launch& launch, const std::string& owner);

}  // namespace gantry::drivers

// Intel Resource Director Technology (config-linux.md, "IntelRdt";
// Documentation/arch/x86/resctrl.rst of Linux): shares of cache and memory bandwidth as classes,
// which are directories of a resctrl file system, and monitoring groups in them.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "libcontainer/spec.h"

namespace gantry::libcontainer {

// Where resctrl is mounted; "" where it is not (no such processor, or nobody has mounted it).
std::string find_resctrl();

struct RdtGroup {
  std::string directory;   // of the class; "" for none
  bool ours = false;       // made by us: goes with the container
  std::string monitoring;  // directory of the monitoring group; "" for none
};

// What a container of this id is going to have: to be written down before make_rdt(). `resctrl` is
// a result of find_resctrl(); "" is `unsupported`.
Result<RdtGroup> plan_rdt(const IntelRdt& config, const std::string& id,
                          const std::string& resctrl);
// Makes it: the class with its schemata, or a comparison with those of the one that closID names.
Status make_rdt(const RdtGroup& group, const IntelRdt& config);
// Where a process writes "0" to enter, and whatever it clones with it.
Result<std::vector<UniqueFd>> rdt_entries(const RdtGroup& group);
// Removes what is the container's own of it. What is gone already is success.
Status release_rdt(const RdtGroup& group);

}  // namespace gantry::libcontainer

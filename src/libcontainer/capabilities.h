// Capability sets of a process: names to masks, and applying all five (capabilities(7)).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "libcontainer/spec.h"

namespace gantry::libcontainer {

// Bit n is capability n.
struct CapabilitySets {
  uint64_t bounding = 0;
  uint64_t effective = 0;
  uint64_t inheritable = 0;
  uint64_t permitted = 0;
  uint64_t ambient = 0;
};

// The number of "CAP_NAME", or -1.
int capability_number(std::string_view name);
// The mask of all capabilities that this kernel has and this process could give: what "all" means.
uint64_t known_capabilities();

// Names this kernel or this build does not know, or that this process cannot grant, are logged and
// left out (config.md, "capabilities"). Ambient is cut down to permitted and inheritable, as the
// kernel demands.
CapabilitySets capability_sets(const Capabilities& capabilities);

// In two steps around the change of user: first the bounding set and "keep capabilities", then, as
// the new user, the other four.
Status drop_bounding_set(const CapabilitySets& sets);
Status apply_capabilities(const CapabilitySets& sets);

}  // namespace gantry::libcontainer

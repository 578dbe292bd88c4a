// Sources of bind mounts that init cannot take itself: in a user namespace it may not reach what
// only the host's root can, and nobody in there may give a mount other ids (mount_setattr(2),
// MOUNT_ATTR_IDMAP).
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "libcontainer/namespaces.h"
#include "libcontainer/spec.h"

namespace gantry::libcontainer {

// One descriptor for each of spec.mounts: a detached tree with its ids mapped, or invalid where
// init opens the source itself. A container that joins a mount namespace finds its sources in
// there, id maps are `invalid` then. Errors name the mount.
Result<std::vector<UniqueFd>> open_bind_sources(const Spec& spec, const std::string& bundle,
                                                const NamespacePlan& namespaces);

}  // namespace gantry::libcontainer

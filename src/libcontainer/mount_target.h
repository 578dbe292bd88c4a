// What a mount goes onto.
#pragma once

#include <string>

#include "base/fs.h"
#include "base/result.h"

namespace gantry::libcontainer {

// Opens (O_PATH) what `destination` names inside `root`, and makes it first, with its parents, when
// it is not there. `invalid` when it is the root itself or of the other kind.
Result<UniqueFd> mount_target(const Beneath& root, const std::string& destination, bool directory);

}  // namespace gantry::libcontainer

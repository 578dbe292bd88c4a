// Names for containers that were created without one.
#pragma once

#include <string>
#include <string_view>

namespace gantry::daemon {

// "adjective_surname", drawn at random. `attempt` > 0 appends a random digit group, so that a
// caller who finds a name taken gets to a free one in a few attempts.
std::string random_name(int attempt);

// [a-zA-Z0-9][a-zA-Z0-9_.-]+, as Docker allows for containers and volumes.
bool is_valid_name(std::string_view name);

}  // namespace gantry::daemon

#pragma once

#include <span>

#include "client/cli/command.h"

namespace gantry::client {

std::span<const Command> cp_commands();

}  // namespace gantry::client

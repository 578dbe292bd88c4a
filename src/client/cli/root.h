// The whole program but for main().
#pragma once

#include <span>
#include <string>

namespace gantry::client {

// Parses the global flags, runs the command, gives the exit status.
int run_client(std::span<const std::string> words);

}  // namespace gantry::client

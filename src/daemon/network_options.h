// The daemon's options of networks, as they are written on a command line. Kind invalid for what is
// none.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace gantry::daemon {

// "base=10.0.0.0/8,size=24": subnets of 24 bits out of 10.0.0.0/8.
Result<std::pair<std::string, unsigned>> parse_address_pool(std::string_view text);
Status check_address(std::string_view text);
Status check_subnet(std::string_view text);

}  // namespace gantry::daemon

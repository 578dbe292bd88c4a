// Docker's contexts on disk: DIRECTORY/contexts/meta/SHA256(name)/meta.json.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry::client {

// The host of a context's "docker" endpoint. Errors: not_found with Docker's wording.
Result<std::string> context_host(const std::string& config_directory, std::string_view name);

}  // namespace gantry::client

// The texts of version, info and system df -v. Pure functions of the daemon's answers.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"

namespace gantry::client {

// `server` is null when there is none.
std::string version_text(const json::object& client, const json::value& server);
std::string info_text(const json::object& client, const json::value& server);
Result<std::string> df_details(const json::value& df);

}  // namespace gantry::client

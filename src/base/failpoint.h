// Named points at which a test can make the program fail, wait or die.
//
//   TRY(failpoint("layer.rename"));
//
// Without GANTRY_FAILPOINTS the call is empty and compiles away. With it, the environment variable
// GANTRY_FAILPOINTS ("layer.rename=error(28);db.commit=kill;x=delay(100)", each optionally "@N" for
// the N-th pass) decides at run time; names that were passed are listed by failpoints_seen().
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gantry {

#ifdef GANTRY_FAILPOINTS
Status failpoint(std::string_view name);
std::vector<std::string> failpoints_seen();
#else
inline Status failpoint(std::string_view) { return {}; }
inline std::vector<std::string> failpoints_seen() { return {}; }
#endif

}  // namespace gantry

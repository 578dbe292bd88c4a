#include "libcontainer/spec.h"

namespace gantry::libcontainer {

Result<Spec> parse_spec(std::string_view text) { return json::parse<Spec>(text); }

}  // namespace gantry::libcontainer

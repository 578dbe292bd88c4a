// JSON as text: spacing is changed, numbers and strings stay byte for byte as the daemon wrote
// them.
#pragma once

#include <string>
#include <string_view>

namespace gantry::client {

// As Go's json.Indent with no prefix. What is not JSON is passed on as it is.
std::string indent_json(std::string_view text, std::string_view indent);
// Without blanks between the tokens.
std::string compact_json(std::string_view text);

}  // namespace gantry::client

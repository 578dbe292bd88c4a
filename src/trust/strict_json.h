// JSON for documents that decide about trust: a key twice in one object is an error, and every
// value knows the line it stands on, so that whoever looks a value up can say where. Values, no
// I/O.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace gantry::trust {

struct StrictJson {
  enum class Kind { null, boolean, number, string, array, object };
  Kind kind = Kind::null;
  int line = 1;
  std::string text;  // of a string, decoded; of a number or a boolean, as it stands
  std::vector<StrictJson> items;
  std::vector<std::pair<std::string, StrictJson>> members;

  // Depth is bounded at 16, size by the caller. Errors: invalid, "line 3: …".
  static Result<StrictJson> parse(std::string_view text);

  bool is_string() const { return kind == Kind::string; }
  bool is_array() const { return kind == Kind::array; }
  bool is_object() const { return kind == Kind::object; }
  const StrictJson* find(std::string_view key) const;
  std::string_view kind_name() const;  // "an object"
};

}  // namespace gantry::trust

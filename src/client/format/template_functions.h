// The functions that a template may call. Private to the template engine.
#pragma once

#include <span>

#include "base/result.h"
#include "client/format/template_value.h"

namespace gantry::client::tmpl {

struct Function {
  std::string_view name;
  size_t least;
  size_t most;
  Result<Value> (*call)(std::span<const Value> arguments);
  bool identity_on_headings;  // over headings of a table: gives its first argument back
};

// nullptr for an unknown name. `and` and `or` are evaluated by the caller, since they stop early.
const Function* find_function(std::string_view name);

}  // namespace gantry::client::tmpl

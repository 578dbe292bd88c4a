// The parts of a parsed template. Private to the template engine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "client/format/template.h"

namespace gantry::client::tmpl {

struct Pipeline;

// One operand: a literal, ".", a variable, a function's name, or a pipeline in brackets; then
// fields.
struct Operand {
  enum class Kind { literal, dot, variable, function, pipeline };
  Kind kind = Kind::literal;
  json::value literal;
  std::string name;  // of the variable or function
  std::unique_ptr<Pipeline> pipeline;
  std::vector<std::string> fields;
  size_t column = 0;   // for errors
  std::string source;  // as written, for errors
};

struct Command {
  std::vector<Operand> operands;
};

struct Pipeline {
  std::vector<std::string> variables;  // set by it; two in a range
  bool declares = false;               // := rather than =
  std::vector<Command> commands;
};

struct Node {
  enum class Kind { text, action, list, if_, with, range, break_, continue_ };
  Kind kind = Kind::list;
  std::string text;
  std::unique_ptr<Pipeline> pipeline;
  std::vector<std::unique_ptr<Node>> body;
  std::vector<std::unique_ptr<Node>> otherwise;
};

// Knows which names are functions: an unknown one is a parse error in Go.
bool is_function(std::string_view name);

Result<std::unique_ptr<Node>> parse(std::string_view text);

}  // namespace gantry::client::tmpl

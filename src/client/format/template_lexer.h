// Cuts a template into text and the tokens of its actions. Private to the template engine.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gantry::client::tmpl {

struct Token {
  enum class Kind {
    text,  // outside of actions
    left,
    right,  // {{ and }}
    field,  // .Name
    dot,
    variable,  // $name or $
    word,      // a function or a keyword
    string,    // its value, unescaped
    number,
    character,
    pipe,
    comma,
    declare,
    assign,
    open,
    close,
    space,  // separates operands: ".A .B" is two, ".A.B" one
    end,
  };
  Kind kind = Kind::end;
  std::string value;
  size_t column = 0;  // bytes from the start of the template
  int line = 1;
};

Result<std::vector<Token>> tokenize(std::string_view text);

}  // namespace gantry::client::tmpl

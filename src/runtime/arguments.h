// Command lines in runc's grammar: options of the program, a verb, options of the verb, arguments.
// An option is written --name, -name, --name=value or --name value, and may be repeated.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gantry::runtime {

enum class FlagKind { boolean, text };
struct Flag {
  std::string_view name;
  std::string_view letter;  // "" or one character
  FlagKind kind;
  std::string_view help;
};

// Where parsing stops.
enum class Until { first_argument, end };

struct Arguments {
  std::map<std::string, std::vector<std::string>, std::less<>> flags;
  std::vector<std::string> rest;

  bool has(std::string_view name) const;  // given, and not as =false
  std::string get(std::string_view name, std::string_view fallback = "") const;  // the last one
  std::vector<std::string> all(std::string_view name) const;
};

Result<Arguments> parse_arguments(std::span<char* const> words, std::span<const Flag> known,
                                  Until until);
// `path` from the root on: a relative one begins at the working directory. "" stays as it is.
std::string absolute_path(const std::string& path);
// A whole number of an option; `invalid` names it.
Result<int64_t> parse_number(std::string_view text, std::string_view what);

}  // namespace gantry::runtime

// The keys that a person types to leave a container without stopping it ("ctrl-p,ctrl-q").
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry::shim {

// The bytes that "a", "ctrl-p", "ctrl-@", "ctrl-[" … separated by commas stand for; "" for "". The
// error is Docker's for a word it does not know.
Result<std::string> parse_detach_keys(std::string_view text);

// Looks for the keys in what a client types, however it is cut. Not thread-safe.
class DetachMatcher {
 public:
  // `keys` as parse_detach_keys() gives them; without any nothing ever matches.
  explicit DetachMatcher(std::string keys = {}) : keys_(std::move(keys)) {}

  struct Result {
    std::string input;  // goes to the program: a started sequence that did not go on is given back
    bool detached = false;  // what follows the keys is dropped
  };
  Result feed(std::string_view typed);

 private:
  std::string keys_;
  size_t matched_ = 0;
};

}  // namespace gantry::shim

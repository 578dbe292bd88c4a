#include "runtime/shim/detach_keys.h"

namespace gantry::shim {

Result<std::string> parse_detach_keys(std::string_view text) {
  std::string keys;
  while (!text.empty()) {
    size_t comma = text.find(',');
    std::string_view word = text.substr(0, comma);
    if (word.size() == 1) {
      keys += word[0];
    } else if (word.size() == 6 && word.starts_with("ctrl-")) {
      char c = word[5];
      if (c >= 'a' && c <= 'z')
        keys += static_cast<char>(c - 'a' + 1);
      else if (c == '@')
        keys += '\0';
      else if (c >= '[' && c <= '_')
        keys += static_cast<char>(c - '[' + 27);
      else
        return invalid("Unknown character: '{}'", word);
    } else {
      return invalid("Unknown character: '{}'", word);
    }
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return keys;
}

DetachMatcher::Result DetachMatcher::feed(std::string_view typed) {
  Result result;
  if (keys_.empty()) {
    result.input = typed;
    return result;
  }
  for (char c : typed) {
    if (c != keys_[matched_]) {
      // The keys so far were meant for the program; this one may begin the sequence anew.
      result.input.append(keys_, 0, std::exchange(matched_, 0));
    }
    if (c == keys_[matched_]) {
      if (++matched_ == keys_.size()) {
        matched_ = 0;
        result.detached = true;
        return result;
      }
      continue;
    }
    result.input += c;
  }
  return result;
}

}  // namespace gantry::shim

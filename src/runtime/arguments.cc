#include "runtime/arguments.h"

#include <unistd.h>

#include <charconv>
#include <cstdlib>

namespace gantry::runtime {

bool Arguments::has(std::string_view name) const {
  auto found = flags.find(name);
  return found != flags.end() && found->second.back() != "false";
}

std::string Arguments::get(std::string_view name, std::string_view fallback) const {
  auto found = flags.find(name);
  return found == flags.end() ? std::string(fallback) : found->second.back();
}

std::vector<std::string> Arguments::all(std::string_view name) const {
  auto found = flags.find(name);
  return found == flags.end() ? std::vector<std::string>() : found->second;
}

Result<Arguments> parse_arguments(std::span<char* const> words, std::span<const Flag> known,
                                  Until until) {
  Arguments out;
  for (size_t i = 0; i < words.size(); ++i) {
    std::string_view word = words[i];
    if (word == "--") {
      out.rest.insert(out.rest.end(), words.begin() + static_cast<ptrdiff_t>(i) + 1, words.end());
      return out;
    }
    if (word.size() < 2 || word[0] != '-') {
      if (until == Until::first_argument) {
        out.rest.insert(out.rest.end(), words.begin() + static_cast<ptrdiff_t>(i), words.end());
        return out;
      }
      out.rest.emplace_back(word);
      continue;
    }
    std::string_view name = word.substr(word.starts_with("--") ? 2 : 1);
    size_t equals = name.find('=');
    std::string_view bare = name.substr(0, equals);
    const Flag* flag = nullptr;
    for (const Flag& one : known)
      if (one.name == bare || (!one.letter.empty() && one.letter == bare)) flag = &one;
    if (!flag) return invalid("unknown option {}", word);
    std::string value = "true";
    if (equals != std::string_view::npos)
      value = name.substr(equals + 1);
    else if (flag->kind == FlagKind::text) {
      if (++i == words.size()) return invalid("option {} needs a value", word);
      value = words[i];
    }
    out.flags[std::string(flag->name)].push_back(std::move(value));
  }
  return out;
}

std::string absolute_path(const std::string& path) {
  if (path.empty() || path.starts_with('/')) return path;
  char* here = ::get_current_dir_name();
  std::string out = std::string(here ? here : "") + "/" + path;
  ::free(here);
  return out;
}

Result<int64_t> parse_number(std::string_view text, std::string_view what) {
  int64_t value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || text.empty())
    return invalid("{}: \"{}\" is not a number", what, text);
  return value;
}

}  // namespace gantry::runtime

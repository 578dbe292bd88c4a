#include "client/format/json_text.h"

#include <algorithm>
#include <utility>

namespace gantry::client {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

// The end of the string that begins at `at`, its closing quote included.
size_t string_end(std::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at)
    if (text[at] == '\\') ++at;
  return std::min(at + 1, text.size());
}

}  // namespace

std::string compact_json(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '"') {
      size_t end = string_end(text, at);
      out += text.substr(at, end - at);
      at = end;
    } else {
      if (!is_blank(text[at])) out += text[at];
      ++at;
    }
  }
  return out;
}

std::string indent_json(std::string_view text, std::string_view indent) {
  std::string out;
  size_t depth = 0;
  auto newline = [&] {
    out += '\n';
    for (size_t i = 0; i < depth; ++i) out += indent;
  };
  bool opened = false;  // just behind "{" or "[": an empty one stays on its line
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (is_blank(c)) {
      ++at;
      continue;
    }
    if (opened && c != '}' && c != ']') newline();
    const bool was_opened = std::exchange(opened, false);
    if (c == '"') {
      size_t end = string_end(text, at);
      out += text.substr(at, end - at);
      at = end;
      continue;
    }
    ++at;
    if (c == '{' || c == '[') {
      ++depth;
      opened = true;
      out += c;
    } else if (c == '}' || c == ']') {
      if (depth > 0) --depth;
      if (!was_opened) newline();
      out += c;
    } else if (c == ',') {
      out += c;
      newline();
    } else if (c == ':') {
      out += ": ";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace gantry::client

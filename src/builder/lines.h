// The lines of a Dockerfile: directives, comments, continuation and heredocs. Private to the room.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "builder/dockerfile.h"

namespace gantry::builder {

struct LogicalLine {
  std::string text;  // lines that go on put together
  int line = 0, end_line = 0;
  std::vector<Heredoc> heredocs;
};
struct Lines {
  std::string syntax, check;
  char escape = '\\';
  std::vector<LogicalLine> lines;
};
Result<Lines> split_lines(std::string_view text);

// A heredoc's beginning, if the word is one: <<EOF, <<-EOF, <<"EOF", 3<<EOF.
struct HeredocStart {
  std::string name;
  bool expand = true;
  bool strip_tabs = false;
};
std::optional<HeredocStart> heredoc_start(std::string_view word);

template <typename... Args>
Error parse_error(int line, fmt::format_string<Args...> format, Args&&... args) {
  return Error(ErrorKind::invalid, fmt::format("dockerfile parse error on line {}: {}", line,
                                               fmt::format(format, std::forward<Args>(args)...)));
}

inline bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}
std::string_view trim(std::string_view text);
std::string upper(std::string_view text);
std::string lower(std::string_view text);
// Words divided by blanks, quotes and escapes kept as they are.
std::vector<std::string> raw_words(std::string_view text, char escape);

}  // namespace gantry::builder

#include "builder/lines.h"

#include <algorithm>

namespace gantry::builder {
namespace {

// "# name=value"; name and value, or nothing.
std::optional<std::pair<std::string, std::string>> directive(std::string_view line) {
  line = trim(line);
  if (!line.starts_with('#')) return {};
  line = trim(line.substr(1));
  size_t equals = line.find('=');
  if (equals == line.npos) return {};
  std::string_view name = trim(line.substr(0, equals));
  std::string_view value = trim(line.substr(equals + 1));
  if (name.empty() || value.empty()) return {};
  for (char c : name)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))) return {};
  return std::pair(lower(name), std::string(value));
}

// Whether the line goes on; then the mark is taken off it.
bool take_continuation(std::string_view& line, char escape) {
  std::string_view end = line;
  while (end.ends_with(' ') || end.ends_with('\t')) end.remove_suffix(1);
  if (!end.ends_with(escape)) return false;
  end.remove_suffix(1);
  if (end.ends_with(escape)) return false;
  line = end;
  return true;
}

bool takes_heredocs(std::string_view text) {
  for (int depth = 0; depth < 2; ++depth) {
    text = trim(text);
    std::string name = upper(text.substr(0, std::min(text.find_first_of(" \t"), text.size())));
    if (name == "RUN" || name == "COPY" || name == "ADD") return true;
    if (name != "ONBUILD") return false;
    text.remove_prefix(name.size());
  }
  return false;
}

class Splitter {
 public:
  explicit Splitter(std::string_view text) : text_(text) {}

  Result<Lines> run() {
    if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);
    TRY(directives());
    std::string_view line;
    while (next(line)) {
      std::string_view begin = trim(line);
      if (begin.empty() || begin.starts_with('#')) continue;
      TRY(instruction(line));
    }
    return std::move(out_);
  }

 private:
  bool next(std::string_view& line) {
    if (at_ >= text_.size()) return false;
    size_t end = std::min(text_.find('\n', at_), text_.size());
    line = text_.substr(at_, end - at_);
    if (line.ends_with('\r')) line.remove_suffix(1);
    at_ = end + 1;
    ++number_;
    return true;
  }

  Status directives() {
    bool escape_given = false;
    for (;;) {
      size_t at = at_;
      int number = number_;
      std::string_view line;
      auto found = next(line) ? directive(line) : std::nullopt;
      bool known = found && (found->first == "syntax" || found->first == "escape" ||
                             found->first == "check");
      if (!known) {
        at_ = at, number_ = number;
        return {};
      }
      auto& [name, value] = *found;
      if (name == "escape") {
        if (std::exchange(escape_given, true))
          return parse_error(number_, "only one escape parser directive can be used");
        if (value != "\\" && value != "`")
          return parse_error(number_, "invalid escape token '{}' does not match ` or \\",
                             value.substr(0, 64));
        out_.escape = value[0];
        continue;
      }
      std::string& into = name == "syntax" ? out_.syntax : out_.check;
      if (!into.empty())
        return parse_error(number_, "only one {} parser directive can be used", name);
      into = value;
    }
  }

  Status instruction(std::string_view line) {
    LogicalLine logical;
    logical.line = number_;
    while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
    bool more = take_continuation(line, out_.escape);
    logical.text = line;
    while (more && next(line)) {
      std::string_view begin = trim(line);
      if (begin.empty() || begin.starts_with('#')) continue;
      more = take_continuation(line, out_.escape);
      logical.text += line;
    }
    logical.text = trim(logical.text);
    logical.end_line = number_;
    if (logical.text.find("<<") != std::string::npos && takes_heredocs(logical.text))
      TRY(heredocs(logical));
    logical.end_line = number_;
    if (!logical.text.empty()) out_.lines.push_back(std::move(logical));
    return {};
  }

  Status heredocs(LogicalLine& logical) {
    for (const std::string& word : raw_words(logical.text, out_.escape)) {
      auto start = heredoc_start(word);
      if (!start) continue;
      Heredoc heredoc;
      heredoc.name = start->name;
      heredoc.expand = start->expand;
      bool closed = false;
      std::string_view line;
      while (!closed && next(line)) {
        if (start->strip_tabs)
          while (line.starts_with('\t')) line.remove_prefix(1);
        closed = line == heredoc.name;
        if (!closed) heredoc.content.append(line).append("\n");
      }
      if (!closed)
        return parse_error(logical.line, "unterminated heredoc {}", heredoc.name.substr(0, 64));
      logical.heredocs.push_back(std::move(heredoc));
    }
    return {};
  }

  std::string_view text_;
  size_t at_ = 0;
  int number_ = 0;
  Lines out_;
};

}  // namespace

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

std::vector<std::string> raw_words(std::string_view text, char escape) {
  std::vector<std::string> out;
  std::string word;
  char quote = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (!quote && is_blank(c)) {
      if (!word.empty()) out.push_back(std::exchange(word, {}));
      continue;
    }
    word += c;
    if (c == escape && quote != '\'' && i + 1 < text.size()) {
      word += text[++i];
    } else if (quote) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    }
  }
  if (!word.empty()) out.push_back(std::move(word));
  return out;
}

std::optional<HeredocStart> heredoc_start(std::string_view word) {
  while (!word.empty() && word[0] >= '0' && word[0] <= '9') word.remove_prefix(1);
  if (!word.starts_with("<<")) return {};
  word.remove_prefix(2);
  HeredocStart out;
  if (word.starts_with('-')) {
    out.strip_tabs = true;
    word.remove_prefix(1);
  }
  if (word.find('<') != word.npos) return {};
  for (char c : word) {
    if (c == '"' || c == '\'')
      out.expand = false;
    else
      out.name += c;
  }
  if (out.name.empty() || out.name.find_first_of(" \t\n\r") != std::string::npos) return {};
  return out;
}

Result<Lines> split_lines(std::string_view text) {
  if (text.size() > kMaxDockerfile)
    return invalid("dockerfile parse error: the Dockerfile is larger than {} MiB",
                   kMaxDockerfile >> 20);
  return Splitter(text).run();
}

}  // namespace gantry::builder

#include "builder/patterns.h"

#include <algorithm>
#include <filesystem>

#include "builder/lines.h"

namespace gantry::builder {
namespace {

Error bad_pattern() { return invalid("syntax error in pattern"); }

// One character of a set, which an escape may hide.
Result<char> set_character(std::string_view text, size_t& at) {
  if (at >= text.size() || text[at] == '-' || text[at] == ']') return bad_pattern();
  if (text[at] == '\\' && ++at >= text.size()) return bad_pattern();
  return text[at++];
}

}  // namespace

Result<Pattern> Pattern::parse(std::string_view text, Deep deep) {
  Pattern out;
  for (size_t at = 0; at < text.size();) {
    char c = text[at++];
    Item item{Item::literal, c};
    if (c == '*') {
      bool twice = deep == Deep::yes && at < text.size() && text[at] == '*';
      item.kind = Item::star;
      if (twice) {
        ++at;
        if (at < text.size() && text[at] == '/') ++at;
        item.kind = at == text.size() ? Item::rest : Item::directories;
      }
    } else if (c == '?') {
      item.kind = Item::any;
    } else if (c == '\\') {
      if (at >= text.size()) return bad_pattern();
      item.c = text[at++];
    } else if (c == '[') {
      item.kind = Item::set;
      if (at < text.size() && text[at] == '^') item.negated = true, ++at;
      for (bool first = true; first || at >= text.size() || text[at] != ']'; first = false) {
        char low = TRY(set_character(text, at));
        char high = low;
        if (at < text.size() && text[at] == '-') {
          ++at;
          high = TRY(set_character(text, at));
        }
        item.ranges.emplace_back(low, high);
      }
      ++at;
    }
    out.items_.push_back(std::move(item));
  }
  return out;
}

bool Pattern::takes(const Item& item, char c) const {
  if (item.kind == Item::literal) return c == item.c;
  if (item.kind == Item::any || item.kind == Item::star) return c != '/';
  if (item.kind != Item::set) return true;
  if (c == '/') return false;
  bool in = false;
  for (auto [low, high] : item.ranges) in |= low <= c && c <= high;
  return in != item.negated;
}

bool Pattern::matches(std::string_view path) const {
  // All states of the pattern at once. `entered`: what stands behind it is reached without a
  // character.
  enum : char { kNo = 0, kThere = 1, kEntered = 2 };
  std::vector<char> now(items_.size() + 1, kNo), then;
  auto enter = [&](std::vector<char>& states, size_t i) {
    for (; states[i] != kEntered; ++i) {
      states[i] = kEntered;
      if (i == items_.size()) return;
      Item::Kind kind = items_[i].kind;
      if (kind != Item::star && kind != Item::directories && kind != Item::rest) return;
    }
  };
  enter(now, 0);
  for (char c : path) {
    then.assign(items_.size() + 1, kNo);
    for (size_t i = 0; i < items_.size(); ++i) {
      const Item& item = items_[i];
      if (!now[i] || !takes(item, c)) continue;
      if (item.kind == Item::directories) {
        if (!then[i]) then[i] = kThere;
        if (c == '/') enter(then, i + 1);
      } else {
        enter(then, item.kind == Item::star || item.kind == Item::rest ? i : i + 1);
      }
    }
    now.swap(then);
  }
  return now.back() != kNo;
}

bool Pattern::matches_or_parent(std::string_view path) const {
  for (;;) {
    if (matches(path)) return true;
    size_t slash = path.rfind('/');
    if (slash == path.npos) return false;
    path = path.substr(0, slash);
  }
}

bool has_wildcards(std::string_view text) { return text.find_first_of("*?[\\") != text.npos; }

Result<IgnoreList> IgnoreList::of(const std::vector<std::string>& lines) {
  IgnoreList out;
  int number = 0;
  for (const std::string& raw : lines) {
    ++number;
    if (raw.starts_with('#')) continue;
    std::string_view line = trim(raw);
    if (number == 1 && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
    bool exception = line.starts_with('!');
    if (exception) line = trim(line.substr(1));
    if (line.empty()) {
      if (exception) return invalid("illegal exclusion pattern: \"!\"");
      continue;
    }
    std::string clean = std::filesystem::path(line).lexically_normal().string();
    while (clean.size() > 1 && clean.ends_with('/')) clean.pop_back();
    while (clean.size() > 1 && clean.starts_with('/')) clean.erase(0, 1);
    Result<Pattern> pattern = Pattern::parse(clean, Deep::yes);
    if (!pattern)
      return invalid("line {} ({}): {}", number, line.substr(0, 128), pattern.error().message());
    out.rules_.push_back({pattern.release(), exception});
    out.exceptions_ |= exception;
  }
  return out;
}

Result<IgnoreList> IgnoreList::parse(std::string_view text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    lines.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return of(lines);
}

bool IgnoreList::ignores(std::string_view path) const {
  bool ignored = false;
  for (const Rule& rule : rules_)
    if (rule.exception == ignored && rule.pattern.matches_or_parent(path))
      ignored = !rule.exception;
  return ignored;
}

}  // namespace gantry::builder

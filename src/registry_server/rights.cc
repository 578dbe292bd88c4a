#include "registry_server/rights.h"

#include "base/fs.h"

namespace gantry::registry_server {
namespace {

constexpr size_t kFileLimit = 4u << 20;
constexpr size_t kMostLines = 100'000;
constexpr size_t kPatternLimit = 512;

std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> words;
  while (true) {
    size_t start = line.find_first_not_of(" \t\r,");
    if (start == std::string_view::npos) return words;
    line.remove_prefix(start);
    size_t end = std::min(line.find_first_of(" \t\r,"), line.size());
    words.emplace_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

Result<unsigned> right_named(const std::string& word) {
  if (word == "pull") return unsigned{kPull};
  if (word == "push") return unsigned{kPull | kPush};  // a push asks first what is there
  if (word == "delete") return unsigned{kDelete};
  if (word == "catalog") return unsigned{kCatalog};
  if (word == "all") return unsigned{kAllRights};
  return invalid("'{}' is no right (pull, push, delete, catalog, all)", word);
}

Status check_pattern(std::string_view pattern) {
  if (pattern.size() > kPatternLimit) return invalid("the pattern is too long");
  for (char c : pattern) {
    bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                c == '-' || c == '/' || c == '*';
    if (!good) return invalid("'{}' cannot be in a repository's name", c);
  }
  return {};
}

}  // namespace

bool matches_pattern(std::string_view pattern, std::string_view name) {
  // row[i]: the pattern so far matches the first i characters of the name.
  std::vector<bool> row(name.size() + 1, false);
  row[0] = true;
  for (size_t p = 0; p < pattern.size(); ++p) {
    if (pattern[p] == '*') {
      bool across = p + 1 < pattern.size() && pattern[p + 1] == '*';
      if (across) ++p;
      for (size_t i = 1; i <= name.size(); ++i)
        if (row[i - 1] && (across || name[i - 1] != '/')) row[i] = true;
    } else {
      for (size_t i = name.size(); i >= 1; --i) row[i] = row[i - 1] && name[i - 1] == pattern[p];
      row[0] = false;
    }
  }
  return row[name.size()];
}

Result<Rights> Rights::parse(std::string_view text) {
  Rights out;
  int number = 0;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    line = line.substr(0, line.find('#'));
    std::vector<std::string> words = words_of(line);
    if (words.empty()) continue;
    if (out.lines_.size() >= kMostLines) return invalid("line {}: too many lines", number);
    if (words[0] == "group" && words.size() >= 3 && words[2] == "=") {
      out.groups_[words[1]].insert(words.begin() + 3, words.end());
      continue;
    }
    if (words[0] != "allow" || words.size() < 2)
      return invalid("line {}: expected 'group NAME = USER…' or 'allow WHO PATTERN RIGHT…'",
                     number);
    Line rule;
    size_t at = 2;
    if (words[1] == "anonymous" || words[1] == "authenticated") {
      rule.who = words[1] == "anonymous" ? Who::anonymous : Who::authenticated;
    } else if ((words[1] == "user" || words[1] == "group") && words.size() > 2) {
      rule.who = words[1] == "user" ? Who::user : Who::group;
      rule.name = words[at++];
    } else {
      return invalid("line {}: '{}' is none of user NAME, group NAME, anonymous, authenticated",
                     number, words[1]);
    }
    if (words.size() < at + 2)
      return invalid("line {}: a pattern and at least one right are missing", number);
    rule.pattern = words[at++];
    TRY(check_pattern(rule.pattern).context("line {}: pattern '{}'", number, rule.pattern));
    for (; at < words.size(); ++at)
      rule.rights |= TRY(right_named(words[at]).context("line {}", number));
    out.lines_.push_back(std::move(rule));
  }
  for (const Line& line : out.lines_)
    if (line.who == Who::group && !out.groups_.contains(line.name))
      return invalid("there is no group '{}': a line 'group {} = USER…' is missing", line.name,
                     line.name);
  return out;
}

Result<Rights> Rights::load(const std::string& path) {
  std::string text = TRY(fs::read_file(path, kFileLimit));
  return parse(text).context("{}", path);
}

bool Rights::applies(const Line& line, const std::string& user) const {
  switch (line.who) {
    case Who::anonymous:
      return true;  // what nobody needs a name for, all may
    case Who::authenticated:
      return !user.empty();
    case Who::user:
      return !user.empty() && line.name == user;
    case Who::group: {
      auto group = groups_.find(line.name);
      return !user.empty() && group != groups_.end() && group->second.contains(user);
    }
  }
  return false;
}

unsigned Rights::of(const std::string& user, std::string_view repository) const {
  unsigned rights = 0;
  for (const Line& line : lines_)
    if ((line.rights & ~rights) != 0 && applies(line, user) &&
        matches_pattern(line.pattern, repository))
      rights |= line.rights;
  return rights;
}

bool Rights::any(const std::string& user, Right right) const {
  for (const Line& line : lines_)
    if ((line.rights & right) != 0 && applies(line, user)) return true;
  return false;
}

}  // namespace gantry::registry_server

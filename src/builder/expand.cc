#include "builder/expand.h"

#include <algorithm>

#include "builder/lines.h"

namespace gantry::builder {
namespace {

constexpr int kMaxDepth = 32;
constexpr size_t kMaxMatching = size_t{1} << 26;  // steps that one pattern may take

bool starts_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool of_name(char c) { return starts_name(c) || (c >= '0' && c <= '9'); }
bool is_special(char c) {
  return (c >= '0' && c <= '9') || std::string_view("@*#?-$!").find(c) != std::string_view::npos;
}

// How far into `text` the pattern matches from its beginning: the ends of all matches, by one pass
// that keeps every state of the pattern. Sets shortest and longest; false when there is none.
bool prefix_matches(std::string_view pattern, std::string_view text, size_t& shortest,
                    size_t& longest) {
  struct Item {
    char c;
    char kind;  // 'c' itself, '?' any, '*' any number
  };
  std::vector<Item> items;
  for (size_t i = 0; i < pattern.size(); ++i) {
    char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size())
      items.push_back({pattern[++i], 'c'});
    else
      items.push_back({c, c == '*' || c == '?' ? c : 'c'});
  }
  std::vector<char> now(items.size() + 1, 0), then;
  auto close = [&](std::vector<char>& states) {
    for (size_t i = 0; i < items.size(); ++i)
      if (states[i] && items[i].kind == '*') states[i + 1] = 1;
  };
  now[0] = 1;
  close(now);
  bool any = false;
  for (size_t at = 0;; ++at) {
    if (now.back()) {
      if (!any) shortest = at;
      any = true;
      longest = at;
    }
    if (at == text.size()) return any;
    then.assign(items.size() + 1, 0);
    bool alive = false;
    for (size_t i = 0; i < items.size(); ++i) {
      if (!now[i]) continue;
      if (items[i].kind == '*')
        then[i] = alive = true;
      else if (items[i].kind == '?' || items[i].c == text[at])
        then[i + 1] = alive = true;
    }
    if (!alive) return any;
    close(then);
    now.swap(then);
  }
}

// The pattern and text of a suffix as those of a prefix.
std::string reversed_pattern(std::string_view pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    std::string one(1, pattern[i]);
    if (pattern[i] == '\\' && i + 1 < pattern.size()) one += pattern[++i];
    out.insert(0, one);
  }
  return out;
}

enum class Quotes { taken, kept };

class Expander {
 public:
  Expander(std::string_view text, const Variables& variables, char escape, Quotes quotes)
      : text_(text), variables_(variables), escape_(escape), quotes_(quotes) {}

  Result<std::string> word() {
    std::string out = TRY(until(0, 0));
    return out;
  }

  Result<std::vector<std::string>> words() {
    split_ = true;
    std::string last = TRY(until(0, 0));
    if (!last.empty() || quoted_) words_.push_back(std::move(last));
    return std::move(words_);
  }

 private:
  bool done() const { return at_ >= text_.size(); }

  Status check(const std::string& out) const {
    if (out.size() > kMaxExpanded)
      return invalid("what a word stands for is longer than {} bytes", kMaxExpanded);
    return {};
  }

  // Up to the character `stop` outside of quotes, which is left where it is; or the end, for 0.
  Result<std::string> until(char stop, int depth, char other = 0) {
    if (depth > kMaxDepth) return invalid("variables are nested more than {} deep", kMaxDepth);
    std::string out;
    while (!done()) {
      char c = text_[at_];
      if (stop && (c == stop || (other && c == other))) return out;
      if (split_ && depth == 0 && is_blank(c)) {
        ++at_;
        if (!out.empty() || quoted_) words_.push_back(std::exchange(out, {}));
        quoted_ = false;
      } else if (quotes_ == Quotes::taken && c == '\'') {
        size_t end = text_.find('\'', ++at_);
        if (end == text_.npos)
          return invalid("unexpected end of statement while looking for matching single-quote");
        out += text_.substr(at_, end - at_);
        at_ = end + 1;
        quoted_ = true;
      } else if (quotes_ == Quotes::taken && c == '"') {
        TRY(double_quoted(out, depth));
      } else if (c == '$') {
        std::string value = TRY(variable(depth));
        if (split_ && depth == 0)
          add_split(value, out);
        else
          out += value;
      } else if (c == escape_) {
        ++at_;
        if (quotes_ == Quotes::kept) {
          if (done() || (text_[at_] != '$' && text_[at_] != escape_)) out += c;
          if (!done()) out += text_[at_++];
        } else if (!done()) {
          out += text_[at_++];
        } else {
          out += c;
        }
      } else {
        out += c;
        ++at_;
      }
      TRY(check(out));
    }
    if (stop) return invalid("syntax error: missing '{}'", stop);
    return out;
  }

  void add_split(const std::string& value, std::string& out) {
    for (char c : value) {
      if (!is_blank(c))
        out += c;
      else if (!out.empty() || quoted_)
        words_.push_back(std::exchange(out, {})), quoted_ = false;
    }
  }

  Status double_quoted(std::string& out, int depth) {
    ++at_;
    quoted_ = true;
    for (;;) {
      if (done())
        return invalid("unexpected end of statement while looking for matching double-quote");
      char c = text_[at_];
      if (c == '"') {
        ++at_;
        return {};
      }
      if (c == '$') {
        out += TRY(variable(depth));
      } else if (c == escape_ && at_ + 1 < text_.size()) {
        char next = text_[at_ + 1];
        if (next != '"' && next != '$' && next != escape_) out += c;
        out += next;
        at_ += 2;
      } else {
        out += c;
        ++at_;
      }
      TRY(check(out));
    }
  }

  std::string name() {
    size_t begin = at_;
    if (!done() && starts_name(text_[at_]))
      while (!done() && of_name(text_[at_])) ++at_;
    else if (!done() && is_special(text_[at_]))
      ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }

  // At a '$'.
  Result<std::string> variable(int depth) {
    ++at_;
    if (done()) return std::string("$");
    if (text_[at_] != '{') {
      if (!starts_name(text_[at_]) && !is_special(text_[at_])) return std::string("$");
      return variables_(name()).value_or("");
    }
    ++at_;
    std::string called = name();
    if (called.empty()) {
      if (!done() && text_[at_] == '}') return invalid("syntax error: bad substitution");
      return invalid("syntax error: bad substitution");
    }
    std::optional<std::string> value = variables_(called);
    if (done()) return invalid("syntax error: missing '}}'");
    char c = text_[at_++];
    if (c == '}') return value.value_or("");
    if (c == '#' || c == '%') return stripped(c, value.value_or(""), depth);
    if (c == '/') return replaced(value.value_or(""), depth);
    bool empty_counts = c == ':';
    if (empty_counts) {
      if (done()) return invalid("syntax error: missing ':' in substitution");
      c = text_[at_++];
    }
    if (c != '-' && c != '+' && c != '?')
      return invalid("unsupported modifier ({}{}) in substitution", empty_counts ? ":" : "", c);
    std::string word = TRY(inner(depth));
    const bool is_set = value && !(empty_counts && value->empty());
    if (c == '-') return is_set ? *value : word;
    if (c == '+') return is_set ? word : std::string();
    if (is_set) return *value;
    return invalid("{}: {}", called, word.empty() ? "is not allowed to be unset" : word);
  }

  // The word of a modifier and the brace behind it.
  Result<std::string> inner(int depth) {
    std::string word = TRY(until('}', depth + 1));
    ++at_;
    return word;
  }

  Result<std::string> stripped(char which, const std::string& value, int depth) {
    bool longest = !done() && text_[at_] == which;
    if (longest) ++at_;
    std::string pattern = TRY(inner(depth));
    if (pattern.size() * value.size() > kMaxMatching)
      return invalid("a pattern is too long for its value");
    size_t least = 0, most = 0;
    if (which == '#') {
      if (!prefix_matches(pattern, value, least, most)) return value;
      return value.substr(longest ? most : least);
    }
    std::string reversed(value.rbegin(), value.rend());
    if (!prefix_matches(reversed_pattern(pattern), reversed, least, most)) return value;
    return value.substr(0, value.size() - (longest ? most : least));
  }

  Result<std::string> replaced(const std::string& value, int depth) {
    bool all = !done() && text_[at_] == '/';
    if (all) ++at_;
    std::string pattern = TRY(until('/', depth + 1, '}'));
    std::string replacement;
    if (text_[at_] == '/') {
      ++at_;
      replacement = TRY(until('}', depth + 1));
    }
    ++at_;
    if (pattern.empty()) return value;
    if ((pattern.size() + 1) * (value.size() + 1) * (value.size() + 1) > kMaxMatching)
      return invalid("a pattern is too long for its value");
    std::string out;
    bool once = false;
    for (size_t at = 0; at < value.size();) {
      size_t least = 0, most = 0;
      std::string_view rest = std::string_view(value).substr(at);
      if ((all || !once) && prefix_matches(pattern, rest, least, most) && most > 0) {
        out += replacement;
        at += most;
        once = true;
      } else {
        out += value[at++];
      }
      TRY(check(out));
    }
    return out;
  }

  std::string_view text_;
  const Variables& variables_;
  const char escape_;
  const Quotes quotes_;
  size_t at_ = 0;
  bool split_ = false;
  bool quoted_ = false;  // the word that is being read had quotes: it is one even when empty
  std::vector<std::string> words_;
};

}  // namespace

Result<std::string> expand_word(std::string_view word, const Variables& variables, char escape) {
  return Expander(word, variables, escape, Quotes::taken).word();
}

Result<std::vector<std::string>> expand_words(std::string_view text, const Variables& variables,
                                              char escape) {
  return Expander(text, variables, escape, Quotes::taken).words();
}

Result<std::string> expand_text(std::string_view text, const Variables& variables, char escape) {
  return Expander(text, variables, escape, Quotes::kept).word();
}

bool shell_match(std::string_view pattern, std::string_view text) {
  size_t least = 0, most = 0;
  return prefix_matches(pattern, text, least, most) && most == text.size();
}

}  // namespace gantry::builder

#include "client/format/template_lexer.h"

#include <cctype>

namespace gantry::client::tmpl {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || (c & 0x80);
}

void append_utf8(std::string& out, unsigned long code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (code >> 18));
    out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Result<std::vector<Token>> run() {
    while (at_ < text_.size()) {
      size_t open = text_.find("{{", at_);
      std::string_view plain = text_.substr(at_, open == text_.npos ? text_.npos : open - at_);
      bool trim = open != text_.npos && text_.substr(open + 2, 1) == "-" &&
                  open + 3 < text_.size() && kBlanks.find(text_[open + 3]) != kBlanks.npos;
      push_text(plain, trim);
      if (open == text_.npos) break;
      at_ = open + 2 + (trim ? 1 : 0);
      TRY(action());
    }
    push(Token::Kind::end, "");
    return std::move(tokens_);
  }

 private:
  void push(Token::Kind kind, std::string value) {
    tokens_.push_back({kind, std::move(value), start_, line_});
  }

  void push_text(std::string_view plain, bool trim_right) {
    size_t newlines = 0;
    for (char c : plain) newlines += c == '\n';
    std::string_view shown = plain;
    if (trim_left_) shown.remove_prefix(std::min(shown.find_first_not_of(kBlanks), shown.size()));
    if (trim_right) shown = shown.substr(0, shown.find_last_not_of(kBlanks) + 1);
    trim_left_ = false;
    start_ = at_;
    if (!shown.empty()) push(Token::Kind::text, std::string(shown));
    line_ += static_cast<int>(newlines);
    at_ += plain.size();
  }

  Error error(std::string_view message) const {
    return invalid("template: :{}: {}", line_, message);
  }

  // True at the closing braces; moves past them.
  bool closed() {
    std::string_view rest = text_.substr(at_);
    bool trim =
        rest.size() >= 4 && kBlanks.find(rest[0]) != kBlanks.npos && rest.substr(1, 3) == "-}}";
    if (!trim && !rest.starts_with("}}")) return false;
    at_ += trim ? 4 : 2;
    trim_left_ = trim;
    return true;
  }

  Status action() {
    size_t comment = text_.find_first_not_of(kBlanks, at_);
    if (comment != text_.npos && text_.substr(comment, 2) == "/*") {
      size_t end = text_.find("*/", comment + 2);
      if (end == text_.npos) return error("unclosed comment");
      at_ = end + 2;
      if (!closed()) return error("comment ends before closing delimiter");
      return {};
    }
    start_ = at_;
    push(Token::Kind::left, "{{");
    while (!closed()) {
      if (at_ >= text_.size()) return error("unclosed action");
      TRY(token());
    }
    push(Token::Kind::right, "}}");
    return {};
  }

  Status token() {
    start_ = at_;
    const char c = text_[at_];
    if (kBlanks.find(c) != kBlanks.npos) {
      while (at_ < text_.size() && kBlanks.find(text_[at_]) != kBlanks.npos) {
        if (text_.substr(at_ + 1, 3) == "-}}") break;
        line_ += text_[at_++] == '\n';
      }
      if (at_ > start_) push(Token::Kind::space, " ");
      return {};
    }
    if (c == '"' || c == '\'') return quoted(c);
    if (c == '`') return raw_string();
    if (c == '.' &&
        !(at_ + 1 < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_ + 1]))))
      return field();
    if (c == '$') {
      ++at_;
      push(Token::Kind::variable, "$" + take_word());
      return {};
    }
    if (std::isdigit(static_cast<unsigned char>(c)) || c == '.' || c == '+' || c == '-') {
      size_t end = at_ + 1;
      while (end < text_.size() && (is_word(text_[end]) || text_[end] == '.')) ++end;
      push(Token::Kind::number, std::string(text_.substr(at_, end - at_)));
      at_ = end;
      return {};
    }
    if (is_word(c)) {
      push(Token::Kind::word, take_word());
      return {};
    }
    return punctuation(c);
  }

  Status punctuation(char c) {
    struct Mark {
      std::string_view text;
      Token::Kind kind;
    };
    static constexpr Mark kMarks[] = {{":=", Token::Kind::declare}, {"=", Token::Kind::assign},
                                      {"|", Token::Kind::pipe},     {",", Token::Kind::comma},
                                      {"(", Token::Kind::open},     {")", Token::Kind::close}};
    for (const Mark& mark : kMarks)
      if (text_.substr(at_).starts_with(mark.text)) {
        at_ += mark.text.size();
        push(mark.kind, std::string(mark.text));
        return {};
      }
    if (c == '}' || c == '{') return error(fmt::format("unexpected \"{}\" in operand", c));
    return error(fmt::format("unexpected bad character U+{:04X} '{}' in command", c & 0xFF, c));
  }

  std::string take_word() {
    size_t end = at_;
    while (end < text_.size() && is_word(text_[end])) ++end;
    std::string word(text_.substr(at_, end - at_));
    at_ = end;
    return word;
  }

  Status field() {
    ++at_;
    std::string name = take_word();
    push(name.empty() ? Token::Kind::dot : Token::Kind::field, name);
    return {};
  }

  Status raw_string() {
    size_t end = text_.find('`', at_ + 1);
    if (end == text_.npos) return error("unterminated raw quoted string");
    push(Token::Kind::string, std::string(text_.substr(at_ + 1, end - at_ - 1)));
    at_ = end + 1;
    return {};
  }

  Status quoted(char quote) {
    std::string value;
    for (++at_; at_ < text_.size() && text_[at_] != quote; ++at_) {
      if (text_[at_] == '\n') break;
      if (text_[at_] == '\\')
        TRY(escape(value));
      else
        value += text_[at_];
    }
    if (at_ >= text_.size() || text_[at_] != quote)
      return error(quote == '"' ? "unterminated quoted string" : "unterminated character constant");
    ++at_;
    push(quote == '"' ? Token::Kind::string : Token::Kind::character, value);
    return {};
  }

  // `at_` is on the backslash; it ends on the last character of the escape.
  Status escape(std::string& value) {
    static constexpr std::string_view kNames = "abfnrtv\\\"'";
    static constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\\"'";
    if (++at_ >= text_.size()) return error("unterminated quoted string");
    if (size_t index = kNames.find(text_[at_]); index != kNames.npos) {
      value += kValues[index];
      return {};
    }
    const char kind = text_[at_];
    const size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
    if (digits == 0 || at_ + digits >= text_.size())
      return error("invalid syntax in quoted string");
    std::string hex(text_.substr(at_ + 1, digits));
    if (hex.find_first_not_of("0123456789abcdefABCDEF") != hex.npos)
      return error("invalid syntax in quoted string");
    unsigned long code = std::strtoul(hex.c_str(), nullptr, 16);
    if (kind == 'x')
      value += static_cast<char>(code);
    else
      append_utf8(value, code);
    at_ += digits;
    return {};
  }

  std::string_view text_;
  size_t at_ = 0;
  size_t start_ = 0;
  int line_ = 1;
  bool trim_left_ = false;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view text) { return Lexer(text).run(); }

}  // namespace gantry::client::tmpl

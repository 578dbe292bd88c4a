#include "trust/strict_json.h"

#include "base/json.h"

namespace gantry::trust {
namespace {

constexpr int kMaxDepth = 16;

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Result<StrictJson> document() {
    StrictJson out = TRY(value(0));
    skip();
    if (at_ < text_.size()) return wrong("something follows the document");
    return out;
  }

 private:
  Error wrong(std::string_view what) const { return invalid("line {}: {}", line_, what); }

  void skip() {
    while (at_ < text_.size()) {
      char c = text_[at_];
      if (c != ' ' && c != '\t' && c != '\r' && c != '\n') return;
      line_ += c == '\n';
      ++at_;
    }
  }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  Result<StrictJson> value(int depth) {
    if (depth > kMaxDepth) return wrong("it is nested too deep");
    skip();
    if (at_ >= text_.size()) return wrong("it ends where a value is expected");
    StrictJson out;
    out.line = line_;
    char c = text_[at_];
    if (c == '"') {
      out.kind = StrictJson::Kind::string;
      out.text = TRY(string());
    } else if (c == '{') {
      TRY(object(out, depth));
    } else if (c == '[') {
      TRY(array(out, depth));
    } else {
      TRY(word(out));
    }
    return out;
  }

  Status object(StrictJson& out, int depth) {
    out.kind = StrictJson::Kind::object;
    ++at_;
    skip();
    if (take('}')) return {};
    while (true) {
      skip();
      if (at_ >= text_.size() || text_[at_] != '"') return wrong("a key in quotes is expected");
      std::string key = TRY(string());
      if (out.find(key) != nullptr) return wrong(fmt::format("the key \"{}\" stands twice", key));
      skip();
      if (!take(':')) return wrong(fmt::format("a colon is expected after \"{}\"", key));
      StrictJson member = TRY(value(depth + 1));
      out.members.emplace_back(std::move(key), std::move(member));
      skip();
      if (take('}')) return {};
      if (!take(',')) return wrong("a comma or a closing brace is expected");
    }
  }

  Status array(StrictJson& out, int depth) {
    out.kind = StrictJson::Kind::array;
    ++at_;
    skip();
    if (take(']')) return {};
    while (true) {
      StrictJson item = TRY(value(depth + 1));
      out.items.push_back(std::move(item));
      skip();
      if (take(']')) return {};
      if (!take(',')) return wrong("a comma or a closing bracket is expected");
    }
  }

  // true, false, null, or a number; whether it is a good one is Boost's to say.
  Status word(StrictJson& out) {
    size_t begin = at_;
    while (at_ < text_.size() && (isalnum(static_cast<unsigned char>(text_[at_])) ||
                                  text_[at_] == '+' || text_[at_] == '-' || text_[at_] == '.'))
      ++at_;
    out.text = text_.substr(begin, at_ - begin);
    Result<json::value> parsed = json::parse(out.text);
    if (!parsed || out.text.empty()) return wrong("a value is expected");
    out.kind = parsed->is_null()   ? StrictJson::Kind::null
               : parsed->is_bool() ? StrictJson::Kind::boolean
                                   : StrictJson::Kind::number;
    return {};
  }

  Result<std::string> string() {
    size_t begin = at_++;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '\n') return wrong("a string does not end on its line");
      at_ += text_[at_] == '\\' ? 2 : 1;
    }
    if (at_ >= text_.size()) return wrong("a string does not end");
    ++at_;
    Result<json::value> parsed = json::parse(text_.substr(begin, at_ - begin));
    if (!parsed || !parsed->is_string()) return wrong("a string is malformed");
    return std::string(parsed->get_string());
  }

  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
};

}  // namespace

Result<StrictJson> StrictJson::parse(std::string_view text) { return Reader(text).document(); }

const StrictJson* StrictJson::find(std::string_view key) const {
  for (const auto& [name, member] : members)
    if (name == key) return &member;
  return nullptr;
}

std::string_view StrictJson::kind_name() const {
  switch (kind) {
    case Kind::null:
      return "null";
    case Kind::boolean:
      return "a boolean";
    case Kind::number:
      return "a number";
    case Kind::string:
      return "a string";
    case Kind::array:
      return "an array";
    case Kind::object:
      return "an object";
  }
  return "?";
}

}  // namespace gantry::trust

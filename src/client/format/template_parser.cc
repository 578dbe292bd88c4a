#include <charconv>

#include "client/format/template_ast.h"
#include "client/format/template_lexer.h"

namespace gantry::client::tmpl {
namespace {

using Kind = Token::Kind;
using List = std::vector<std::unique_ptr<Node>>;

// Deeper nesting than any template that a person writes; keeps the recursion bounded.
constexpr int kMaxDepth = 100;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<std::unique_ptr<Node>> run() {
    auto root = std::make_unique<Node>();
    std::string closer = TRY(list(root->body, 0));
    if (!closer.empty()) return error(fmt::format("unexpected {{{{{}}}}}", closer));
    return root;
  }

 private:
  const Token& peek() const { return tokens_[next_]; }
  Token take() { return tokens_[next_ < tokens_.size() - 1 ? next_++ : next_]; }
  void skip_space() {
    while (peek().kind == Kind::space) take();
  }
  Error error(std::string_view message) const {
    return invalid("template: :{}: {}", peek().line, message);
  }

  // Parses up to the end of the template or a closing action ("end", "else", "else if", "else
  // with"), which it takes up to its keyword and returns.
  Result<std::string> list(List& out, int depth) {
    if (depth > kMaxDepth) return error("exceeded maximum nesting depth");
    while (peek().kind != Kind::end) {
      auto node = std::make_unique<Node>();
      if (peek().kind == Kind::text) {
        node->kind = Node::Kind::text;
        node->text = take().value;
        out.push_back(std::move(node));
        continue;
      }
      take();  // {{
      skip_space();
      std::string keyword = peek().kind == Kind::word ? peek().value : "";
      if (keyword == "end" || keyword == "else") {
        take();
        return keyword;
      }
      if (keyword == "if" || keyword == "with" || keyword == "range") {
        take();
        TRY(control(*node, keyword, depth));
      } else if (keyword == "break" || keyword == "continue") {
        take();
        if (range_depth_ == 0)
          return error(fmt::format("{{{{{}}}}} outside {{{{range}}}}", keyword));
        node->kind = keyword == "break" ? Node::Kind::break_ : Node::Kind::continue_;
        TRY(right());
      } else if (keyword == "template" || keyword == "define" || keyword == "block") {
        return error(fmt::format("{{{{{}}}}} is not supported", keyword));
      } else {
        node->kind = Node::Kind::action;
        node->pipeline = TRY(pipeline(depth + 1, false));
        TRY(right());
      }
      out.push_back(std::move(node));
    }
    return std::string();
  }

  Status right() {
    skip_space();
    if (peek().kind != Kind::right)
      return error(fmt::format("unexpected <{}> in command", peek().value));
    take();
    return {};
  }

  Status control(Node& node, const std::string& keyword, int depth) {
    const bool range = keyword == "range";
    node.kind = keyword == "if" ? Node::Kind::if_ : range ? Node::Kind::range : Node::Kind::with;
    const size_t scope = variables_.size();
    node.pipeline = TRY(pipeline(depth + 1, range));
    TRY(right());
    range_depth_ += range;
    std::string closer = TRY(list(node.body, depth + 1));
    range_depth_ -= range;
    if (closer.empty()) return error("unexpected EOF");
    if (closer == "else") {
      skip_space();
      std::string next = peek().kind == Kind::word ? peek().value : "";
      if (next == "if" || next == "with") {  // {{else if x}}…{{end}}: one {{end}} closes both
        take();
        auto nested = std::make_unique<Node>();
        TRY(control(*nested, next, depth + 1));
        node.otherwise.push_back(std::move(nested));
        variables_.resize(scope);
        return {};
      }
      TRY(right());
      closer = TRY(list(node.otherwise, depth + 1));
      if (closer != "end")
        return error(closer.empty() ? "unexpected EOF" : "expected end; found {{else}}");
    }
    variables_.resize(scope);
    return right();
  }

  Result<std::unique_ptr<Pipeline>> pipeline(int depth, bool in_range) {
    if (depth > kMaxDepth) return error("exceeded maximum nesting depth");
    auto out = std::make_unique<Pipeline>();
    skip_space();
    TRY(declaration(*out, in_range));
    while (true) {
      Command command = TRY(parse_command(depth));
      out->commands.push_back(std::move(command));
      skip_space();
      if (peek().kind != Kind::pipe) break;
      take();
    }
    if (out->declares)
      for (const std::string& name : out->variables) variables_.push_back(name);
    return out;
  }

  // "$x :=", "$i, $x :=" (in a range) or "$x =", when the pipeline begins with one.
  Status declaration(Pipeline& out, bool in_range) {
    const size_t start = next_;
    std::vector<std::string> names;
    while (peek().kind == Kind::variable) {
      names.push_back(take().value);
      skip_space();
      if (peek().kind != Kind::comma || names.size() == 2) break;
      take();
      skip_space();
    }
    const Kind mark = peek().kind;
    if (names.empty() || (mark != Kind::declare && mark != Kind::assign)) {
      next_ = start;
      return {};
    }
    if (names.size() == 2 && !in_range) return error("too many declarations in command");
    take();
    out.variables = std::move(names);
    out.declares = mark == Kind::declare;
    if (!out.declares)
      for (const std::string& name : out.variables) TRY(known_variable(name));
    return {};
  }

  Status known_variable(const std::string& name) const {
    for (const std::string& known : variables_)
      if (known == name) return {};
    return error(fmt::format("undefined variable \"{}\"", name));
  }

  Result<Command> parse_command(int depth) {
    Command command;
    while (true) {
      skip_space();
      const Kind kind = peek().kind;
      if (kind == Kind::right || kind == Kind::pipe || kind == Kind::close || kind == Kind::end)
        break;
      Operand operand = TRY(parse_operand(depth));
      command.operands.push_back(std::move(operand));
    }
    if (peek().kind == Kind::end) return error("unclosed action");
    if (command.operands.empty()) return error("missing value for command");
    return command;
  }

  Result<Operand> parse_operand(int depth) {
    Operand out;
    const Token token = take();
    out.column = token.column;
    out.source = token.value;
    switch (token.kind) {
      case Kind::dot:
        out.kind = Operand::Kind::dot;
        out.source = ".";
        break;
      case Kind::field:
        out.kind = Operand::Kind::dot;
        out.fields.push_back(token.value);
        out.source = "." + token.value;
        break;
      case Kind::variable:
        out.kind = Operand::Kind::variable;
        out.name = token.value;
        TRY(known_variable(out.name));
        break;
      case Kind::open:
        out.kind = Operand::Kind::pipeline;
        out.pipeline = TRY(pipeline(depth + 1, false));
        skip_space();
        if (take().kind != Kind::close) return error("unclosed left paren");
        break;
      case Kind::word:
        TRY(word(out, token.value));
        break;
      case Kind::string:
        out.literal = boost::json::string(token.value);
        break;
      case Kind::character:
        out.literal = static_cast<int64_t>(
            static_cast<unsigned char>(token.value.empty() ? 0 : token.value[0]));
        break;
      case Kind::number:
        TRY(number(out, token.value));
        break;
      default:
        return error(fmt::format("unexpected \"{}\" in operand", token.value));
    }
    while (peek().kind == Kind::field) {
      if (out.kind == Operand::Kind::literal)
        return error(fmt::format("unexpected . after term \"{}\"", out.source));
      out.fields.push_back(take().value);
      out.source += "." + out.fields.back();
    }
    return out;
  }

  Status word(Operand& out, const std::string& name) {
    if (name == "true" || name == "false") {
      out.literal = name == "true";
    } else if (name == "nil") {
      out.literal = nullptr;
    } else {
      if (!is_function(name)) return error(fmt::format("function \"{}\" not defined", name));
      out.kind = Operand::Kind::function;
      out.name = name;
    }
    return {};
  }

  Status number(Operand& out, const std::string& text) {
    const char* begin = text.data() + (text[0] == '+');
    const char* end = text.data() + text.size();
    int64_t integer = 0;
    double real = 0;
    if (text.find("0x") == 0) {
      auto [stop, failure] = std::from_chars(begin + 2, end, integer, 16);
      if (failure == std::errc() && stop == end) {
        out.literal = integer;
        return {};
      }
    }
    if (auto [stop, failure] = std::from_chars(begin, end, integer);
        failure == std::errc() && stop == end) {
      out.literal = integer;
    } else if (auto [real_stop, real_failure] = std::from_chars(begin, end, real);
               real_failure == std::errc() && real_stop == end) {
      out.literal = real;
    } else {
      return error(fmt::format("bad number syntax: \"{}\"", text));
    }
    return {};
  }

  std::vector<Token> tokens_;
  size_t next_ = 0;
  int range_depth_ = 0;
  std::vector<std::string> variables_{"$"};
};

}  // namespace

Result<std::unique_ptr<Node>> parse(std::string_view text) {
  std::vector<Token> tokens = TRY(tokenize(text));
  return Parser(std::move(tokens)).run();
}

}  // namespace gantry::client::tmpl

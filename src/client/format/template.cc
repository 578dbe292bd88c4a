#include "client/format/template.h"

#include "client/format/template_ast.h"
#include "client/format/template_functions.h"
#include "client/format/template_value.h"

namespace gantry::client {
namespace tmpl {
namespace {

enum class Flow { next, break_, continue_ };

class Evaluator {
 public:
  Evaluator(const json::value& root, const TemplateOptions& options)
      : root_(Value::refer(root)), options_(options) {
    variables_.emplace_back("$", root_);
  }

  Result<std::string> run(const Node& node) {
    TRY(list(node.body, root_));
    return std::move(out_);
  }

 private:
  Result<Flow> list(const std::vector<std::unique_ptr<Node>>& nodes, const Value& dot) {
    for (const auto& node : nodes) {
      Flow flow = TRY(one(*node, dot));
      if (flow != Flow::next) return flow;
    }
    return Flow::next;
  }

  Result<Flow> one(const Node& node, const Value& dot) {
    switch (node.kind) {
      case Node::Kind::text:
        out_ += node.text;
        break;
      case Node::Kind::action: {
        Value value = TRY(pipeline(*node.pipeline, dot));
        if (node.pipeline->variables.empty()) out_ += print(value);
        break;
      }
      case Node::Kind::if_:
      case Node::Kind::with: {
        const size_t scope = variables_.size();
        Value value = TRY(pipeline(*node.pipeline, dot));
        const bool yes = truth(value);
        Flow flow = TRY(list(yes ? node.body : node.otherwise,
                             yes && node.kind == Node::Kind::with ? value : dot));
        variables_.resize(scope);
        return flow;
      }
      case Node::Kind::range:
        TRY(range(node, dot));
        break;
      case Node::Kind::break_:
        return Flow::break_;
      case Node::Kind::continue_:
        return Flow::continue_;
      case Node::Kind::list:
        return list(node.body, dot);
    }
    return Flow::next;
  }

  Status range(const Node& node, const Value& dot) {
    const size_t scope = variables_.size();
    Value over = TRY(commands(*node.pipeline, dot));
    size_t rounds = 0;
    auto round = [&](Value key, Value item) -> Result<bool> {
      ++rounds;
      const auto& names = node.pipeline->variables;
      if (names.size() == 1) bind(*node.pipeline, 0, item);
      if (names.size() == 2) {
        bind(*node.pipeline, 0, key);
        bind(*node.pipeline, 1, item);
      }
      Flow flow = TRY(list(node.body, item));
      variables_.resize(scope);
      return flow != Flow::break_;
    };
    if (over->is_array()) {
      int64_t index = 0;
      for (const json::value& item : over->get_array()) {
        bool more = TRY(round(Value(json::value(index++)), Value::part(over, item)));
        if (!more) break;
      }
    } else if (over->is_object()) {
      for (std::string_view key : sorted_keys(over->get_object())) {
        bool more = TRY(round(Value(json::value(boost::json::string(key))),
                              Value::part(over, over->get_object().at(key))));
        if (!more) break;
      }
    } else if (over->is_int64()) {
      for (int64_t i = 0; i < over->get_int64(); ++i) {
        bool more = TRY(round(Value(json::value(i)), Value(json::value(i))));
        if (!more) break;
      }
    } else if (!over->is_null()) {
      return invalid("range can't iterate over {}", print(over));
    }
    if (rounds == 0) TRY(list(node.otherwise, dot));
    variables_.resize(scope);
    return {};
  }

  void bind(const Pipeline& pipeline, size_t index, const Value& value) {
    const std::string& name = pipeline.variables[index];
    if (!pipeline.declares)
      for (size_t i = variables_.size(); i-- > 0;)
        if (variables_[i].first == name) {
          variables_[i].second = value;
          return;
        }
    variables_.emplace_back(name, value);
  }

  Result<Value> pipeline(const Pipeline& pipeline, const Value& dot) {
    Value value = TRY(commands(pipeline, dot));
    if (!pipeline.variables.empty()) bind(pipeline, 0, value);
    return value;
  }

  Result<Value> commands(const Pipeline& pipeline, const Value& dot) {
    std::optional<Value> last;
    for (const Command& command : pipeline.commands) {
      Value value = TRY(this->command(command, dot, last));
      last = value;
    }
    return *last;
  }

  Result<Value> command(const Command& command, const Value& dot,
                        const std::optional<Value>& last) {
    const Operand& head = command.operands.front();
    if (head.kind == Operand::Kind::function) return call(command, dot, last);
    if (command.operands.size() > 1 || last) return method(command, dot, last);
    return operand(head, dot);
  }

  Result<Value> call(const Command& command, const Value& dot, const std::optional<Value>& last) {
    const Operand& head = command.operands.front();
    const Function* function = find_function(head.name);
    std::vector<Value> arguments;
    const bool stops_at_false = head.name == "and";
    const bool short_circuit = stops_at_false || head.name == "or";
    for (size_t i = 1; i < command.operands.size(); ++i) {
      Value value = TRY(operand(command.operands[i], dot));
      if (short_circuit && truth(value) != stops_at_false) return value;
      arguments.push_back(value);
    }
    if (last) arguments.push_back(*last);
    if (arguments.size() < function->least || arguments.size() > function->most)
      return error(head, fmt::format("wrong number of args for {}: want {} got {}", head.name,
                                     function->least, arguments.size()));
    Value value;
    if (options_.headings && function->identity_on_headings) {
      value = arguments.front();
    } else {
      Result<Value> called = function->call(arguments);
      if (!called) return error(head, called.error().message());
      value = called.release();
    }
    return fields(head, value);
  }

  // ".Label "key"": only the root has methods.
  Result<Value> method(const Command& command, const Value& dot, const std::optional<Value>& last) {
    const Operand& head = command.operands.front();
    if (head.kind == Operand::Kind::dot && head.fields.size() == 1 && dot->is_object()) {
      std::string_view name = head.fields[0];
      const json::value* methods = dot->get_object().if_contains(kMethods);
      const json::value* table = methods ? methods->get_object().if_contains(name) : nullptr;
      if (table && command.operands.size() + (last ? 1 : 0) == 2) {
        Value argument = last ? *last : TRY(operand(command.operands[1], dot));
        const json::value* found = argument->is_string()
                                       ? table->get_object().if_contains(argument->get_string())
                                       : nullptr;
        return found ? Value(*found) : Value(json::value(boost::json::string()));
      }
      if (options_.headings) return Value(json::value(boost::json::string(name)));
    }
    if (head.kind == Operand::Kind::literal)
      return error(head, fmt::format("can't give argument to non-function {}", head.source));
    return error(head,
                 fmt::format("{} has arguments but cannot be invoked as function", head.source));
  }

  Result<Value> operand(const Operand& operand, const Value& dot) {
    switch (operand.kind) {
      case Operand::Kind::literal:
        return Value::refer(operand.literal);
      case Operand::Kind::dot:
        return fields(operand, dot);
      case Operand::Kind::variable:
        for (size_t i = variables_.size(); i-- > 0;)
          if (variables_[i].first == operand.name) return fields(operand, variables_[i].second);
        return error(operand, fmt::format("undefined variable: {}", operand.name));
      case Operand::Kind::pipeline: {
        Value value = TRY(pipeline(*operand.pipeline, dot));
        return fields(operand, value);
      }
      case Operand::Kind::function: {
        const Function* function = find_function(operand.name);
        if (function->least > 0)
          return error(operand, fmt::format("wrong number of args for {}: want {} got 0",
                                            operand.name, function->least));
        return function->call({});
      }
    }
    return Value();
  }

  Result<Value> fields(const Operand& operand, Value value) {
    size_t offset = 0;  // of the field in the chain
    for (size_t i = 0; i < operand.fields.size(); ++i) {
      const std::string& name = operand.fields[i];
      auto failed = [&](std::string message) { return error(operand, message, offset); };
      if (value->is_null() || value.is_missing())
        return failed(fmt::format("nil pointer evaluating interface {{}}.{}", name));
      if (!value->is_object())
        return failed(fmt::format("can't evaluate field {} in type interface {{}}", name));
      const bool last = i + 1 == operand.fields.size();
      if (const json::value* found = value->get_object().if_contains(name)) {
        value = Value::part(value, *found, go_kind(name));
      } else if (value.kind() == GoKind::map || options_.headings) {
        value = Value::missing();
      } else if (go_kind(name) != GoKind::plain && last) {
        static const json::value null(nullptr);  // left out because it is empty (omitempty)
        value = Value::refer(null, go_kind(name));
      } else if (options_.missing == MissingField::no_entry) {
        return failed(fmt::format("map has no entry for key \"{}\"", name));
      } else {
        return failed(fmt::format("can't evaluate field {} in type {}", name, options_.type_name));
      }
      offset += name.size() + 1;
    }
    return value;
  }

  static Error error(const Operand& operand, std::string_view message, size_t offset = 0) {
    return invalid("template: :1:{}: executing \"\" at <{}>: {}", operand.column + offset,
                   operand.source, message);
  }

  Value root_;
  const TemplateOptions& options_;
  std::vector<std::pair<std::string, Value>> variables_;
  std::string out_;
};

}  // namespace
}  // namespace tmpl

std::string row_as_json(const json::object& row) {
  json::object sorted;
  for (std::string_view key : tmpl::sorted_keys(row))
    if (key != kMethods) sorted[key] = row.at(key);
  std::string out;
  for (char c : json::serialize(sorted)) {
    if (c == '<' || c == '>' || c == '&')
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out;
}

Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

Result<Template> Template::parse(std::string_view text) {
  Template out;
  out.root_ = TRY(tmpl::parse(text));
  return out;
}

Result<std::string> Template::execute(const json::value& root,
                                      const TemplateOptions& options) const {
  return tmpl::Evaluator(root, options).run(*root_);
}

}  // namespace gantry::client

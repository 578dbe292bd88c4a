// Go's text/template, as far as Docker's --format uses it, over JSON values: fields, variables,
// pipelines, if / else if / with / range / break / continue, trim markers, comments, Go's built-in
// functions and Docker's own (json, split, join, title, lower, upper, pad, truncate). Source:
// https://pkg.go.dev/text/template, https://docs.docker.com/go/formatting/
//
// JSON has no Go types; the ways in which they show are decided by the name of a member (known maps
// print as map[k:v], other objects as {v v}; a null list as [], a null pointer as <nil>): see
// template_value.cc.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace gantry::client {

namespace tmpl {
struct Node;
}

// What a member that is not there means.
enum class MissingField {
  error,     // as for a Go struct: "can't evaluate field Foo in type …"
  no_entry,  // as for inspect: `map has no entry for key "Foo"`
};

struct TemplateOptions {
  MissingField missing = MissingField::error;
  std::string_view type_name = "interface {}";  // how the root is called in errors
  // The template is run over the headings of a table: the functions that change values give their
  // argument back as it is.
  bool headings = false;
};

// A member of a row that holds the methods which take an argument: {"Label": {argument: result}}.
inline constexpr std::string_view kMethods("\0methods", 8);
// A row of a listing as Go marshals it: keys in order, without the methods, with <, > and &
// escaped.
std::string row_as_json(const json::object& row);

class Template {
 public:
  // Errors: invalid, "template: :1: unclosed action".
  static Result<Template> parse(std::string_view text);
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;
  ~Template();

  Result<std::string> execute(const json::value& root, const TemplateOptions& options) const;

 private:
  Template() = default;
  std::unique_ptr<tmpl::Node> root_;
};

}  // namespace gantry::client

// A value during the execution of a template, and how Go would print it. Private to the template
// engine.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace gantry::client::tmpl {

// What Go's type of a JSON value would have been, where that shows.
enum class GoKind { plain, map, pointer };

// Refers to a part of the root, or owns a value that was computed. Cheap to copy.
class Value {
 public:
  Value() : Value(json::value(nullptr)) {}
  explicit Value(json::value own)
      : own_(std::make_shared<json::value>(std::move(own))), value_(own_.get()) {}
  static Value refer(const json::value& value, GoKind kind = GoKind::plain) {
    Value out(nullptr, &value);
    out.kind_ = kind;
    return out;
  }
  // A part of `parent`, which lives as long as this value does.
  static Value part(const Value& parent, const json::value& value, GoKind kind = GoKind::plain) {
    Value out(parent.own_, &value);
    out.kind_ = kind;
    return out;
  }
  static Value missing() {
    Value out;
    out.missing_ = true;
    return out;
  }

  const json::value& get() const { return *value_; }
  const json::value* operator->() const { return value_; }
  GoKind kind() const { return kind_; }
  bool is_missing() const { return missing_; }

 private:
  Value(std::shared_ptr<json::value> own, const json::value* value)
      : own_(std::move(own)), value_(value) {}
  std::shared_ptr<json::value> own_;
  const json::value* value_;
  GoKind kind_ = GoKind::plain;
  bool missing_ = false;
};

// By the name of the member that holds the value, as Docker's API types declare it.
GoKind go_kind(std::string_view member);

bool truth(const Value& value);
// As fmt.Sprint would: strings as they are, [a b], map[k:v] in order of keys, {v v}.
std::string print(const Value& value);
// Go's ordering of basic values: -1, 0, 1; nothing when they cannot be compared.
std::optional<int> compare(const json::value& a, const json::value& b);
std::vector<std::string_view> sorted_keys(const json::object& object);

}  // namespace gantry::client::tmpl

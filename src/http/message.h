// What a request and a response are made of, on both sides of the connection: header fields, the
// target split and decoded, status words. Plain values, no I/O. RFC 9110, RFC 9112, RFC 3986.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace gantry::http {

// Header fields in the order they came. Names compare without regard to case.
class Headers {
 public:
  using Field = std::pair<std::string, std::string>;

  Headers() = default;
  Headers(std::initializer_list<Field> fields) : fields_(fields) {}

  // The first value of `name`, or "" when it is absent.
  std::string_view get(std::string_view name) const;
  bool has(std::string_view name) const;
  // True when a field of this name lists `token` among its comma-separated values ("Connection: a,
  // b").
  bool has_token(std::string_view name, std::string_view token) const;
  void add(std::string name, std::string value);
  // Replaces every field of this name.
  void set(std::string name, std::string value);
  void remove(std::string_view name);

  const std::vector<Field>& fields() const { return fields_; }
  bool empty() const { return fields_.empty(); }

 private:
  std::vector<Field> fields_;
};

// The decoded query of a target: names with any number of values, in order.
class Query {
 public:
  using Item = std::pair<std::string, std::string>;

  // Decodes "a=1&b=x%20y&a=2" ('+' is a space). A bad escape leaves its pair out, as Go's Query()
  // does.
  static Query parse(std::string_view text);

  // The first value, or "" when it is absent.
  std::string_view get(std::string_view name) const;
  bool has(std::string_view name) const;
  std::vector<std::string> all(std::string_view name) const;
  // Docker's boolean form value: absent, "", "0", "no", "false" and "none" are false, all else is
  // true.
  bool flag(std::string_view name) const;

  const std::vector<Item>& items() const { return items_; }

 private:
  std::vector<Item> items_;
};

struct Target {
  std::string path;   // decoded; begins with '/'
  std::string query;  // as sent, without the '?'
};
// Splits an origin-form ("/a?b") or absolute-form ("http://host/a?b") target.
// Errors: invalid for other forms, bad escapes and NUL.
Result<Target> parse_target(std::string_view target);

// %XX is decoded, and '+' to a space when `plus` says so. Errors: invalid for an incomplete escape.
enum class Plus { literal, space };
Result<std::string> percent_decode(std::string_view text, Plus plus = Plus::literal);
// Encodes all but RFC 3986's unreserved characters: fit for a path segment and for a query value.
std::string percent_encode(std::string_view text);

// "Not Found" for 404; "" for a number that has no word.
std::string_view reason(int status);

bool equal_no_case(std::string_view a, std::string_view b);

}  // namespace gantry::http

#include "client/format/template_functions.h"

#include <algorithm>

#include "client/format/template_ast.h"
#include "http/message.h"

namespace gantry::client::tmpl {
namespace {

using Args = std::span<const Value>;

Value text(std::string_view value) { return Value(json::value(boost::json::string(value))); }
Value truth_value(bool value) { return Value(json::value(value)); }

Result<std::string> want_string(const Value& value) {
  if (!value->is_string()) return invalid("wrong type for value; expected string");
  return std::string(value->get_string());
}
Result<int64_t> want_int(const Value& value) {
  if (!value->is_int64()) return invalid("wrong type for value; expected int");
  return value->get_int64();
}

std::string map_bytes(std::string text_in, int (*convert)(int)) {
  for (char& c : text_in)
    if (!(c & 0x80)) c = static_cast<char>(convert(c));
  return text_in;
}
int upper_byte(int c) { return c >= 'a' && c <= 'z' ? c - 32 : c; }
int lower_byte(int c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }

Result<Value> fn_json(Args a) {
  if (a[0]->is_object() && a[0]->get_object().contains(kMethods))
    return text(row_as_json(a[0]->get_object()));
  return text(json::serialize(a[0].get()));
}
Result<Value> fn_lower(Args a) {
  std::string s = TRY(want_string(a[0]));
  return text(map_bytes(std::move(s), lower_byte));
}
Result<Value> fn_upper(Args a) {
  std::string s = TRY(want_string(a[0]));
  return text(map_bytes(std::move(s), upper_byte));
}
Result<Value> fn_title(Args a) {
  std::string s = TRY(want_string(a[0]));
  bool start = true;
  for (char& c : s) {
    if (start) c = static_cast<char>(upper_byte(c));
    start = c == ' ' || c == '\t' || c == '\n' ||
            (std::ispunct(static_cast<unsigned char>(c)) && c != '_' && c != '\'');
  }
  return text(s);
}
Result<Value> fn_split(Args a) {
  std::string s = TRY(want_string(a[0]));
  std::string separator = TRY(want_string(a[1]));
  json::array out;
  size_t start = 0;
  while (true) {
    size_t end =
        separator.empty() ? (start + 1 < s.size() ? start + 1 : s.npos) : s.find(separator, start);
    out.push_back(boost::json::string(s.substr(start, end == s.npos ? s.npos : end - start)));
    if (end == s.npos) break;
    start = end + separator.size();
  }
  return Value(json::value(std::move(out)));
}
Result<Value> fn_join(Args a) {
  std::string separator = TRY(want_string(a[1]));
  std::string out;
  if (a[0]->is_array()) {
    bool first = true;
    for (const json::value& item : a[0]->get_array()) {
      if (!std::exchange(first, false)) out += separator;
      out += print(Value::refer(item));
    }
  } else if (!a[0]->is_null()) {
    return invalid("wrong type for value; expected []string");
  }
  return text(out);
}
Result<Value> fn_pad(Args a) {
  std::string s = TRY(want_string(a[0]));
  int64_t before = TRY(want_int(a[1]));
  int64_t after = TRY(want_int(a[2]));
  if (before < 0 || after < 0 || before + after > 4096) return invalid("pad: bad count");
  if (s.empty()) return text(s);
  return text(std::string(static_cast<size_t>(before), ' ') + s +
              std::string(static_cast<size_t>(after), ' '));
}
Result<Value> fn_truncate(Args a) {
  std::string s = TRY(want_string(a[0]));
  int64_t length = TRY(want_int(a[1]));
  return text(length < 0 ? s : s.substr(0, static_cast<size_t>(length)));
}

Result<Value> fn_len(Args a) {
  const json::value& v = a[0].get();
  if (v.is_string()) return Value(json::value(static_cast<int64_t>(v.get_string().size())));
  if (v.is_array()) return Value(json::value(static_cast<int64_t>(v.get_array().size())));
  if (v.is_object()) return Value(json::value(static_cast<int64_t>(v.get_object().size())));
  if (v.is_null() && !a[0].is_missing()) return Value(json::value(int64_t{0}));
  return invalid("error calling len: len of type {}", v.is_bool()     ? "bool"
                                                      : v.is_double() ? "float64"
                                                                      : "int");
}
Result<Value> fn_index(Args a) {
  Value at = a[0];
  for (const Value& key : a.subspan(1)) {
    if (at->is_array() || at->is_string()) {
      int64_t i = TRY(want_int(key));
      const int64_t size =
          static_cast<int64_t>(at->is_array() ? at->get_array().size() : at->get_string().size());
      if (i < 0 || i >= size) return invalid("error calling index: index out of range: {}", i);
      if (at->is_string())
        return Value(json::value(static_cast<int64_t>(
            static_cast<unsigned char>(at->get_string()[static_cast<size_t>(i)]))));
      at = Value(at->get_array()[static_cast<size_t>(i)]);
    } else if (at->is_object()) {
      std::string name = TRY(want_string(key));
      const json::value* found = at->get_object().if_contains(name);
      at = found ? Value(*found) : text("");  // the zero value of a map of strings
    } else {
      return invalid("error calling index: {}",
                     at->is_null() ? "index of nil pointer" : "can't index item");
    }
  }
  return at;
}
Result<Value> fn_slice(Args a) {
  size_t bounds[2] = {0, 0};
  const bool array = a[0]->is_array();
  if (!array && !a[0]->is_string()) return invalid("error calling slice: can't slice item");
  const size_t size = array ? a[0]->get_array().size() : a[0]->get_string().size();
  bounds[1] = size;
  for (size_t i = 1; i < a.size(); ++i) {
    int64_t index = TRY(want_int(a[i]));
    if (index < 0 || static_cast<size_t>(index) > size)
      return invalid("error calling slice: index out of range: {}", index);
    bounds[i - 1] = static_cast<size_t>(index);
  }
  if (bounds[0] > bounds[1])
    return invalid("error calling slice: invalid slice index: {} > {}", bounds[0], bounds[1]);
  if (!array)
    return text(std::string_view(a[0]->get_string()).substr(bounds[0], bounds[1] - bounds[0]));
  json::array out(a[0]->get_array().begin() + static_cast<std::ptrdiff_t>(bounds[0]),
                  a[0]->get_array().begin() + static_cast<std::ptrdiff_t>(bounds[1]));
  return Value(json::value(std::move(out)));
}

Result<Value> fn_not(Args a) { return truth_value(!truth(a[0])); }
Result<Value> fn_eq(Args a) {
  for (const Value& other : a.subspan(1)) {
    if (a[0].get() == other.get()) return truth_value(true);
    auto order = compare(a[0].get(), other.get());
    if (!order && !a[0]->is_null() && !other->is_null())
      return invalid("error calling eq: incompatible types for comparison");
    if (order == 0) return truth_value(true);
  }
  return truth_value(false);
}
Result<Value> fn_ne(Args a) {
  Value equal = TRY(fn_eq(a));
  return truth_value(!truth(equal));
}
Result<int> ordered(Args a) {
  auto order = compare(a[0].get(), a[1].get());
  if (!order) return invalid("incompatible types for comparison");
  return *order;
}
Result<Value> fn_lt(Args a) {
  int order = TRY(ordered(a));
  return truth_value(order < 0);
}
Result<Value> fn_le(Args a) {
  int order = TRY(ordered(a));
  return truth_value(order <= 0);
}
Result<Value> fn_gt(Args a) {
  int order = TRY(ordered(a));
  return truth_value(order > 0);
}
Result<Value> fn_ge(Args a) {
  int order = TRY(ordered(a));
  return truth_value(order >= 0);
}

// fmt.Sprint: a blank between two operands when neither is a string.
Result<Value> fn_print(Args a) {
  std::string out;
  for (size_t i = 0; i < a.size(); ++i) {
    if (i > 0 && !a[i]->is_string() && !a[i - 1]->is_string()) out += ' ';
    out += print(a[i]);
  }
  return text(out);
}
Result<Value> fn_println(Args a) {
  std::string out;
  for (size_t i = 0; i < a.size(); ++i) {
    if (i > 0) out += ' ';
    out += print(a[i]);
  }
  return text(out + "\n");
}

std::string quote(const Value& value) {
  return json::serialize(json::value(boost::json::string(print(value))));
}

// One verb of a format with its flags and width: "%-10s".
Result<std::string> format_verb(char verb, const Value& value, int precision) {
  const json::value& v = value.get();
  switch (verb) {
    case 'v':
    case 's': {
      std::string out = print(value);
      return precision >= 0 && verb == 's' ? out.substr(0, static_cast<size_t>(precision)) : out;
    }
    case 'd':
      return v.is_int64() || v.is_uint64() ? print(value) : fmt::format("%!d({})", print(value));
    case 'x':
    case 'X': {
      if (v.is_int64()) return fmt::format("{:x}", v.get_int64());
      std::string out;
      for (unsigned char c : print(value)) out += fmt::format("{:02x}", c);
      return out;
    }
    case 'q':
      return quote(value);
    case 't':
      return print(value);
    case 'f':
    case 'e':
    case 'g':
      if (!v.is_number()) return fmt::format("%!{}({})", verb, print(value));
      if (verb == 'f')
        return fmt::format("{:.{}f}", v.to_number<double>(), precision < 0 ? 6 : precision);
      if (precision < 0) return print(value);
      return verb == 'e' ? fmt::format("{:.{}e}", v.to_number<double>(), precision)
                         : fmt::format("{:.{}g}", v.to_number<double>(), precision);
    default:
      return fmt::format("%!{}({})", verb, print(value));
  }
}

Result<Value> fn_printf(Args a) {
  const std::string format = TRY(want_string(a[0]));
  std::string out;
  size_t next = 1;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out += format[i];
      continue;
    }
    bool left = false, zero = false;
    size_t width = 0;
    int precision = -1;
    for (++i; i < format.size() && (format[i] == '-' || format[i] == '0' || format[i] == '+' ||
                                    format[i] == '#' || format[i] == ' ');
         ++i)
      (format[i] == '-' ? left : zero) = format[i] == '-' || format[i] == '0';
    for (; i < format.size() && format[i] >= '0' && format[i] <= '9' && width < 4096; ++i)
      width = width * 10 + static_cast<size_t>(format[i] - '0');
    if (i < format.size() && format[i] == '.')
      for (precision = 0, ++i;
           i < format.size() && format[i] >= '0' && format[i] <= '9' && precision < 4096; ++i)
        precision = precision * 10 + (format[i] - '0');
    if (i >= format.size()) {
      out += "%!(NOVERB)";
      break;
    }
    if (format[i] == '%') {
      out += '%';
      continue;
    }
    if (next >= a.size()) {
      out += fmt::format("%!{}(MISSING)", format[i]);
      continue;
    }
    std::string piece = TRY(format_verb(format[i], a[next++], precision));
    size_t fill = width > piece.size() ? width - piece.size() : 0;
    if (!left) out.append(fill, zero ? '0' : ' ');
    out += piece;
    if (left) out.append(fill, ' ');
  }
  return text(out);
}

Result<Value> fn_html(Args a) {
  std::string out;
  Value plain = TRY(fn_print(a));
  for (char c : print(plain)) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return text(out);
}
Result<Value> fn_urlquery(Args a) {
  Value plain = TRY(fn_print(a));
  return text(http::percent_encode(print(plain)));
}
// `and` and `or` do not get here; they are in the table so that their names are known.
Result<Value> fn_short_circuit(Args a) { return a.back(); }

constexpr size_t kAny = 64;
constexpr Function kFunctions[] = {
    {"and", 1, kAny, fn_short_circuit, false},
    {"eq", 2, kAny, fn_eq, false},
    {"ge", 2, 2, fn_ge, false},
    {"gt", 2, 2, fn_gt, false},
    {"html", 0, kAny, fn_html, false},
    {"index", 1, kAny, fn_index, false},
    {"join", 2, 2, fn_join, true},
    {"json", 1, 1, fn_json, true},
    {"le", 2, 2, fn_le, false},
    {"len", 1, 1, fn_len, false},
    {"lower", 1, 1, fn_lower, true},
    {"lt", 2, 2, fn_lt, false},
    {"ne", 2, 2, fn_ne, false},
    {"not", 1, 1, fn_not, false},
    {"or", 1, kAny, fn_short_circuit, false},
    {"pad", 3, 3, fn_pad, true},
    {"print", 0, kAny, fn_print, false},
    {"printf", 1, kAny, fn_printf, false},
    {"println", 0, kAny, fn_println, false},
    {"slice", 1, 3, fn_slice, false},
    {"split", 2, 2, fn_split, true},
    {"title", 1, 1, fn_title, true},
    {"truncate", 2, 2, fn_truncate, true},
    {"upper", 1, 1, fn_upper, true},
    {"urlquery", 0, kAny, fn_urlquery, false},
};

}  // namespace

const Function* find_function(std::string_view name) {
  for (const Function& function : kFunctions)
    if (function.name == name) return &function;
  return nullptr;
}

bool is_function(std::string_view name) { return find_function(name) != nullptr; }

}  // namespace gantry::client::tmpl

#include "base/json.h"

#include <strings.h>
#include <cmath>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace gantry::json {
namespace {

std::string_view type_name(const value& v) {
  switch (v.kind()) {
    case boost::json::kind::null:
      return "null";
    case boost::json::kind::bool_:
      return "a boolean";
    case boost::json::kind::int64:
    case boost::json::kind::uint64:
      return "an integer";
    case boost::json::kind::double_:
      return "a number";
    case boost::json::kind::string:
      return "a string";
    case boost::json::kind::array:
      return "an array";
    case boost::json::kind::object:
      return "an object";
  }
  return "?";
}

// Go matches a key exactly, or else without regard to case.
const value* find(const object& members, std::string_view name) {
  if (const value* exact = members.if_contains(name)) return exact;
  for (const auto& member : members)
    if (member.key().size() == name.size() &&
        ::strncasecmp(member.key().data(), name.data(), name.size()) == 0)
      return &member.value();
  return nullptr;
}

void write_pretty(std::string& out, const value& v, std::string_view indent, int depth) {
  auto newline = [&](int level) {
    out += '\n';
    for (int i = 0; i < level; ++i) out += indent;
  };
  if (v.is_array() && !v.get_array().empty()) {
    out += '[';
    bool first = true;
    for (const value& item : v.get_array()) {
      if (!std::exchange(first, false)) out += ',';
      newline(depth + 1);
      write_pretty(out, item, indent, depth + 1);
    }
    newline(depth);
    out += ']';
  } else if (v.is_object() && !v.get_object().empty()) {
    out += '{';
    bool first = true;
    for (const auto& member : v.get_object()) {
      if (!std::exchange(first, false)) out += ',';
      newline(depth + 1);
      out += boost::json::serialize(value(member.key()));
      out += ": ";
      write_pretty(out, member.value(), indent, depth + 1);
    }
    newline(depth);
    out += '}';
  } else {
    out += boost::json::serialize(v);
  }
}

}  // namespace

Result<value> parse(std::string_view text) {
  boost::json::error_code failure;
  boost::json::parse_options options;
  options.max_depth = 64;
  value document =
      boost::json::parse(boost::json::string_view(text.data(), text.size()), failure, {}, options);
  if (failure) return invalid("invalid JSON: {}", failure.message());
  return document;
}

std::string serialize(const value& v) { return boost::json::serialize(v); }

std::string pretty(const value& v, std::string_view indent) {
  std::string out;
  write_pretty(out, v, indent, 0);
  return out;
}

Error type_error(std::string_view expected, const value& got) {
  return invalid("expected {}, got {}", expected, type_name(got));
}

Error at_field(Error error, std::string_view name) {
  std::string message(name);
  // A message that begins with a path ("[0].Name: …", "Name: …") continues it; a bare one starts
  // it.
  bool continues = error.message().starts_with('[');
  bool is_path = error.message().find(": ") < error.message().find(' ');
  message += continues ? "" : is_path ? "." : ": ";
  message += error.message();
  return Error(error.kind(), std::move(message), error.code());
}

Status decode_struct(void* out, const value& in, const Field* fields, size_t count) {
  if (in.is_null()) return {};
  if (!in.is_object()) return type_error("an object", in);
  const object& members = in.get_object();
  for (size_t i = 0; i < count; ++i) {
    const Field& field = fields[i];
    const value* member = find(members, field.name);
    if (!member) {
      if (field.flags & kRequired) return invalid("{}: is required", field.name);
      continue;
    }
    Status decoded = field.codec->decode(field.member(out), *member);
    if (!decoded) return at_field(std::move(decoded).error(), field.name);
  }
  return {};
}

object encode_struct(const void* in, const Field* fields, size_t count) {
  object out;
  out.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const Field& field = fields[i];
    const void* member = field.member(const_cast<void*>(in));
    bool empty = (field.flags & (kOmitEmpty | kNullEmpty)) && field.codec->empty(member);
    if (empty && (field.flags & kOmitEmpty)) continue;
    out[field.name] = empty ? value(nullptr) : field.codec->encode(member);
  }
  return out;
}

Status decode_bool(bool& out, const value& in) {
  if (in.is_null()) return {};
  if (!in.is_bool()) return type_error("a boolean", in);
  out = in.get_bool();
  return {};
}

Status decode_int(int64_t& out, const value& in, int64_t lowest, int64_t highest) {
  if (in.is_null()) return {};
  if (in.is_uint64() && in.get_uint64() > static_cast<uint64_t>(highest))
    return invalid("{} is out of range", in.get_uint64());
  if (in.is_int64()) {
    out = in.get_int64();
  } else if (in.is_uint64()) {
    out = static_cast<int64_t>(in.get_uint64());
  } else if (in.is_double() && std::trunc(in.get_double()) == in.get_double() &&
             std::fabs(in.get_double()) < 9e15) {
    out = static_cast<int64_t>(in.get_double());  // 1e3, as some clients write it
  } else {
    return type_error("an integer", in);
  }
  if (out < lowest || out > highest) return invalid("{} is out of range", out);
  return {};
}

Status decode_uint(uint64_t& out, const value& in, uint64_t highest) {
  if (in.is_null()) return {};
  if (in.is_int64()) {
    if (in.get_int64() < 0) return invalid("{} is out of range", in.get_int64());
    out = static_cast<uint64_t>(in.get_int64());
  } else if (in.is_uint64()) {
    out = in.get_uint64();
  } else if (in.is_double() && in.get_double() >= 0 && in.get_double() < 9e15 &&
             std::trunc(in.get_double()) == in.get_double()) {
    out = static_cast<uint64_t>(in.get_double());
  } else {
    return type_error("an integer", in);
  }
  if (out > highest) return invalid("{} is out of range", out);
  return {};
}

Status decode_double(double& out, const value& in) {
  if (in.is_null()) return {};
  if (in.is_double()) {
    out = in.get_double();
  } else if (in.is_int64()) {
    out = static_cast<double>(in.get_int64());
  } else if (in.is_uint64()) {
    out = static_cast<double>(in.get_uint64());
  } else {
    return type_error("a number", in);
  }
  return {};
}

Status decode_string(std::string& out, const value& in) {
  if (in.is_null()) return {};
  if (!in.is_string()) return type_error("a string", in);
  out.assign(in.get_string().data(), in.get_string().size());
  return {};
}

}  // namespace gantry::json

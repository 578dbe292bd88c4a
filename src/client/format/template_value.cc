#include "client/format/template_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/core.h>

namespace gantry::client::tmpl {
namespace {

// Members that are maps in Docker's Go types, and those that are pointers.
constexpr std::string_view kMaps[] = {
    "Annotations",  "Containers", "Data",     "DriverOpts",    "ExposedPorts",
    "Labels",       "Networks",   "Options",  "PortBindings",  "Ports",
    "StorageOpt",   "Sysctls",    "Tmpfs",    "Volumes",       "Attributes",
    "Status",       "Runtimes",   "Services", "DriverOptions", "AuxiliaryAddresses",
    "Config.Labels"};
constexpr std::string_view kPointers[] = {
    "Health",    "Healthcheck", "IPAMConfig", "Init",        "MemorySwappiness", "OomKillDisable",
    "PidsLimit", "SizeRw",      "SizeRootFs", "StopTimeout", "UsageData",        "ContainerConfig"};

std::string print_double(double number) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number > 0 ? "+Inf" : "-Inf";
  char buffer[64];
  const double size = std::fabs(number);
  // %v of a float64 is %g with the shortest digits, with an exponent from 1e21 on and below 1e-4.
  auto format = size != 0 && (size < 1e-4 || size >= 1e21) ? std::chars_format::scientific
                                                           : std::chars_format::fixed;
  auto [end, failure] = std::to_chars(buffer, buffer + sizeof buffer, number, format);
  return std::string(buffer, failure == std::errc() ? end : buffer);
}

void append(std::string& out, const json::value& value, GoKind kind);

void append_object(std::string& out, const json::object& object, GoKind kind) {
  bool first = true;
  if (kind == GoKind::map || object.empty()) {  // a struct without fields would be odd
    out += "map[";
    for (std::string_view key : sorted_keys(object)) {
      if (!std::exchange(first, false)) out += ' ';
      out.append(key).append(":");
      append(out, object.at(key), GoKind::plain);
    }
    out += ']';
    return;
  }
  out += '{';
  for (const auto& member : object) {
    if (!std::exchange(first, false)) out += ' ';
    append(out, member.value(), go_kind(member.key()));
  }
  out += '}';
}

void append(std::string& out, const json::value& value, GoKind kind) {
  switch (value.kind()) {
    case boost::json::kind::null:
      out += kind == GoKind::map ? "map[]" : kind == GoKind::pointer ? "<nil>" : "[]";
      break;
    case boost::json::kind::bool_:
      out += value.get_bool() ? "true" : "false";
      break;
    case boost::json::kind::int64:
      out += fmt::format("{}", value.get_int64());
      break;
    case boost::json::kind::uint64:
      out += fmt::format("{}", value.get_uint64());
      break;
    case boost::json::kind::double_:
      out += print_double(value.get_double());
      break;
    case boost::json::kind::string:
      out.append(value.get_string().data(), value.get_string().size());
      break;
    case boost::json::kind::array: {
      out += '[';
      bool first = true;
      for (const json::value& item : value.get_array()) {
        if (!std::exchange(first, false)) out += ' ';
        append(out, item, GoKind::plain);
      }
      out += ']';
      break;
    }
    case boost::json::kind::object:
      append_object(out, value.get_object(), kind);
      break;
  }
}

}  // namespace

GoKind go_kind(std::string_view member) {
  if (std::ranges::find(kMaps, member) != std::end(kMaps)) return GoKind::map;
  if (std::ranges::find(kPointers, member) != std::end(kPointers)) return GoKind::pointer;
  return GoKind::plain;
}

std::vector<std::string_view> sorted_keys(const json::object& object) {
  std::vector<std::string_view> keys;
  for (const auto& member : object) keys.emplace_back(member.key().data(), member.key().size());
  std::ranges::sort(keys);
  return keys;
}

bool truth(const Value& value) {
  const json::value& v = value.get();
  switch (v.kind()) {
    case boost::json::kind::null:
      return false;
    case boost::json::kind::bool_:
      return v.get_bool();
    case boost::json::kind::int64:
      return v.get_int64() != 0;
    case boost::json::kind::uint64:
      return v.get_uint64() != 0;
    case boost::json::kind::double_:
      return v.get_double() != 0;
    case boost::json::kind::string:
      return !v.get_string().empty();
    case boost::json::kind::array:
      return !v.get_array().empty();
    case boost::json::kind::object:
      return value.kind() != GoKind::map || !v.get_object().empty();  // a struct is always true
  }
  return false;
}

std::string print(const Value& value) {
  if (value.is_missing()) return "<no value>";
  std::string out;
  append(out, value.get(), value.kind());
  return out;
}

std::optional<int> compare(const json::value& a, const json::value& b) {
  auto order = [](const auto& x, const auto& y) { return x < y ? -1 : y < x ? 1 : 0; };
  if (a.is_string() && b.is_string()) return order(a.get_string(), b.get_string());
  if (a.is_bool() && b.is_bool()) return order(a.get_bool(), b.get_bool());
  if (a.is_int64() && b.is_int64()) return order(a.get_int64(), b.get_int64());
  if (a.is_number() && b.is_number()) return order(a.to_number<double>(), b.to_number<double>());
  if (a.is_null() && b.is_null()) return 0;
  return std::nullopt;
}

}  // namespace gantry::client::tmpl

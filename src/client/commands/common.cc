#include <algorithm>

#include "client/commands/commands.h"

namespace gantry::client {
namespace {

const json::value kNull;

const json::object& members(const json::value& object) {
  static const json::object empty;
  return object.is_object() ? object.get_object() : empty;
}
const json::value& member_of(const json::object& object, std::string_view member) {
  const json::value* found = object.if_contains(member);
  return found ? *found : kNull;
}

}  // namespace

Result<int> for_each_name(const Arguments& names, EchoNames echo,
                          const std::function<Status(const std::string&)>& one) {
  int status = 0;
  for (const std::string& name : names) {
    Status done = one(name);
    if (done) {
      if (echo == EchoNames::yes) print_out("{}\n", name);
      continue;
    }
    if (done.error().kind() == ErrorKind::unavailable) return std::move(done).error();  // no daemon
    print_error(done.error().message());
    status = kExitFailure;
  }
  return status;
}

std::string text_of(const json::object& object, std::string_view member) {
  const json::value& found = member_of(object, member);
  return found.is_string() ? std::string(found.get_string()) : "";
}

int64_t number_of(const json::object& object, std::string_view member) {
  const json::value& found = member_of(object, member);
  if (!found.is_number()) return 0;
  boost::json::error_code failure;
  int64_t value = found.to_number<int64_t>(failure);
  return failure ? static_cast<int64_t>(found.to_number<double>(failure)) : value;
}

bool flag_of(const json::object& object, std::string_view member) {
  const json::value& found = member_of(object, member);
  return found.is_bool() && found.get_bool();
}

const json::object& object_of(const json::object& object, std::string_view member) {
  return members(member_of(object, member));
}

const json::array& array_of(const json::object& object, std::string_view member) {
  static const json::array empty;
  const json::value& found = member_of(object, member);
  return found.is_array() ? found.get_array() : empty;
}

std::string text_of(const json::value& object, std::string_view member) {
  return text_of(members(object), member);
}
int64_t number_of(const json::value& object, std::string_view member) {
  return number_of(members(object), member);
}
bool flag_of(const json::value& object, std::string_view member) {
  return flag_of(members(object), member);
}
const json::object& object_of(const json::value& object, std::string_view member) {
  return object_of(members(object), member);
}
const json::array& array_of(const json::value& object, std::string_view member) {
  return array_of(members(object), member);
}

std::string comma_pairs(const json::object& labels) {
  std::vector<std::string> pairs;
  for (const auto& label : labels)
    pairs.push_back(
        fmt::format("{}={}", std::string_view(label.key()),
                    label.value().is_string() ? std::string_view(label.value().get_string()) : ""));
  std::ranges::sort(pairs);
  std::string out;
  for (const std::string& pair : pairs) out += (out.empty() ? "" : ",") + pair;
  return out;
}

const Command& in_group(std::span<const Command> group, std::string_view name) {
  return *std::ranges::find(group, name, &Command::name);
}

}  // namespace gantry::client

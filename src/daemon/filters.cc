#include "daemon/filters.h"

#include <algorithm>
#include <cstdlib>

#include "base/clock.h"
#include "base/units.h"

namespace gantry::daemon {
namespace {

bool has_label(const std::map<std::string, std::string>& labels, const std::string& wanted) {
  size_t equals = wanted.find('=');
  auto found = labels.find(wanted.substr(0, equals));
  return found != labels.end() &&
         (equals == std::string::npos || found->second == wanted.substr(equals + 1));
}

}  // namespace

Status check_filter_keys(const FilterMap& filters, std::initializer_list<std::string_view> known) {
  for (const auto& [key, values] : filters)
    if (std::find(known.begin(), known.end(), key) == known.end())
      return invalid("invalid filter '{}'", key);
  return {};
}

bool matches_labels(const FilterMap& filters, const std::map<std::string, std::string>& labels) {
  if (auto wanted = filters.find("label"); wanted != filters.end())
    for (const std::string& label : wanted->second)
      if (!has_label(labels, label)) return false;
  if (auto unwanted = filters.find("label!"); unwanted != filters.end())
    for (const std::string& label : unwanted->second)
      if (has_label(labels, label)) return false;
  return true;
}

Result<int64_t> until_filter(const FilterMap& filters) {
  auto found = filters.find("until");
  if (found == filters.end() || found->second.empty()) return int64_t{0};
  if (found->second.size() > 1) return invalid("more than one until filter specified");
  const std::string& text = found->second.front();
  if (Result<int64_t> back = parse_duration(text)) return now_ns() - *back;
  if (!text.empty() && text.find_first_not_of("0123456789.") == std::string::npos)
    return static_cast<int64_t>(std::strtod(text.c_str(), nullptr) * 1e9);
  return parse_time(text).context("invalid value for until filter");
}

}  // namespace gantry::daemon

// Filters of list and prune requests: {"label": ["a=b", "c"], "until": ["24h"], …}.
#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gantry::daemon {

using FilterMap = std::map<std::string, std::vector<std::string>>;

// `invalid` "invalid filter 'x'" for a key that is not among `known`.
Status check_filter_keys(const FilterMap& filters, std::initializer_list<std::string_view> known);
// All of "label" must be there ("key" or "key=value"), none of "label!".
bool matches_labels(const FilterMap& filters, const std::map<std::string, std::string>& labels);
// The time named by "until": a Go duration back from now, seconds since the epoch or RFC 3339; 0:
// none.
Result<int64_t> until_filter(const FilterMap& filters);

}  // namespace gantry::daemon

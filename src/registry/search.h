// Searching an index of images: the version 1 search API, which is what there is ("GET
// /v1/search?q=…&n=…"; docker.io's index is index.docker.io).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "registry/auth.h"
#include "registry/hosts.h"

namespace gantry::registry {

struct SearchQuery {
  std::string term;                                         // "HOST/term" asks that host's index
  int64_t limit = 0;                                        // 1 to 100; 0: 25
  std::map<std::string, std::vector<std::string>> filters;  // is-official, is-automated, stars
};

// The elements of the index's "results", as they are shown.
Result<json::array> search(Hosts& hosts, const SearchQuery& query, const AuthConfig& credentials,
                           int cancel_fd);

}  // namespace gantry::registry

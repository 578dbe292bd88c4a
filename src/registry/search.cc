#include "registry/search.h"

#include <charconv>

#include "base/base64.h"
#include "registry/errors.h"

namespace gantry::registry {
namespace {

constexpr size_t kAnswerLimit = 4u << 20;
constexpr std::string_view kIndex = "https://index.docker.io/";

struct SearchFilter {
  std::optional<bool> official;
  std::optional<bool> automated;
  int64_t stars = 0;
};

Result<bool> parse_bool(const std::string& key, const std::string& value) {
  if (value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  return invalid("invalid filter '{}={}'", key, value);
}

Result<SearchFilter> parse_filter(const SearchQuery& query) {
  SearchFilter filter;
  for (const auto& [key, values] : query.filters) {
    for (const std::string& value : values) {
      if (key == "is-official") {
        filter.official = TRY(parse_bool(key, value));
      } else if (key == "is-automated") {
        filter.automated = TRY(parse_bool(key, value));
      } else if (key == "stars") {
        auto [end, error] =
            std::from_chars(value.data(), value.data() + value.size(), filter.stars);
        if (error != std::errc() || end != value.data() + value.size())
          return invalid("invalid filter 'stars={}'", value);
      } else {
        return invalid("invalid filter '{}'", key);
      }
    }
  }
  return filter;
}

bool flag_of(const json::object& item, const char* name) {
  const json::value* found = item.if_contains(name);
  return found != nullptr && found->is_bool() && found->get_bool();
}

json::object shown(const json::object& item) {
  auto text = [&](const char* name) -> std::string {
    const json::value* found = item.if_contains(name);
    return found != nullptr && found->is_string() ? std::string(found->get_string()) : "";
  };
  const json::value* stars = item.if_contains("star_count");
  return {{"star_count", stars != nullptr && stars->is_int64() ? stars->get_int64() : 0},
          {"is_official", flag_of(item, "is_official")},
          {"name", text("name")},
          {"is_automated", flag_of(item, "is_automated")},
          {"description", text("description")}};
}

}  // namespace

Result<json::array> search(Hosts& hosts, const SearchQuery& query, const AuthConfig& credentials,
                           int cancel_fd) {
  constexpr int64_t kDefaultLimit = 25;
  constexpr int64_t kMaxLimit = 100;
  if (query.term.empty()) return invalid("search term must not be empty");
  if (query.term.find("://") != std::string::npos)
    return invalid("invalid repository name: repository name ({}) should not have a scheme",
                   query.term);
  int64_t limit = query.limit == 0 ? kDefaultLimit : query.limit;
  if (limit < 1 || limit > kMaxLimit)
    return invalid("Limit {} is outside the range of [1, {}]", limit, kMaxLimit);
  SearchFilter filter = TRY(parse_filter(query));
  std::string term = query.term;
  std::vector<http::Url> places;
  size_t slash = term.find('/');
  std::string host = slash == std::string::npos ? "" : term.substr(0, slash);
  if (host.find_first_of(".:") != std::string::npos || host == "localhost") {
    term.erase(0, slash + 1);
    if (host == "docker.io" || host == "index.docker.io") host.clear();
  } else {
    host.clear();
  }
  if (host.empty()) {
    if (term.starts_with("library/")) term.erase(0, 8);
    places.push_back(TRY(http::Url::parse(kIndex)));
  } else {
    std::vector<Endpoint> endpoints = TRY(hosts.endpoints(host, Hosts::Use::push));
    for (Endpoint& endpoint : endpoints) places.push_back(std::move(endpoint.base));
  }
  std::optional<Error> failure;
  for (const http::Url& place : places) {
    http::Agent::Request request;
    request.url = place;
    request.url.target = fmt::format("/v1/search?q={}&n={}", http::percent_encode(term), limit);
    if (!credentials.username.empty())
      request.headers.add("Authorization", "Basic " + base64_encode(credentials.username + ":" +
                                                                    credentials.password));
    Result<http::Agent::Response> response = hosts.agent().send(request, cancel_fd);
    if (!response) {
      if (!failure) failure = std::move(response).error();
      continue;
    }
    if (response->status != 200)
      return make_error(ErrorKind::internal, "Unexpected status code {}", response->status);
    std::string body = TRY(response->read_all(kAnswerLimit));
    json::value document = TRY(json::parse(body).context("search at {}", place.origin()));
    const json::object* answer = document.if_object();
    const json::value* results = answer == nullptr ? nullptr : answer->if_contains("results");
    json::array out;
    if (results == nullptr || !results->is_array()) return out;
    for (const json::value& item : results->get_array()) {
      if (!item.is_object()) continue;
      json::object one = shown(item.get_object());
      if (filter.official && one["is_official"].get_bool() != *filter.official) continue;
      if (filter.automated && one["is_automated"].get_bool() != *filter.automated) continue;
      if (one["star_count"].get_int64() < filter.stars) continue;
      out.push_back(std::move(one));
      if (static_cast<int64_t>(out.size()) == limit) break;
    }
    return out;
  }
  return failure ? std::move(*failure) : internal("search: no index");
}

}  // namespace gantry::registry

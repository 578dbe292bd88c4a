#include "registry_server/route.h"

#include "image/reference.h"

namespace gantry::registry_server {
namespace {

constexpr size_t kMaxName = 255;

bool word(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*
bool is_component(std::string_view text) {
  size_t at = 0;
  while (true) {
    size_t start = at;
    while (at < text.size() && word(text[at])) ++at;
    if (at == start) return false;
    if (at == text.size()) return true;
    if (text[at] == '-') {
      while (at < text.size() && text[at] == '-') ++at;
    } else if (text.substr(at, 2) == "__") {
      at += 2;
    } else if (text[at] == '.' || text[at] == '_') {
      ++at;
    } else {
      return false;
    }
  }
}

// Takes the last "/part" off `path`.
std::string_view take_last(std::string_view& path) {
  size_t slash = path.rfind('/');
  std::string_view last = path.substr(slash == std::string_view::npos ? 0 : slash + 1);
  path = path.substr(0, slash == std::string_view::npos ? 0 : slash);
  return last;
}

}  // namespace

std::string_view to_string(Resource resource) {
  switch (resource) {
    case Resource::none:
      return "none";
    case Resource::base:
      return "base";
    case Resource::catalog:
      return "catalog";
    case Resource::blob:
      return "blob";
    case Resource::uploads:
    case Resource::upload:
      return "upload";
    case Resource::manifest:
      return "manifest";
    case Resource::tags:
      return "tags";
    case Resource::referrers:
      return "referrers";
    case Resource::token:
      return "token";
    case Resource::health:
      return "health";
    case Resource::metrics:
      return "metrics";
  }
  return "none";
}

Route parse_route(std::string_view path) {
  if (path == "/v2/" || path == "/v2") return {Resource::base, "", ""};
  if (path == "/v2/_catalog") return {Resource::catalog, "", ""};
  if (path == "/token") return {Resource::token, "", ""};
  if (path == "/health") return {Resource::health, "", ""};
  if (path == "/metrics") return {Resource::metrics, "", ""};
  if (!path.starts_with("/v2/")) return {};
  std::string_view rest = path.substr(4);
  std::string_view last = take_last(rest);
  std::string_view before = rest;
  std::string_view kind = take_last(before);
  auto route = [](Resource resource, std::string_view name, std::string_view reference) {
    return Route{resource, std::string(name), std::string(reference)};
  };
  if (kind == "tags" && last == "list") return route(Resource::tags, before, "");
  if (kind == "manifests" && !last.empty()) return route(Resource::manifest, before, last);
  if (kind == "referrers" && !last.empty()) return route(Resource::referrers, before, last);
  if (kind == "blobs" && last == "uploads") return route(Resource::uploads, before, "");
  if (kind == "blobs" && !last.empty()) return route(Resource::blob, before, last);
  if (kind == "uploads") {
    std::string_view name = before;
    if (take_last(name) == "blobs")
      return route(last.empty() ? Resource::uploads : Resource::upload, name, last);
  }
  return {};
}

Status check_repository(std::string_view name) {
  if (name.empty() || name.size() > kMaxName)
    return invalid("a repository's name has 1 to {} characters", kMaxName);
  std::string_view rest = name;
  while (true) {
    size_t slash = rest.find('/');
    if (!is_component(rest.substr(0, slash)))
      return invalid(
          "'{}' is no repository name: lower-case letters and digits, joined by '.', "
          "'_', '__' or '-', in parts joined by '/'",
          name);
    if (slash == std::string_view::npos) return {};
    rest.remove_prefix(slash + 1);
  }
}

bool is_tag(std::string_view text) { return image::check_tag(text).has_value(); }

bool is_digest_form(std::string_view reference) {
  return reference.find(':') != std::string_view::npos;
}

}  // namespace gantry::registry_server

// From a request's path to what it names. Pure functions.
//
// The last parts of a path say what it is, because a repository may be called "a/blobs/b":
// /v2/<name>/blobs/<digest>, /v2/<name>/blobs/uploads/[<id>], /v2/<name>/manifests/<reference>,
// /v2/<name>/tags/list, /v2/<name>/referrers/<digest>.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry::registry_server {

enum class Resource {
  none,
  base,      // /v2/
  catalog,   // /v2/_catalog
  blob,      // reference is a digest
  uploads,   // where uploads are started
  upload,    // reference is an upload's id
  manifest,  // reference is a tag or a digest
  tags,
  referrers,  // reference is a digest
  token,
  health,
  metrics,
};
std::string_view to_string(Resource resource);

struct Route {
  Resource resource = Resource::none;
  std::string repository;
  std::string reference;
};

// `path` is decoded. Nothing is checked but the form: resource `none` for a path that is no
// endpoint.
Route parse_route(std::string_view path);

// The specification's grammar of <name>, 255 characters at most. Errors: invalid.
Status check_repository(std::string_view name);
bool is_tag(std::string_view text);
bool is_digest_form(std::string_view reference);  // has a colon: cannot be a tag

}  // namespace gantry::registry_server

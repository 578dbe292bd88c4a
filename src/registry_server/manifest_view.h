// What a registry has to know of a manifest or index: its kind, what it refers to, what it is
// about. The bytes themselves are stored as they came.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "registry_server/content_digest.h"

namespace gantry::registry_server {

inline constexpr size_t kManifestLimit = 4u << 20;

struct ManifestReference {
  ContentDigest digest;
  bool manifest = false;  // by its media type it is a manifest or an index
  bool foreign = false;   // a layer that is not to be distributed: need not be here
};

struct ManifestView {
  std::string media_type;
  bool index = false;
  std::string artifact_type;  // the document's own, else the config's type; "" for an index without
  std::map<std::string, std::string> annotations;
  std::vector<ManifestReference> references;  // without the subject, each digest once
  ContentDigest subject;                      // empty: none

  // Refuses what two readers could understand differently: both an image and an index
  // (GHSA-5j5w-g665-5m35), a name given twice or in another case, a type that contradicts the
  // content or `content_type` (the request's; "" when there was none). Schema 1 is refused by name.
  // Errors: invalid, unsupported. Memory: a small multiple of the text, which the caller bounds.
  static Result<ManifestView> parse(std::string_view text, std::string_view content_type = "");
};

bool is_manifest_type(std::string_view media_type);

}  // namespace gantry::registry_server

#include "image/manifest.h"

namespace gantry::image {

Result<Manifest> Manifest::parse(std::string_view blob) {
  Manifest manifest = TRY(json::parse<Manifest>(blob).context("manifest"));
  if (manifest.schema_version == 1)
    return unsupported("manifest: Docker's schema 1 is no longer supported");
  if (manifest.schema_version != 2)
    return invalid("manifest: schemaVersion {} is not known", manifest.schema_version);
  bool image = manifest.config || manifest.layers;
  if (image && manifest.manifests) return invalid("manifest: it is both an image and an index");
  if (!image && !manifest.manifests)
    return invalid("manifest: it is neither an image nor an index");
  if (image && !(manifest.config && manifest.layers))
    return invalid("manifest: config or layers is missing");
  const std::string& type = manifest.media_type;
  bool says_index = type == kOciIndex || type == kDockerList;
  bool says_image = type == kOciManifest || type == kDockerManifest;
  if ((says_index && image) || (says_image && !image))
    return invalid("manifest: it contradicts its media type {}", type);
  return manifest;
}

std::string blob_path(const Digest& digest) { return "blobs/sha256/" + digest.hex(); }

}  // namespace gantry::image

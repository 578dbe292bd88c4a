// Manifests and indexes (image-spec manifest.md, image-index.md; Docker's schema 2) and the
// manifest.json of `docker save`.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/json.h"

namespace gantry::image {

inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kOciLayer = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kDockerManifest =
    "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerList =
    "application/vnd.docker.distribution.manifest.list.v2+json";

struct Platform {
  std::string architecture;
  std::string os;
  std::string variant;
};

struct Descriptor {
  std::string media_type;
  std::string digest;
  int64_t size = 0;
  std::map<std::string, std::string> annotations;
  std::optional<Platform> platform;
  std::vector<std::string> urls;  // of a foreign layer
  std::string artifact_type;      // of a manifest, in a list of referrers
};

// Either a manifest (config and layers) or an index (manifests).
struct Manifest {
  int schema_version = 0;
  std::string media_type;
  std::optional<Descriptor> config;
  std::optional<std::vector<Descriptor>> layers;
  std::optional<std::vector<Descriptor>> manifests;
  std::map<std::string, std::string> annotations;

  bool is_index() const { return manifests.has_value(); }
  // Refuses schema 1, a document that could be read as both kinds (GHSA-5j5w-g665-5m35), and one
  // that contradicts its media type.
  static Result<Manifest> parse(std::string_view blob);
};

// Where a layout keeps a blob (image-spec image-layout.md): "blobs/sha256/…".
std::string blob_path(const Digest& digest);

// An element of manifest.json.
struct SavedImage {
  std::string config;
  std::vector<std::string> repo_tags;
  std::vector<std::string> layers;
};

}  // namespace gantry::image

namespace gantry::json {
template <>
struct Schema<image::Platform> {
  using T = image::Platform;
  static constexpr Field fields[] = {field<&T::architecture>("architecture"), field<&T::os>("os"),
                                     field<&T::variant>("variant", kOmitEmpty)};
};
template <>
struct Schema<image::Descriptor> {
  using T = image::Descriptor;
  static constexpr Field fields[] = {field<&T::media_type>("mediaType", kOmitEmpty),
                                     field<&T::digest>("digest", kRequired),
                                     field<&T::size>("size", kRequired),
                                     field<&T::annotations>("annotations", kOmitEmpty),
                                     field<&T::platform>("platform", kOmitEmpty),
                                     field<&T::urls>("urls", kOmitEmpty),
                                     field<&T::artifact_type>("artifactType", kOmitEmpty)};
};
template <>
struct Schema<image::Manifest> {
  using T = image::Manifest;
  static constexpr Field fields[] = {field<&T::schema_version>("schemaVersion"),
                                     field<&T::media_type>("mediaType", kOmitEmpty),
                                     field<&T::config>("config", kOmitEmpty),
                                     field<&T::layers>("layers", kOmitEmpty),
                                     field<&T::manifests>("manifests", kOmitEmpty),
                                     field<&T::annotations>("annotations", kOmitEmpty)};
};
template <>
struct Schema<image::SavedImage> {
  using T = image::SavedImage;
  static constexpr Field fields[] = {field<&T::config>("Config", kRequired),
                                     field<&T::repo_tags>("RepoTags", kNullEmpty),
                                     field<&T::layers>("Layers")};
};
}  // namespace gantry::json

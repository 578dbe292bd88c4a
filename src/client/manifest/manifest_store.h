// Manifest lists that are being put together, in Docker's form, so that either client goes on with
// what the other began: one directory per list in DIRECTORY/manifests, one JSON file per manifest
// in it, both named by their references with ":" and "/" replaced. Nothing of it is the daemon's.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "image/reference.h"

namespace gantry::client {

// As an index has them (image-spec image-index.md), in Docker's order.
struct ManifestPlatform {
  std::string architecture;
  std::string os;
  std::string os_version;
  std::vector<std::string> os_features;
  std::string variant;
};

struct ManifestDescriptor {
  std::string media_type;
  std::string digest;
  int64_t size = 0;
  std::optional<ManifestPlatform> platform;
};

// One manifest of a list.
struct LocalManifest {
  std::string ref;  // where it was found: "docker.io/library/busybox:latest"
  ManifestDescriptor descriptor;
  std::string raw;  // its bytes, in base64
  std::optional<json::object> docker_manifest;
  std::optional<json::object> oci_manifest;

  // The bytes that the descriptor's digest is of. Errors: invalid.
  Result<std::string> payload() const;
  static LocalManifest of(const image::Reference& ref, ManifestDescriptor descriptor,
                          const std::string& bytes, const json::object& document);
};

// As Go's encoding/json writes it: "<", ">" and "&" as escapes.
std::string go_json(const json::value& document);

class ManifestStore {
 public:
  // The directory of config.json; nothing is made before something is saved.
  explicit ManifestStore(const std::string& config_directory)
      : root_(config_directory + "/manifests") {}

  // In the order of their files' names. Errors: not_found ("No such manifest: …").
  Result<std::vector<LocalManifest>> list(const image::Reference& list) const;
  // The same errors.
  Result<LocalManifest> get(const image::Reference& list, const image::Reference& manifest) const;
  // A reader sees the old file or the new one.
  Status save(const image::Reference& list, const image::Reference& manifest,
              const LocalManifest& what) const;
  Status remove(const image::Reference& list) const;

 private:
  std::string directory_of(const image::Reference& list) const;
  const std::string root_;
};

}  // namespace gantry::client

namespace gantry::json {
template <>
struct Schema<client::ManifestPlatform> {
  using T = client::ManifestPlatform;
  static constexpr Field fields[] = {field<&T::architecture>("architecture"), field<&T::os>("os"),
                                     field<&T::os_version>("os.version", kOmitEmpty),
                                     field<&T::os_features>("os.features", kOmitEmpty),
                                     field<&T::variant>("variant", kOmitEmpty)};
};
template <>
struct Schema<client::ManifestDescriptor> {
  using T = client::ManifestDescriptor;
  static constexpr Field fields[] = {field<&T::media_type>("mediaType"),
                                     field<&T::digest>("digest"), field<&T::size>("size"),
                                     field<&T::platform>("platform", kOmitEmpty)};
};
template <>
struct Schema<client::LocalManifest> {
  using T = client::LocalManifest;
  static constexpr Field fields[] = {field<&T::ref>("Ref"), field<&T::descriptor>("Descriptor"),
                                     field<&T::raw>("Raw", kOmitEmpty),
                                     field<&T::docker_manifest>("SchemaV2Manifest", kOmitEmpty),
                                     field<&T::oci_manifest>("OCIManifest", kOmitEmpty)};
};
}  // namespace gantry::json

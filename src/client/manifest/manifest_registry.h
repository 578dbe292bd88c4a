// What the manifest commands ask of registries. The client asks them itself, as Docker's does: no
// daemon is needed, and no image.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/cli/cli.h"
#include "client/manifest/manifest_store.h"
#include "image/reference.h"
#include "registry/hosts.h"
#include "registry/repository.h"

namespace gantry::client {

enum class Insecure { no, yes };  // yes: plain HTTP, or a certificate that nobody vouches for

// One list and the manifests that it names are of one registry.
class ManifestRegistry {
 public:
  // `domain` is the registry's. Nothing is connected. Credentials are config.json's.
  static Result<std::unique_ptr<ManifestRegistry>> open(Cli& cli, const std::string& domain,
                                                        Insecure insecure);

  // A manifest, with the platform that its config tells; or all that an index names, with the
  // platforms that the index tells. Errors: not_found ("no such manifest: …").
  struct Found {
    bool index = false;
    std::vector<LocalManifest> manifests;
  };
  Result<Found> find(const image::Reference& reference);
  // The same for a manifest only.
  Result<LocalManifest> manifest(const image::Reference& reference);

  // Sends the list to `target`, and what it names before if that is in another repository: blobs
  // are mounted, manifests put; `pushed` is told of each. Gives the list's digest.
  Result<std::string> push(
      const image::Reference& target, const std::vector<LocalManifest>& manifests,
      const std::function<void(const image::Reference&, const std::string&)>& pushed);

 private:
  ManifestRegistry(Cli& cli, std::unique_ptr<registry::Hosts> hosts)
      : cli_(cli), hosts_(std::move(hosts)) {}
  Result<std::unique_ptr<registry::Repository>> repository(const image::Reference& reference,
                                                           registry::Hosts::Use use);

  Cli& cli_;
  std::unique_ptr<registry::Hosts> hosts_;
};

// The bytes of the list as Docker's client writes them, so that it has the same digest. Errors:
// invalid for an image of another registry.
Result<image::RemoteManifest> manifest_list(const image::Reference& target,
                                            const std::vector<LocalManifest>& manifests);

}  // namespace gantry::client

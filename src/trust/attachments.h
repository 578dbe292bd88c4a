// Signatures beside an image in its registry, as cosign keeps them: the manifest at the tag
// "sha256-….sig", whose layers are payloads with the signature as an annotation, and referrers of
// the image (OCI distribution 1.1). Blocking, on the job's thread.
#pragma once

#include <string>
#include <vector>

#include "image/remote.h"
#include "trust/signature.h"

namespace gantry::trust {

inline constexpr std::string_view kPayloadType = "application/vnd.dev.cosign.simplesigning.v1+json";
inline constexpr std::string_view kSignatureAnnotation = "dev.cosignproject.cosign/signature";
inline constexpr std::string_view kSignatureArtifact =
    "application/vnd.dev.cosign.artifact.sig.v1+json";

// "sha256-….sig"
std::string signature_tag(const Digest& image);

// At most kMaxSignatures; what is not a signature, or too large, is passed over.
Result<std::vector<Signature>> find_attached(image::RemoteRepository& remote, const Digest& image);

struct Attached {
  std::string tag;
  Digest manifest;  // at the tag
  Digest referrer;
};
// Adds a signature to those that are at the tag, and as a referrer of the image.
Result<Attached> attach(image::RemoteRepository& remote, const image::RemoteManifest& image,
                        const Signature& signature);

}  // namespace gantry::trust

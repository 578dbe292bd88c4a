// Where an image came from, and what was verified of it then: kept with the image, shown by
// inspect, and asked again when a container is made of it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "image/reference.h"

namespace gantry::image {

// One requirement of a policy that a signature met.
struct Verification {
  std::string rule;         // `docker "reg.example/app": sigstoreSigned`
  std::string type;         // sigstoreSigned, signedBy
  std::string key_id;       // digest of the public key, or the fingerprint of the OpenPGP key
  std::string identity;     // the reference that was signed
  std::string rule_digest;  // of the requirement, its keys, and the name that it was met for
};

// As containers/image names transports: docker (a registry), docker-archive, oci-archive, tarball,
// containers-storage (made here).
struct Origin {
  std::string transport;
  std::string reference;  // of docker: the normalised name, with tag or digest
  std::string digest;     // of docker: what the name stood for
  std::string manifest;   // when that is an index: the image's manifest in it
  std::vector<Verification> verified;
};

// A signature that was verified, to be verified again when the policy has changed. In base64.
struct StoredSignature {
  std::string kind;     // sigstore, gpg
  std::string payload;  // of sigstore; GPG's is within the signature
  std::string signature;
  bool operator==(const StoredSignature&) const = default;
};

// What a policy gives for an image that may come in.
struct Admission {
  Origin origin;
  std::vector<StoredSignature> signatures;
};

// An image that comes without a registry.
struct ArchiveCandidate {
  std::string_view transport;  // docker-archive, oci-archive, tarball
};
using ArchivePolicy = std::function<Result<Admission>(const ArchiveCandidate&)>;

inline constexpr size_t kMaxOrigins = 8;
inline constexpr size_t kMaxStoredSignatures = 16;

}  // namespace gantry::image

namespace gantry::json {
template <>
struct Schema<image::Verification> {
  using T = image::Verification;
  static constexpr Field fields[] = {field<&T::rule>("Rule"), field<&T::type>("Type"),
                                     field<&T::key_id>("KeyID"), field<&T::identity>("Identity"),
                                     field<&T::rule_digest>("RuleDigest")};
};
template <>
struct Schema<image::Origin> {
  using T = image::Origin;
  static constexpr Field fields[] = {
      field<&T::transport>("Transport"), field<&T::reference>("Reference", kOmitEmpty),
      field<&T::digest>("Digest", kOmitEmpty), field<&T::manifest>("Manifest", kOmitEmpty),
      field<&T::verified>("Verified", kOmitEmpty)};
};
template <>
struct Schema<image::StoredSignature> {
  using T = image::StoredSignature;
  static constexpr Field fields[] = {field<&T::kind>("kind"),
                                     field<&T::payload>("payload", kOmitEmpty),
                                     field<&T::signature>("signature")};
};
}  // namespace gantry::json

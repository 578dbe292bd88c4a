// A signature as it was found, and where signatures come from.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "image/origin.h"
#include "trust/payload.h"

namespace gantry::trust {

// Sizes above which a signature is not looked at, and how many of an image's are.
inline constexpr size_t kPayloadLimit = 64u << 10;
inline constexpr size_t kSignatureLimit = 64u << 10;
inline constexpr size_t kMaxSignatures = 64;

struct Signature {
  SignatureKind kind = SignatureKind::sigstore;
  std::string payload;    // of sigstore; GPG's is within the signature
  std::string signature;  // bytes
};

image::StoredSignature to_stored(const Signature& signature);
Result<Signature> from_stored(const image::StoredSignature& stored);

// Asked at most once for each kind, and only when a requirement needs it.
class SignatureSource {
 public:
  virtual ~SignatureSource() = default;
  virtual Result<std::vector<Signature>> find(SignatureKind kind) = 0;
};

// What was kept with an image.
class StoredSignatures final : public SignatureSource {
 public:
  explicit StoredSignatures(const std::vector<image::StoredSignature>& stored) : stored_(stored) {}
  Result<std::vector<Signature>> find(SignatureKind kind) override;

 private:
  const std::vector<image::StoredSignature>& stored_;
};

// For what has no place for signatures: an archive.
class NoSignatures final : public SignatureSource {
 public:
  Result<std::vector<Signature>> find(SignatureKind) override { return std::vector<Signature>(); }
};

}  // namespace gantry::trust

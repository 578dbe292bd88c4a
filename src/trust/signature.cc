#include "trust/signature.h"

#include "base/base64.h"

namespace gantry::trust {

image::StoredSignature to_stored(const Signature& signature) {
  return {signature.kind == SignatureKind::gpg ? "gpg" : "sigstore",
          base64_encode(signature.payload), base64_encode(signature.signature)};
}

Result<Signature> from_stored(const image::StoredSignature& stored) {
  Signature out;
  out.kind = stored.kind == "gpg" ? SignatureKind::gpg : SignatureKind::sigstore;
  out.payload = TRY(base64_decode(stored.payload));
  out.signature = TRY(base64_decode(stored.signature));
  return out;
}

Result<std::vector<Signature>> StoredSignatures::find(SignatureKind kind) {
  std::vector<Signature> out;
  for (const image::StoredSignature& stored : stored_) {
    Signature one = TRY(from_stored(stored));
    if (one.kind == kind) out.push_back(std::move(one));
  }
  return out;
}

}  // namespace gantry::trust

// What is signed: the simple-signing payload (containers/image, "container-signature.5"), with
// cosign's type or GPG's. Values, no I/O.
#pragma once

#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/result.h"

namespace gantry::trust {

enum class SignatureKind { sigstore, gpg };

struct Payload {
  std::string reference;  // "critical.identity.docker-reference", as it stands
  Digest digest;          // "critical.image.docker-manifest-digest"
};

// The bytes that cosign signs.
std::string make_payload(const std::string& reference, const Digest& digest);
// Exactly the members that there may be, of the kind's type; all else is invalid.
Result<Payload> parse_payload(std::string_view bytes, SignatureKind kind);

}  // namespace gantry::trust

// Whether a policy lets an image be used: each requirement of the scope that applies has to be met,
// by a signature where it asks for one. Blocking; thread-safe.
#pragma once

#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "image/origin.h"
#include "trust/policy.h"
#include "trust/signature.h"

namespace gantry::trust {

// What is to be used.
struct Subject {
  std::string transport;
  std::optional<image::Reference> reference;  // of docker: with a tag or a digest
  // Of which a signature may be: the manifest that the name stands for and, of an index, the one
  // for the platform, which the index names by its digest.
  std::vector<Digest> digests;
};

struct Evaluation {
  const Policy& policy;
  std::string policy_name;  // the file, for refusals
  std::string gpg_helper;   // see trust/gpg.h
};

// Refusals are of the kind permission, and one line that names the rule:
//   reg.example/app:1 is refused by the policy /etc/gantry/policy.json, docker "reg.example":
//   sigstoreSigned: there is no signature
// `verified` are verifications of earlier: those that are of the very same requirement, keys and
// name count, and nothing is asked of `source` then. A signature that could not be looked for (a
// registry that does not answer) is that error.
//
// The code of a refusal, which no system call gives: what tells it from other errors.
inline constexpr int kRefusalCode = EKEYREJECTED;
bool is_refusal(const Error& error);
Result<image::Admission> evaluate(const Evaluation& how, const Subject& subject,
                                  const std::vector<image::Verification>& verified,
                                  SignatureSource& source);

// Signatures by one key, without a policy (`image verify --key`): what the signature that was found
// first is for. `identity` empty: the name itself, by tag or repository.
struct KeyVerdict {
  std::string identity;
  Digest digest;
};
Result<std::vector<KeyVerdict>> verify_with_key(const std::string& public_key_pem,
                                                const std::vector<Digest>& digests,
                                                const std::vector<Signature>& signatures);

}  // namespace gantry::trust

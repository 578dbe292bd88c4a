// The policy that says which images may be used, in the form of containers-policy.json(5): a
// default, and for each transport scopes with the requirements of which all must hold.
//
// Parsing is strict: what is not known is an error that names the line and the place, and so is a
// key that stands twice. Requirements that need services (Fulcio, Rekor) are refused by name.
// Values, no I/O.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "image/reference.h"

namespace gantry::trust {

// Which name a signature must be for, given the name that is used.
struct SignedIdentity {
  enum class Type {
    match_exact,
    match_repo_digest_or_exact,
    match_repository,
    exact_reference,
    exact_repository,
    remap_identity,
  };
  Type type = Type::match_repo_digest_or_exact;
  std::optional<image::Reference> exact;  // dockerReference, dockerRepository
  std::string prefix;
  std::string signed_prefix;

  // Whether a signature for `signed_reference` is one for `used`, which has a tag or a digest.
  bool accepts(const image::Reference& used, const std::string& signed_reference) const;
  std::string text() const;  // the same text for the same meaning
};

struct Requirement {
  enum class Type { insecure_accept_anything, reject, signed_by, sigstore_signed };
  Type type = Type::reject;
  int line = 0;
  std::vector<std::string> key_paths;  // absolute
  std::vector<std::string> key_data;   // decoded
  SignedIdentity identity;

  std::string_view type_name() const;
  bool signature() const { return type == Type::signed_by || type == Type::sigstore_signed; }
};
using Requirements = std::vector<Requirement>;

class Policy {
 public:
  // Errors: invalid, "line 7: transports.docker."a/b"[0]: unknown key "keypath"".
  static Result<Policy> parse(std::string_view text);

  // What applies: the requirements, and how to call the rule ("default", `docker "a.example/b"`).
  struct Chosen {
    std::string scope;
    const Requirements* requirements;
  };
  // For docker by the longest scope that is the name or above it: host/ns/repo:tag, host/ns/repo,
  // host/ns, host, *.example, "". Other transports have "" alone.
  Chosen choose(std::string_view transport, const std::optional<image::Reference>& name) const;

  const Requirements& fallback() const { return default_; }
  using Scopes = std::map<std::string, Requirements>;
  const std::map<std::string, Scopes>& transports() const { return transports_; }

 private:
  Requirements default_;
  std::map<std::string, Scopes> transports_;
};

// The scopes that a name falls under, the narrowest first.
std::vector<std::string> scopes_of(const image::Reference& name);

}  // namespace gantry::trust

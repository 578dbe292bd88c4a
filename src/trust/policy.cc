#include "trust/policy.h"

#include "trust/identity_text.h"

namespace gantry::trust {

std::string_view Requirement::type_name() const {
  switch (type) {
    case Type::insecure_accept_anything:
      return "insecureAcceptAnything";
    case Type::reject:
      return "reject";
    case Type::signed_by:
      return "signedBy";
    case Type::sigstore_signed:
      return "sigstoreSigned";
  }
  return "?";
}

namespace {

// A name in a signature, or in the policy: Docker's grammar and normalisation.
std::optional<image::Reference> read_reference(const std::string& text) {
  Result<image::Reference> parsed = image::Reference::parse(text);
  if (!parsed) return std::nullopt;
  return parsed.release();
}

bool exact(const image::Reference& used, const image::Reference& signed_name) {
  return !used.name_only() && !signed_name.name_only() && used.text() == signed_name.text();
}

bool repo_digest_or_exact(const image::Reference& used, const image::Reference& signed_name) {
  // By digest the manifest is named for certain, and only the repository is left to compare.
  if (!used.digest().empty()) return used.name() == signed_name.name();
  return exact(used, signed_name);
}

// The used name as it was when it was signed; what `prefix` does not stand at the head of stays.
std::optional<image::Reference> remapped(const SignedIdentity& identity,
                                         const image::Reference& used) {
  const std::string text = used.text();
  if (!text.starts_with(identity.prefix)) return used;
  std::string rest = text.substr(identity.prefix.size());
  bool at_boundary = rest.empty() || rest[0] == '/' || rest[0] == ':' || rest[0] == '@';
  if (!at_boundary) return used;
  return read_reference(identity.signed_prefix + rest);
}

}  // namespace

bool SignedIdentity::accepts(const image::Reference& used,
                             const std::string& signed_reference) const {
  std::optional<image::Reference> signed_name = read_reference(signed_reference);
  if (!signed_name) return false;
  switch (type) {
    case Type::match_exact:
      return used.digest().empty() && trust::exact(used, *signed_name);
    case Type::match_repo_digest_or_exact:
      return repo_digest_or_exact(used, *signed_name);
    case Type::match_repository:
      return used.name() == signed_name->name();
    case Type::exact_reference:
      return trust::exact(*exact, *signed_name);
    case Type::exact_repository:
      return exact->name() == signed_name->name();
    case Type::remap_identity: {
      std::optional<image::Reference> before = remapped(*this, used);
      return before && repo_digest_or_exact(*before, *signed_name);
    }
  }
  return false;
}

std::string SignedIdentity::text() const {
  std::string out(name_of(type));
  if (exact) out += " " + exact->text();
  if (type == Type::remap_identity) out += " " + prefix + " " + signed_prefix;
  return out;
}

std::vector<std::string> scopes_of(const image::Reference& name) {
  std::vector<std::string> out;
  if (!name.name_only()) out.push_back(name.text());
  std::string at = name.name();
  out.push_back(at);
  for (size_t slash = at.rfind('/'); slash != at.npos; slash = at.rfind('/')) {
    at.resize(slash);
    out.push_back(at);
  }
  at = at.substr(0, at.find(':'));  // as containers/image: wildcards are of hosts without a port
  for (size_t dot = at.find('.'); dot != at.npos; dot = at.find('.')) {
    at.erase(0, dot + 1);
    out.push_back("*." + at);
  }
  return out;
}

Policy::Chosen Policy::choose(std::string_view transport,
                              const std::optional<image::Reference>& name) const {
  auto scopes = transports_.find(std::string(transport));
  if (scopes == transports_.end() && transport == "oci-archive") scopes = transports_.find("oci");
  if (scopes != transports_.end()) {
    std::vector<std::string> wanted;
    if (name) wanted = scopes_of(*name);
    wanted.emplace_back();
    for (const std::string& scope : wanted) {
      auto found = scopes->second.find(scope);
      if (found != scopes->second.end())
        return {fmt::format("{} \"{}\"", scopes->first, scope), &found->second};
    }
  }
  return {"default", &default_};
}

}  // namespace gantry::trust

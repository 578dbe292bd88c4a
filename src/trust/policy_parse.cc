// Reading a policy file.
#include <algorithm>

#include "base/base64.h"
#include "trust/identity_text.h"
#include "trust/key.h"
#include "trust/policy.h"
#include "trust/strict_json.h"

namespace gantry::trust {
namespace {

constexpr size_t kPolicyLimit = 4u << 20;

// The transports of containers/image, so that one file serves its programs too.
constexpr std::string_view kTransports[] = {"atomic",
                                            "containers-storage",
                                            "dir",
                                            "docker",
                                            "docker-archive",
                                            "docker-daemon",
                                            "oci",
                                            "oci-archive",
                                            "openshift",
                                            "ostree",
                                            "sif",
                                            "tarball"};

// Where in the file a value stands, for errors.
struct Place {
  std::string path;
  Error wrong(const StrictJson& at, std::string_view what) const {
    return invalid("line {}: {}: {}", at.line, path.empty() ? "it" : path, what);
  }
  Place below(std::string_view name) const {
    return {path.empty() ? std::string(name) : fmt::format("{}.{}", path, name)};
  }
};

Status only_keys(const StrictJson& object, const Place& place,
                 std::initializer_list<std::string_view> known) {
  if (!object.is_object())
    return place.wrong(object, fmt::format("expected an object, got {}", object.kind_name()));
  for (const auto& [name, member] : object.members)
    if (std::find(known.begin(), known.end(), name) == known.end())
      return place.wrong(member, fmt::format("unknown key \"{}\"", name));
  return {};
}

Result<std::string> text_of(const StrictJson& value, const Place& place) {
  if (!value.is_string())
    return place.wrong(value, fmt::format("expected a string, got {}", value.kind_name()));
  if (value.text.empty()) return place.wrong(value, "it is empty");
  return value.text;
}

Result<std::string> member_text(const StrictJson& object, const Place& place,
                                std::string_view name) {
  const StrictJson* member = object.find(name);
  if (member == nullptr) return place.wrong(object, fmt::format("\"{}\" is missing", name));
  return text_of(*member, place.below(name));
}

Result<std::vector<std::string>> texts_of(const StrictJson& value, const Place& place) {
  if (!value.is_array())
    return place.wrong(value, fmt::format("expected an array, got {}", value.kind_name()));
  if (value.items.empty()) return place.wrong(value, "it is empty");
  std::vector<std::string> out;
  for (const StrictJson& item : value.items) {
    std::string text = TRY(text_of(item, place));
    out.push_back(std::move(text));
  }
  return out;
}

Result<image::Reference> reference_of(const StrictJson& object, const Place& place,
                                      std::string_view name) {
  std::string text = TRY(member_text(object, place, name));
  Result<image::Reference> parsed = image::Reference::parse(text);
  if (!parsed) return place.below(name).wrong(*object.find(name), parsed.error().message());
  return parsed;
}

// A host, with namespaces or not, or a whole name: what a prefix of a remapping may be.
bool is_prefix(const std::string& text) {
  return !text.empty() && !text.starts_with('/') && !text.ends_with('/') &&
         text.find("//") == text.npos && text.find("://") == text.npos &&
         text.find_first_of(" \t@*") == text.npos;
}

Result<SignedIdentity> parse_identity(const StrictJson& value, const Place& place) {
  if (!value.is_object())
    return place.wrong(value, fmt::format("expected an object, got {}", value.kind_name()));
  std::string type = TRY(member_text(value, place, "type"));
  auto known = std::find_if(std::begin(kIdentityTypes), std::end(kIdentityTypes),
                            [&](const auto& one) { return one.first == type; });
  if (known == std::end(kIdentityTypes))
    return place.wrong(value, fmt::format("unknown type \"{}\"", type));
  SignedIdentity out;
  out.type = known->second;
  switch (out.type) {
    case SignedIdentity::Type::exact_reference: {
      TRY(only_keys(value, place, {"type", "dockerReference"}));
      out.exact = TRY(reference_of(value, place, "dockerReference"));
      if (out.exact->name_only())
        return place.wrong(value, "dockerReference has neither a tag nor a digest");
      break;
    }
    case SignedIdentity::Type::exact_repository: {
      TRY(only_keys(value, place, {"type", "dockerRepository"}));
      out.exact = TRY(reference_of(value, place, "dockerRepository"));
      if (!out.exact->name_only())
        return place.wrong(value, "dockerRepository has a tag or digest");
      break;
    }
    case SignedIdentity::Type::remap_identity: {
      TRY(only_keys(value, place, {"type", "prefix", "signedPrefix"}));
      out.prefix = TRY(member_text(value, place, "prefix"));
      out.signed_prefix = TRY(member_text(value, place, "signedPrefix"));
      for (const std::string* prefix : {&out.prefix, &out.signed_prefix})
        if (!is_prefix(*prefix))
          return place.wrong(value, fmt::format("\"{}\" is not the beginning of a name", *prefix));
      break;
    }
    default:
      TRY(only_keys(value, place, {"type"}));
  }
  return out;
}

// keyPath, keyPaths, keyData and keyDatas: just one of them.
Status parse_keys(const StrictJson& value, const Place& place, Requirement& out) {
  const StrictJson* source = nullptr;
  for (const char* name : {"keyPath", "keyPaths", "keyData", "keyDatas"}) {
    const StrictJson* found = value.find(name);
    if (found == nullptr) continue;
    if (source != nullptr)
      return place.wrong(*found,
                         "only one of keyPath, keyPaths, keyData and keyDatas may be given");
    source = found;
  }
  if (source == nullptr)
    return place.wrong(value, "no key: keyPath, keyPaths or keyData is missing");
  std::vector<std::string> data;
  if (value.find("keyPath") != nullptr)
    out.key_paths.push_back(TRY(member_text(value, place, "keyPath")));
  else if (value.find("keyPaths") != nullptr)
    out.key_paths = TRY(texts_of(*source, place.below("keyPaths")));
  else if (value.find("keyData") != nullptr)
    data.push_back(TRY(member_text(value, place, "keyData")));
  else
    data = TRY(texts_of(*source, place.below("keyDatas")));
  for (const std::string& path : out.key_paths)
    if (!path.starts_with('/'))
      return place.wrong(*source, fmt::format("the path \"{}\" is not absolute", path));
  for (const std::string& text : data) {
    Result<std::string> decoded = base64_decode(text);
    if (!decoded) return place.wrong(*source, "the key is not base64");
    if (out.type == Requirement::Type::sigstore_signed) {
      Result<PublicKey> key = PublicKey::parse(*decoded);
      if (!key) return place.wrong(*source, key.error().message());
    }
    out.key_data.push_back(decoded.release());
  }
  return {};
}

Result<Requirement> parse_requirement(const StrictJson& value, const Place& place) {
  if (!value.is_object())
    return place.wrong(value, fmt::format("expected an object, got {}", value.kind_name()));
  Requirement out;
  out.line = value.line;
  std::string type = TRY(member_text(value, place, "type"));
  if (type == "insecureAcceptAnything" || type == "reject") {
    TRY(only_keys(value, place, {"type"}));
    out.type =
        type == "reject" ? Requirement::Type::reject : Requirement::Type::insecure_accept_anything;
    return out;
  }
  for (const char* service : {"fulcio", "rekorPublicKeyPath", "rekorPublicKeyPaths",
                              "rekorPublicKeyData", "rekorPublicKeyDatas", "pki"})
    if (value.find(service) != nullptr && type == "sigstoreSigned")
      return place.wrong(*value.find(service),
                         fmt::format("\"{}\" is not supported: name keys by keyPath", service));
  if (type == "sigstoreSigned") {
    out.type = Requirement::Type::sigstore_signed;
    TRY(only_keys(value, place,
                  {"type", "keyPath", "keyPaths", "keyData", "keyDatas", "signedIdentity"}));
  } else if (type == "signedBy") {
    out.type = Requirement::Type::signed_by;
    TRY(only_keys(value, place,
                  {"type", "keyType", "keyPath", "keyPaths", "keyData", "signedIdentity"}));
    std::string kind = TRY(member_text(value, place, "keyType"));
    if (kind != "GPGKeys")
      return place.wrong(value, fmt::format("keyType \"{}\" is not supported: use GPGKeys", kind));
  } else {
    return place.wrong(value, fmt::format("unknown type \"{}\"", type));
  }
  TRY(parse_keys(value, place, out));
  if (const StrictJson* identity = value.find("signedIdentity"))
    out.identity = TRY(parse_identity(*identity, place.below("signedIdentity")));
  return out;
}

Result<Requirements> parse_requirements(const StrictJson& value, const Place& place) {
  if (!value.is_array())
    return place.wrong(value, fmt::format("expected an array, got {}", value.kind_name()));
  if (value.items.empty())
    return place.wrong(value, "a list of requirements must not be empty: it would allow all");
  Requirements out;
  for (size_t i = 0; i < value.items.size(); ++i) {
    Requirement one =
        TRY(parse_requirement(value.items[i], {fmt::format("{}[{}]", place.path, i)}));
    out.push_back(std::move(one));
  }
  return out;
}

// Whether any name can fall under it; one that none can would be a rule that is never asked.
bool is_docker_scope(const std::string& scope) {
  if (scope.empty()) return true;
  if (scope.starts_with("*."))
    return scope.size() > 2 && scope.find_first_of("/:@*", 1) == scope.npos;
  if (!is_prefix(scope.substr(0, scope.find('@')))) return false;
  size_t slash = scope.find('/');
  return slash == scope.npos || image::Reference::parse(scope).has_value();
}

}  // namespace

Result<Policy> Policy::parse(std::string_view text) {
  if (text.size() > kPolicyLimit) return invalid("line 1: it has more than {} bytes", kPolicyLimit);
  StrictJson document = TRY(StrictJson::parse(text));
  const Place top;
  TRY(only_keys(document, top, {"default", "transports"}));
  Policy out;
  const StrictJson* fallback = document.find("default");
  if (fallback == nullptr) return top.wrong(document, "\"default\" is missing");
  out.default_ = TRY(parse_requirements(*fallback, {"default"}));
  const StrictJson* transports = document.find("transports");
  if (transports == nullptr) return out;
  if (!transports->is_object())
    return Place{"transports"}.wrong(
        *transports, fmt::format("expected an object, got {}", transports->kind_name()));
  for (const auto& [transport, scopes] : transports->members) {
    Place place{"transports." + transport};
    if (std::find(std::begin(kTransports), std::end(kTransports), transport) ==
        std::end(kTransports))
      return place.wrong(scopes, "it is no transport that is known");
    if (!scopes.is_object())
      return place.wrong(scopes, fmt::format("expected an object, got {}", scopes.kind_name()));
    for (const auto& [scope, requirements] : scopes.members) {
      Place inner{fmt::format("transports.{}.\"{}\"", transport, scope)};
      if (transport == "docker" && !is_docker_scope(scope))
        return inner.wrong(requirements,
                           "no name can be in this scope: write HOST[/PATH][:TAG], or *.DOMAIN");
      Requirements list = TRY(parse_requirements(requirements, inner));
      out.transports_[transport].emplace(scope, std::move(list));
    }
  }
  return out;
}

}  // namespace gantry::trust

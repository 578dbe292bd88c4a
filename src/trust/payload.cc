#include "trust/payload.h"

#include "base/json.h"
#include "trust/strict_json.h"

namespace gantry::trust {
namespace {

constexpr std::string_view kCosignType = "cosign container image signature";
constexpr std::string_view kAtomicType = "atomic container signature";

// The members of an object, which has just these; another set of them is an error.
Status exactly_members(const StrictJson& object, std::string_view what,
                       std::initializer_list<std::string_view> names) {
  if (!object.is_object())
    return invalid("payload: {}: expected an object, got {}", what, object.kind_name());
  for (std::string_view name : names)
    if (object.find(name) == nullptr) return invalid("payload: {} has no \"{}\"", what, name);
  if (object.members.size() != names.size())
    return invalid("payload: {} has members that it must not have", what);
  return {};
}

Result<std::string> text_member(const StrictJson& object, std::string_view name) {
  const StrictJson& member = *object.find(name);
  if (!member.is_string())
    return invalid("payload: {}: expected a string, got {}", name, member.kind_name());
  return member.text;
}

}  // namespace

std::string make_payload(const std::string& reference, const Digest& digest) {
  json::object critical;
  critical["identity"] = json::object{{"docker-reference", reference}};
  critical["image"] = json::object{{"docker-manifest-digest", digest.text()}};
  critical["type"] = kCosignType;
  return json::serialize(json::object{{"critical", std::move(critical)}, {"optional", nullptr}});
}

Result<Payload> parse_payload(std::string_view bytes, SignatureKind kind) {
  StrictJson document = TRY(StrictJson::parse(bytes).context("payload"));
  TRY(exactly_members(document, "it", {"critical", "optional"}));
  const StrictJson& critical = *document.find("critical");
  TRY(exactly_members(critical, "critical", {"type", "image", "identity"}));
  const StrictJson& image = *critical.find("image");
  TRY(exactly_members(image, "critical.image", {"docker-manifest-digest"}));
  const StrictJson& identity = *critical.find("identity");
  TRY(exactly_members(identity, "critical.identity", {"docker-reference"}));
  const StrictJson& optional = *document.find("optional");
  if (!optional.is_object() && optional.kind != StrictJson::Kind::null)
    return invalid("payload: optional: expected an object, got {}", optional.kind_name());

  std::string type = TRY(text_member(critical, "type"));
  std::string_view expected = kind == SignatureKind::sigstore ? kCosignType : kAtomicType;
  if (type != expected)
    return invalid("payload: its type is \"{}\", not \"{}\"", type.substr(0, 64), expected);
  Payload out;
  std::string digest = TRY(text_member(image, "docker-manifest-digest"));
  out.digest = TRY(Digest::parse(digest).context("payload"));
  out.reference = TRY(text_member(identity, "docker-reference"));
  return out;
}

}  // namespace gantry::trust

#include "trust/evaluate.h"

#include <algorithm>

#include "base/fs.h"
#include "trust/gpg.h"
#include "trust/key.h"

namespace gantry::trust {
namespace {

constexpr size_t kKeyFileLimit = 1u << 20;
constexpr size_t kReasonsTold = 3;

Error refused(std::string why) { return Error(ErrorKind::permission, std::move(why)); }

class Evaluator {
 public:
  Evaluator(const Evaluation& how, const Subject& subject,
            const std::vector<image::Verification>& verified, SignatureSource& source)
      : how_(how), subject_(subject), verified_(verified), source_(source) {}

  Result<image::Admission> run() {
    out_.origin.transport = subject_.transport;
    if (subject_.reference) out_.origin.reference = subject_.reference->text();
    if (!subject_.digests.empty()) out_.origin.digest = subject_.digests.front().text();
    if (subject_.digests.size() > 1) out_.origin.manifest = subject_.digests[1].text();
    chosen_ = how_.policy.choose(subject_.transport, subject_.reference);
    for (const Requirement& requirement : *chosen_.requirements) {
      Status met = meet(requirement);
      if (met) continue;
      if (met.error().kind() == ErrorKind::cancelled) return std::move(met).error();
      ErrorKind kind = met.error().kind() == ErrorKind::unavailable ? ErrorKind::unavailable
                                                                    : ErrorKind::permission;
      return Error(kind,
                   fmt::format("{} is refused by the policy {}, {}: {}", subject_name(),
                               how_.policy_name, rule(requirement), met.error().message()),
                   kind == ErrorKind::permission ? kRefusalCode : met.error().code());
    }
    return std::move(out_);
  }

 private:
  std::string subject_name() const {
    if (subject_.reference) return subject_.reference->familiar();
    if (subject_.transport.empty()) return "an image whose origin is not known";
    if (subject_.transport == "containers-storage") return "an image that was made here";
    return fmt::format("an image from a {}", subject_.transport);
  }
  std::string rule(const Requirement& requirement) const {
    return fmt::format("{}: {}", chosen_.scope, requirement.type_name());
  }

  Status meet(const Requirement& requirement) {
    if (requirement.type == Requirement::Type::insecure_accept_anything) return {};
    if (requirement.type == Requirement::Type::reject) return refused("it allows no image");
    if (!subject_.reference)
      return refused("only images that are pulled from a registry have signatures");
    std::vector<std::string> keys = TRY(keys_of(requirement));
    std::string digest = digest_of(requirement, keys);
    auto known = std::find_if(verified_.begin(), verified_.end(),
                              [&](const auto& one) { return one.rule_digest == digest; });
    if (known != verified_.end()) {
      out_.origin.verified.push_back(*known);
      return {};
    }
    return look_for(requirement, keys, digest);
  }

  Result<std::vector<std::string>> keys_of(const Requirement& requirement) const {
    std::vector<std::string> keys = requirement.key_data;
    for (const std::string& path : requirement.key_paths) {
      Result<std::string> key = fs::read_file(path, kKeyFileLimit);
      if (!key) return refused(fmt::format("key {}", key.error().message()));
      keys.push_back(key.release());
    }
    return keys;
  }

  std::string digest_of(const Requirement& requirement,
                        const std::vector<std::string>& keys) const {
    Sha256 hash;
    auto add = [&](std::string_view part) {
      hash.update(fmt::format("{}:", part.size()));
      hash.update(part);
    };
    add(requirement.type_name());
    add(requirement.identity.text());
    add(subject_.reference->text());
    for (const std::string& key : keys) add(key);
    return hash.finish().text();
  }

  Status look_for(const Requirement& requirement, const std::vector<std::string>& keys,
                  const std::string& digest) {
    SignatureKind kind = requirement.type == Requirement::Type::signed_by ? SignatureKind::gpg
                                                                          : SignatureKind::sigstore;
    std::vector<Signature> found = TRY(source_.find(kind).context("looking for signatures"));
    std::vector<std::string> reasons;
    for (const Signature& signature : found) {
      Result<image::Verification> good = kind == SignatureKind::gpg
                                             ? check_gpg(requirement, keys, signature)
                                             : check_sigstore(requirement, keys, signature);
      if (good) {
        good->rule = rule(requirement);
        good->type = requirement.type_name();
        good->rule_digest = digest;
        out_.origin.verified.push_back(good.release());
        out_.signatures.push_back(to_stored(signature));
        return {};
      }
      ErrorKind why = good.error().kind();
      if (why == ErrorKind::cancelled || why == ErrorKind::unavailable)
        return std::move(good).error();
      if (std::find(reasons.begin(), reasons.end(), good.error().message()) == reasons.end())
        reasons.push_back(good.error().message());
    }
    if (found.empty()) return refused("there is no signature");
    std::string told;
    for (size_t i = 0; i < std::min(reasons.size(), kReasonsTold); ++i)
      told += (i == 0 ? "" : "; ") + reasons[i];
    if (reasons.size() > kReasonsTold) told += "; and others";
    return refused(std::move(told));
  }

  Result<image::Verification> check_sigstore(const Requirement& requirement,
                                             const std::vector<std::string>& keys,
                                             const Signature& signature) const {
    std::string id;
    for (const std::string& text : keys) {
      PublicKey key = TRY(PublicKey::parse(text).context("key"));
      if (key.verify(signature.payload, signature.signature)) {
        id = key.id();
        break;
      }
    }
    if (id.empty())
      return refused("a signature was made by another key, or what was signed has been changed");
    return check_payload(requirement, signature.payload, SignatureKind::sigstore, std::move(id));
  }

  Result<image::Verification> check_gpg(const Requirement& requirement,
                                        const std::vector<std::string>& keys,
                                        const Signature& signature) const {
    OpenPgpMessage message = TRY(verify_openpgp(how_.gpg_helper, keys, signature.signature));
    return check_payload(requirement, message.content, SignatureKind::gpg, message.fingerprint);
  }

  // Of a payload whose signature is good.
  Result<image::Verification> check_payload(const Requirement& requirement, std::string_view bytes,
                                            SignatureKind kind, std::string key_id) const {
    Payload payload = TRY(parse_payload(bytes, kind));
    if (std::find(subject_.digests.begin(), subject_.digests.end(), payload.digest) ==
        subject_.digests.end())
      return refused(fmt::format("a signature is for the manifest {}", payload.digest.text()));
    if (!requirement.identity.accepts(*subject_.reference, payload.reference))
      return refused(fmt::format("a signature is for \"{}\", which {} does not take for this name",
                                 clean(payload.reference), requirement.identity.text()));
    image::Verification out;
    out.key_id = std::move(key_id);
    out.identity = payload.reference;
    return out;
  }

  // It goes into a line of ours.
  static std::string clean(const std::string& text) {
    std::string out = text.substr(0, 256);
    std::replace_if(
        out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
    return out;
  }

  const Evaluation& how_;
  const Subject& subject_;
  const std::vector<image::Verification>& verified_;
  SignatureSource& source_;
  Policy::Chosen chosen_{"", nullptr};
  image::Admission out_;
};

}  // namespace

Result<image::Admission> evaluate(const Evaluation& how, const Subject& subject,
                                  const std::vector<image::Verification>& verified,
                                  SignatureSource& source) {
  return Evaluator(how, subject, verified, source).run();
}

bool is_refusal(const Error& error) {
  return error.kind() == ErrorKind::permission && error.code() == kRefusalCode;
}

Result<std::vector<KeyVerdict>> verify_with_key(const std::string& public_key_pem,
                                                const std::vector<Digest>& digests,
                                                const std::vector<Signature>& signatures) {
  PublicKey key = TRY(PublicKey::parse(public_key_pem));
  std::vector<KeyVerdict> out;
  for (const Signature& signature : signatures) {
    if (signature.kind != SignatureKind::sigstore) continue;
    if (!key.verify(signature.payload, signature.signature)) continue;
    Payload payload = TRY(parse_payload(signature.payload, SignatureKind::sigstore));
    if (std::find(digests.begin(), digests.end(), payload.digest) == digests.end()) continue;
    out.push_back({payload.reference, payload.digest});
  }
  return out;
}

}  // namespace gantry::trust

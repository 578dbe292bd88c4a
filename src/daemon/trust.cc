#include "daemon/trust.h"

#include <algorithm>

#include "base/base64.h"
#include "daemon/options.h"
#include "engine/engine.h"
#include "image/platform.h"
#include "registry/repository.h"
#include "trust/attachments.h"
#include "trust/remote_signatures.h"

namespace gantry::daemon {
namespace {

constexpr const char* kUsualPolicy = "/etc/gantry/policy.json";
constexpr size_t kProvedLimit = 1024;

bool accepts_all(const trust::Requirements& requirements) {
  return std::all_of(requirements.begin(), requirements.end(), [](const auto& one) {
    return one.type == trust::Requirement::Type::insecure_accept_anything;
  });
}

image::Origin origin_of(std::string_view transport) {
  image::Origin origin;
  origin.transport = transport;
  return origin;
}

}  // namespace

// An image in its registry.
struct Trust::Remote {
  image::Reference reference;
  std::unique_ptr<registry::Repository> repository;
  image::RemoteManifest named;
  std::vector<Digest> digests;  // of `named` and, of an index, of the manifest for this machine
};

Result<std::unique_ptr<trust::PolicyFile>> Trust::read_policy(const Options& options) {
  const bool named = !options.policy_file.empty();
  return trust::PolicyFile::open(named ? options.policy_file : std::string(kUsualPolicy), named);
}

std::unique_ptr<Trust> Trust::create(engine::Engine& engine, image::ImageStore& store,
                                     registry::Hosts& hosts, const Options& options,
                                     std::unique_ptr<trust::PolicyFile> policy) {
  std::unique_ptr<Trust> trust(new Trust(hosts, options));
  trust->store_ = &store;
  trust->file_ = std::move(policy);
  Trust* self = trust.get();
  store.set_pull_policy([self](engine::JobContext& job,
                               const image::PullCandidate& candidate) -> Result<image::Admission> {
    int cancel_fd = TRY(job.cancel().fd());
    return self->admit(candidate, cancel_fd);
  });
  store.set_archive_policy(
      [self](const image::ArchiveCandidate& candidate) { return self->admit_archive(candidate); });
  engine.add<ImageSign>([self](auto& job, auto input) { return self->sign(job, std::move(input)); },
                        {.job_class = engine::JobClass::transfer});
  return trust;
}

trust::Evaluation Trust::evaluation(const trust::Policy& policy) const {
  return {policy, file_->path(), "/proc/self/exe"};
}

Result<image::Admission> Trust::admit(const image::PullCandidate& candidate, int cancel_fd) {
  trust::Subject subject{"docker", candidate.reference, {candidate.named.digest}};
  if (candidate.manifest.digest != candidate.named.digest)
    subject.digests.push_back(candidate.manifest.digest);
  std::shared_ptr<const trust::Policy> policy = file_->current();
  if (!policy) {
    image::Admission out;
    out.origin = origin_of(subject.transport);
    out.origin.reference = candidate.reference.text();
    out.origin.digest = subject.digests.front().text();
    if (subject.digests.size() > 1) out.origin.manifest = subject.digests.back().text();
    return out;
  }
  trust::RemoteSignatures source(candidate.remote, candidate.reference, subject.digests,
                                 hosts_.agent(), {options_.registries_dirs, cancel_fd});
  return trust::evaluate(evaluation(*policy), subject, {}, source);
}

Result<image::Admission> Trust::admit_archive(const image::ArchiveCandidate& candidate) {
  trust::Subject subject{std::string(candidate.transport), std::nullopt, {}};
  std::shared_ptr<const trust::Policy> policy = file_->current();
  if (!policy) {
    image::Admission out;
    out.origin = origin_of(candidate.transport);
    return out;
  }
  trust::NoSignatures none;
  return trust::evaluate(evaluation(*policy), subject, {}, none);
}

bool Trust::is_refusal(const Error& error) { return trust::is_refusal(error); }

Status Trust::check_use(const std::string& name) {
  if (!file_->current()) return {};
  image::Image image = TRY(store_->find(name));
  return check_use(image);
}

// One origin that the policy takes is enough: it is the same image, whatever its names.
Status Trust::check_use(const image::Image& image) {
  std::shared_ptr<const trust::Policy> policy = file_->current();
  if (!policy) return {};
  std::vector<image::Origin> origins = image.origins;
  if (origins.empty()) origins.emplace_back();  // before there were origins: the default applies
  std::optional<Error> refusal;
  for (auto origin = origins.rbegin(); origin != origins.rend(); ++origin) {
    Status used = use_from(*policy, *origin, image);
    if (used) return {};
    if (used.error().kind() != ErrorKind::permission) return used;
    if (!refusal) refusal = std::move(used).error();
  }
  return std::move(*refusal);
}

Status Trust::use_from(const trust::Policy& policy, const image::Origin& origin,
                       const image::Image& image) {
  trust::Subject subject;
  subject.transport = origin.transport;
  if (!origin.reference.empty()) subject.reference = TRY(image::Reference::parse(origin.reference));
  trust::Policy::Chosen chosen = policy.choose(subject.transport, subject.reference);
  if (accepts_all(*chosen.requirements)) return {};
  // The manifests that it came by, which its content was checked against.
  for (const std::string* digest : {&origin.digest, &origin.manifest}) {
    if (digest->empty()) continue;
    Digest one = TRY(Digest::parse(*digest));
    subject.digests.push_back(std::move(one));
  }
  const std::string key = image.id.text() + " " + origin.reference;
  std::vector<image::Verification> verified = origin.verified;
  {
    std::lock_guard lock(mutex_);
    auto known = proved_.find(key);
    if (known != proved_.end())
      verified.insert(verified.end(), known->second.begin(), known->second.end());
  }
  trust::StoredSignatures stored(image.signatures);
  Result<image::Admission> admitted =
      trust::evaluate(evaluation(policy), subject, verified, stored);
  if (!admitted) {
    bool asks = std::any_of(chosen.requirements->begin(), chosen.requirements->end(),
                            [](const auto& one) { return one.signature(); });
    if (!asks || !subject.reference || admitted.error().kind() != ErrorKind::permission)
      return std::move(admitted).error();
    return Error(ErrorKind::permission,
                 fmt::format("{} (of what was kept when it was pulled: pull it again)",
                             admitted.error().message()),
                 trust::kRefusalCode);
  }
  std::lock_guard lock(mutex_);
  if (proved_.size() > kProvedLimit) proved_.clear();
  proved_[key] = std::move(admitted->origin.verified);
  return {};
}

json::object Trust::show() {
  std::shared_ptr<const trust::Policy> policy = file_->current();
  json::object out;
  out["Path"] = file_->path();
  out["InForce"] = policy != nullptr;
  out["Error"] = file_->error();
  auto list = [](const trust::Requirements& requirements) {
    json::array all;
    for (const trust::Requirement& one : requirements) {
      json::object entry{{"Type", one.type_name()}};
      if (one.signature()) {
        json::array paths;
        for (const std::string& path : one.key_paths) paths.emplace_back(path);
        entry["KeyPaths"] = std::move(paths);
        entry["InlineKeys"] = static_cast<int64_t>(one.key_data.size());
        entry["SignedIdentity"] = one.identity.text();
      }
      all.push_back(std::move(entry));
    }
    return all;
  };
  json::array rules;
  if (policy) {
    rules.push_back(json::object{
        {"Transport", "all"}, {"Scope", "default"}, {"Requirements", list(policy->fallback())}});
    for (const auto& [transport, scopes] : policy->transports())
      for (const auto& [scope, requirements] : scopes)
        rules.push_back(json::object{
            {"Transport", transport}, {"Scope", scope}, {"Requirements", list(requirements)}});
  }
  out["Rules"] = std::move(rules);
  return out;
}

Result<Trust::Remote> Trust::find_remote(const std::string& name,
                                         const registry::AuthConfig& credentials) {
  Remote out;
  out.reference = TRY(image::Reference::parse(name));
  out.reference = out.reference.with_default_tag();
  registry::RepositoryOptions options;
  options.credentials = credentials;
  out.repository = TRY(registry::Repository::open(hosts_, out.reference, std::move(options)));
  const std::string& at =
      out.reference.digest().empty() ? out.reference.tag() : out.reference.digest();
  Result<image::RemoteManifest> found = out.repository->manifest(at);
  if (!found) return registry::explain_pull(std::move(found).error(), out.reference);
  out.named = found.release();
  out.digests = {out.named.digest};
  image::Manifest manifest =
      TRY(image::Manifest::parse(out.named.bytes).context("{}", out.reference.familiar()));
  if (!manifest.is_index()) return out;
  image::Platform here = image::host_platform();
  const image::Descriptor* entry = image::choose(*manifest.manifests, here);
  if (entry == nullptr) return out;
  Digest digest = TRY(Digest::parse(entry->digest));
  out.digests.push_back(std::move(digest));
  return out;
}

Result<json::object> Trust::signatures(const std::string& name,
                                       const registry::AuthConfig& credentials) {
  Remote remote = TRY(find_remote(name, credentials));
  json::array digests, found;
  for (const Digest& digest : remote.digests) {
    digests.emplace_back(digest.text());
    std::vector<trust::Signature> all = TRY(trust::find_attached(*remote.repository, digest));
    for (const trust::Signature& one : all)
      found.push_back(json::object{{"Payload", base64_encode(one.payload)},
                                   {"Signature", base64_encode(one.signature)}});
  }
  return json::object{{"Reference", remote.reference.text()},
                      {"Digests", std::move(digests)},
                      {"Signatures", std::move(found)}};
}

Result<json::object> Trust::verify(const std::string& name,
                                   const registry::AuthConfig& credentials) {
  std::shared_ptr<const trust::Policy> policy = file_->current();
  if (!policy) return invalid("there is no policy at {}: verify with a key (--key)", file_->path());
  Remote remote = TRY(find_remote(name, credentials));
  trust::Subject subject{"docker", remote.reference, remote.digests};
  trust::RemoteSignatures source(*remote.repository, remote.reference, remote.digests,
                                 hosts_.agent(), {options_.registries_dirs, -1});
  image::Admission admitted = TRY(trust::evaluate(evaluation(*policy), subject, {}, source));
  trust::Policy::Chosen chosen = policy->choose("docker", remote.reference);
  return json::object{{"Policy", file_->path()},
                      {"Scope", chosen.scope},
                      {"Origin", json::encode(admitted.origin)}};
}

Result<ImageSign::Output> Trust::sign(engine::JobContext& job, ImageSign::Input input) {
  trust::Signature signature;
  signature.payload = TRY(base64_decode(input.payload).context("payload"));
  signature.signature = TRY(base64_decode(input.signature).context("signature"));
  if (signature.payload.size() > trust::kPayloadLimit ||
      signature.signature.size() > trust::kSignatureLimit)
    return invalid("the signature is too large");
  trust::Payload payload =
      TRY(trust::parse_payload(signature.payload, trust::SignatureKind::sigstore));
  image::Reference reference = TRY(image::Reference::parse(input.image));
  registry::RepositoryOptions options;
  options.use = registry::Hosts::Use::push;
  options.credentials = input.credentials;
  options.cancel_fd = TRY(job.cancel().fd());
  auto repository = TRY(registry::Repository::open(hosts_, reference, std::move(options)));
  Result<image::RemoteManifest> found = repository->manifest(payload.digest.text());
  if (!found) return registry::explain_pull(std::move(found).error(), reference);
  trust::Attached attached = TRY(trust::attach(*repository, *found, signature));
  return ImageSign::Output{attached.tag, attached.manifest.text(), attached.referrer.text()};
}

}  // namespace gantry::daemon

// What lies beside an image in its repository: referrers, and signatures that a registry keeps.
#include "base/base64.h"
#include "registry/errors.h"
#include "registry/repository.h"

namespace gantry::registry {
namespace {

constexpr size_t kListLimit = 4u << 20;
constexpr size_t kMaxReferrers = 10'000;

// OpenShift's extension: GET /extensions/v2/NAME/signatures/DIGEST.
struct KeptSignature {
  std::string type;
  std::string content;  // base64
};
struct KeptSignatures {
  std::vector<KeptSignature> signatures;
};

}  // namespace
}  // namespace gantry::registry

template <>
struct gantry::json::Schema<gantry::registry::KeptSignature> {
  using T = gantry::registry::KeptSignature;
  static constexpr Field fields[] = {field<&T::type>("type"), field<&T::content>("content")};
};
template <>
struct gantry::json::Schema<gantry::registry::KeptSignatures> {
  using T = gantry::registry::KeptSignatures;
  static constexpr Field fields[] = {field<&T::signatures>("signatures")};
};

namespace gantry::registry {

Result<image::Referrers> Repository::referrers(const Digest& subject) {
  image::Referrers out;
  std::string path = below("referrers/" + subject.text());
  while (!path.empty()) {
    Ask request{.path = path};
    request.headers.add("Accept", std::string(image::kOciIndex));
    http::Agent::Response response = TRY(ask(request));
    // What registries say that do not know the question.
    bool unknown = response.status == 404 || response.status == 400 || response.status == 405;
    if (unknown && out.manifests.empty()) break;
    if (response.status != 200) return error_of(response);
    std::string next = next_page(response.headers);
    http::Url url = response.url;
    std::string text =
        TRY(response.read_all(kListLimit).context("referrers of {}", subject.text()));
    image::Manifest index =
        TRY(image::Manifest::parse(text).context("referrers of {}", subject.text()));
    if (!index.is_index()) return invalid("referrers of {}: it is not an index", subject.text());
    for (image::Descriptor& one : *index.manifests) out.manifests.push_back(std::move(one));
    out.by_api = true;
    if (next.empty() || out.manifests.size() > kMaxReferrers) return out;
    http::Url resolved = TRY(url.resolve(next).context("referrers of {}", subject.text()));
    if (resolved.origin() != url.origin() || resolved.target == url.target)
      return invalid("referrers of {}: the registry's next page leads to {}", subject.text(),
                     resolved.text());
    path = resolved.text();
  }
  Result<image::RemoteManifest> tagged = manifest("sha256-" + subject.hex());
  if (!tagged && tagged.error().kind() == ErrorKind::not_found) return out;
  image::RemoteManifest at = TRY(std::move(tagged));
  Result<image::Manifest> index = image::Manifest::parse(at.bytes);
  if (index && index->is_index()) out.manifests = std::move(*index->manifests);
  return out;
}

Result<std::vector<std::string>> Repository::kept_signatures(const Digest& digest) {
  std::vector<std::string> out;
  bool kept = false;
  {
    std::lock_guard lock(mutex_);
    for (const std::shared_ptr<Place>& place : places_) kept = kept || place->keeps_signatures;
  }
  if (!kept) return out;
  Ask request{.path =
                  fmt::format("/extensions/v2/{}/signatures/{}", reference_.path(), digest.text())};
  http::Agent::Response response = TRY(ask(request));
  if (response.status == 404) return out;
  if (response.status != 200) return error_of(response);
  std::string text = TRY(response.read_all(kListLimit).context("signatures of {}", digest.text()));
  KeptSignatures list =
      TRY(json::parse<KeptSignatures>(text).context("signatures of {}", digest.text()));
  for (const KeptSignature& one : list.signatures) {
    if (one.type != "atomic") continue;
    Result<std::string> bytes = base64_decode(one.content);
    if (bytes) out.push_back(bytes.release());
  }
  return out;
}

}  // namespace gantry::registry

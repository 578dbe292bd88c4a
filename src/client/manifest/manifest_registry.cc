#include "client/manifest/manifest_registry.h"

#include "client/commands/pull.h"
#include "client/format/json_text.h"
#include "image/manifest.h"
#include "registry/errors.h"

namespace gantry::client {
namespace {

constexpr size_t kConfigLimit = 8u << 20;
constexpr size_t kListLimit = 1000;  // manifests of an index that are fetched to be shown

struct ListEntry {
  std::string media_type;
  std::string digest;
  int64_t size = 0;
  ManifestPlatform platform;  // always there, be it empty
};
struct IndexDocument {
  std::vector<ManifestDescriptor> manifests;
};
struct ListDocument {
  int schema_version = 2;
  std::string media_type;
  std::vector<ListEntry> manifests;
};

Error no_such(const image::Reference& reference) {
  return not_found("no such manifest: {}", reference.text());
}

// Docker tells of all of these that there is no such manifest.
bool is_absence(const Error& error) {
  return registry::is_manifest_unknown(error) || registry::is_name_unknown(error) ||
         (registry::is_denied(error) && !registry::lacks_credentials(error));
}

Result<image::RemoteManifest> fetch(registry::Repository& repository,
                                    const image::Reference& reference) {
  Result<image::RemoteManifest> found =
      repository.manifest(reference.digest().empty() ? reference.tag() : reference.digest());
  if (!found && is_absence(found.error())) return no_such(reference);
  return found;
}

// What the config says of a platform: its members have the names that an index's have.
Result<ManifestPlatform> platform_of(registry::Repository& repository,
                                     const image::Descriptor& config) {
  std::unique_ptr<ByteSource> source = TRY(repository.blob(config, 0));
  const std::string bytes = TRY(read_all(*source, kConfigLimit));
  if (Digest::of(bytes).text() != config.digest)
    return invalid("config {}: its bytes have another digest", config.digest);
  return json::parse<ManifestPlatform>(bytes).context("config {}", config.digest);
}

Result<LocalManifest> describe(registry::Repository& repository, const image::Reference& reference,
                               const image::RemoteManifest& found, const image::Manifest& manifest,
                               std::optional<ManifestPlatform> platform) {
  ManifestDescriptor descriptor;
  descriptor.media_type = manifest.media_type.empty() ? found.media_type : manifest.media_type;
  descriptor.digest = found.digest.text();
  descriptor.size = static_cast<int64_t>(found.bytes.size());
  ManifestPlatform own = TRY(platform_of(repository, *manifest.config));
  descriptor.platform = platform ? std::move(*platform) : std::move(own);
  json::value document = TRY(json::parse(found.bytes));
  return LocalManifest::of(reference, std::move(descriptor), found.bytes, document.get_object());
}

std::vector<image::Descriptor> blobs_of(const image::Manifest& manifest) {
  std::vector<image::Descriptor> out = *manifest.layers;
  out.push_back(*manifest.config);
  return out;
}

}  // namespace
}  // namespace gantry::client

template <>
struct gantry::json::Schema<gantry::client::ListEntry> {
  using T = gantry::client::ListEntry;
  static constexpr Field fields[] = {
      field<&T::media_type>("mediaType", kOmitEmpty), field<&T::size>("size"),
      field<&T::digest>("digest", kOmitEmpty), field<&T::platform>("platform")};
};
template <>
struct gantry::json::Schema<gantry::client::IndexDocument> {
  static constexpr Field fields[] = {field<&gantry::client::IndexDocument::manifests>("manifests")};
};
template <>
struct gantry::json::Schema<gantry::client::ListDocument> {
  using T = gantry::client::ListDocument;
  static constexpr Field fields[] = {field<&T::schema_version>("schemaVersion"),
                                     field<&T::media_type>("mediaType", kOmitEmpty),
                                     field<&T::manifests>("manifests")};
};

namespace gantry::client {

Result<image::RemoteManifest> manifest_list(const image::Reference& target,
                                            const std::vector<LocalManifest>& manifests) {
  ListDocument document;
  document.media_type = image::kDockerList;
  if (!manifests.empty() && manifests.front().descriptor.media_type == image::kOciManifest)
    document.media_type = image::kOciIndex;
  for (const LocalManifest& one : manifests) {
    image::Reference ref = TRY(image::Reference::parse(one.ref));
    if (ref.domain() != target.domain())
      return invalid(
          "cannot use source images from a different registry than the target image: {} != {}",
          ref.domain(), target.domain());
    TRY(Digest::parse(one.descriptor.digest).context("digest parse of image {:?} failed", one.ref));
    document.manifests.push_back({one.descriptor.media_type, one.descriptor.digest,
                                  one.descriptor.size,
                                  one.descriptor.platform.value_or(ManifestPlatform())});
  }
  image::RemoteManifest out;
  out.media_type = document.media_type;
  out.bytes = indent_json(json::dump(document), "   ");
  out.digest = Digest::of(out.bytes);
  return out;
}

Result<std::unique_ptr<ManifestRegistry>> ManifestRegistry::open(Cli& cli,
                                                                 const std::string& domain,
                                                                 Insecure insecure) {
  registry::HostOptions options;
  if (insecure == Insecure::yes) options.insecure.push_back(domain);
  std::unique_ptr<registry::Hosts> hosts = TRY(registry::Hosts::create(std::move(options)));
  return std::unique_ptr<ManifestRegistry>(new ManifestRegistry(cli, std::move(hosts)));
}

Result<std::unique_ptr<registry::Repository>> ManifestRegistry::repository(
    const image::Reference& reference, registry::Hosts::Use use) {
  registry::RepositoryOptions options;
  options.use = use;
  options.credentials = TRY(registry::AuthConfig::decode(registry_auth(cli_, reference.text())));
  return registry::Repository::open(*hosts_, reference, std::move(options));
}

Result<ManifestRegistry::Found> ManifestRegistry::find(const image::Reference& reference) {
  auto remote = TRY(repository(reference, registry::Hosts::Use::pull));
  image::RemoteManifest found = TRY(fetch(*remote, reference));
  image::Manifest manifest =
      TRY(image::Manifest::parse(found.bytes).context("{}", reference.text()));
  Found out;
  out.index = manifest.is_index();
  if (!out.index) {
    LocalManifest one = TRY(describe(*remote, reference, found, manifest, std::nullopt));
    out.manifests.push_back(std::move(one));
    return out;
  }
  if (manifest.manifests->size() > kListLimit)
    return invalid("{} names {} manifests: more than {} are not looked up", reference.text(),
                   manifest.manifests->size(), kListLimit);
  IndexDocument index =
      TRY(json::parse<IndexDocument>(found.bytes).context("{}", reference.text()));
  for (const ManifestDescriptor& entry : index.manifests) {
    TRY(Digest::parse(entry.digest).context("{}", reference.text()));
    // With its tag, as Docker's client names it.
    const std::string named =
        reference.digest().empty() ? reference.text() : reference.without_digest().text();
    image::Reference ref = TRY(image::Reference::parse(named + "@" + entry.digest));
    image::RemoteManifest bytes = TRY(fetch(*remote, ref));
    image::Manifest inner = TRY(image::Manifest::parse(bytes.bytes).context("{}", ref.text()));
    if (inner.is_index()) return unsupported("{}: an index in an index", ref.text());
    LocalManifest one =
        TRY(describe(*remote, ref, bytes, inner, entry.platform.value_or(ManifestPlatform())));
    out.manifests.push_back(std::move(one));
  }
  return out;
}

Result<LocalManifest> ManifestRegistry::manifest(const image::Reference& reference) {
  auto remote = TRY(repository(reference, registry::Hosts::Use::pull));
  image::RemoteManifest found = TRY(fetch(*remote, reference));
  image::Manifest manifest =
      TRY(image::Manifest::parse(found.bytes).context("{}", reference.text()));
  if (manifest.is_index()) return invalid("{} is a manifest list", reference.text());
  return describe(*remote, reference, found, manifest, std::nullopt);
}

Result<std::string> ManifestRegistry::push(
    const image::Reference& target, const std::vector<LocalManifest>& manifests,
    const std::function<void(const image::Reference&, const std::string&)>& pushed) {
  image::RemoteManifest list = TRY(manifest_list(target, manifests));
  struct Elsewhere {
    image::Reference from;
    image::RemoteManifest manifest;
    std::vector<image::Descriptor> blobs;
  };
  std::vector<Elsewhere> others;  // all is looked at before anything is sent
  for (const LocalManifest& one : manifests) {
    image::Reference from = TRY(image::Reference::parse(one.ref));
    if (from.name() == target.name()) continue;
    image::RemoteManifest manifest;
    manifest.bytes = TRY(one.payload());
    manifest.digest = TRY(Digest::parse(one.descriptor.digest));
    manifest.media_type = one.descriptor.media_type;
    image::Manifest parsed = TRY(image::Manifest::parse(manifest.bytes).context("{}", one.ref));
    if (parsed.is_index()) return invalid("{} is a manifest list", one.ref);
    others.push_back({std::move(from), std::move(manifest), blobs_of(parsed)});
  }
  auto remote = TRY(repository(target, registry::Hosts::Use::push));
  for (const Elsewhere& one : others)
    for (const image::Descriptor& blob : one.blobs) {
      if (!blob.urls.empty()) continue;  // a foreign layer is where its URLs say
      Digest digest = TRY(Digest::parse(blob.digest));
      bool there = TRY(remote->mount(digest, one.from.path()));
      if (!there) there = TRY(remote->has_blob(digest));
      if (!there)
        return invalid("error mounting {}@{} to {}: the registry does not take it over",
                       one.from.name(), blob.digest, target.name());
    }
  for (const Elsewhere& one : others) {
    TRY(remote->put_manifest(one.manifest.digest.text(), one.manifest));
    pushed(target.with_digest(one.manifest.digest.text()), one.manifest.digest.text());
  }
  TRY(remote->put_manifest(target.digest().empty() ? target.tag() : target.digest(), list));
  return list.digest.text();
}

}  // namespace gantry::client

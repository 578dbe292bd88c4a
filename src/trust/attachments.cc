#include "trust/attachments.h"

#include <algorithm>

#include "base/base64.h"

namespace gantry::trust {
namespace {

constexpr int kAttempts = 4;

// A manifest with the members that ours have and image::Manifest has not.
json::object manifest_of(json::object config, json::array layers) {
  json::object out;
  out["schemaVersion"] = 2;
  out["mediaType"] = image::kOciManifest;
  out["config"] = std::move(config);
  out["layers"] = std::move(layers);
  return out;
}

json::object descriptor(std::string_view type, std::string_view bytes) {
  json::object out;
  out["mediaType"] = type;
  out["size"] = static_cast<int64_t>(bytes.size());
  out["digest"] = Digest::of(bytes).text();
  return out;
}

json::object descriptor_of(const image::RemoteManifest& manifest) {
  return descriptor(manifest.media_type, manifest.bytes);
}

image::RemoteManifest to_remote(const json::object& document, std::string_view type) {
  image::RemoteManifest out;
  out.bytes = json::serialize(document);
  out.digest = Digest::of(out.bytes);
  out.media_type = type;
  return out;
}

// The configuration that cosign writes, so that any client of images can read what is at the tag.
std::string config_for(const std::vector<std::string>& payload_digests) {
  json::array diff_ids, history;
  for (const std::string& digest : payload_digests) {
    diff_ids.emplace_back(digest);
    history.push_back(json::object{{"created", "0001-01-01T00:00:00Z"}});
  }
  json::object out;
  out["architecture"] = "";
  out["created"] = "0001-01-01T00:00:00Z";
  out["history"] = std::move(history);
  out["os"] = "";
  out["rootfs"] = json::object{{"type", "layers"}, {"diff_ids", std::move(diff_ids)}};
  out["config"] = json::object{};
  return json::serialize(out);
}

Status upload(image::RemoteRepository& remote, const std::string& bytes) {
  Digest digest = Digest::of(bytes);
  if (TRY(remote.has_blob(digest))) return {};
  image::BlobOpener open = [&bytes]() -> Result<std::unique_ptr<ByteSource>> {
    return std::unique_ptr<ByteSource>(std::make_unique<MemorySource>(bytes));
  };
  TRY(remote.upload(digest, static_cast<int64_t>(bytes.size()), open, [](int64_t) {}));
  return {};
}

Result<std::optional<image::RemoteManifest>> manifest_if(image::RemoteRepository& remote,
                                                         const std::string& name) {
  Result<image::RemoteManifest> found = remote.manifest(name);
  if (found) return std::optional<image::RemoteManifest>(found.release());
  if (found.error().kind() == ErrorKind::not_found) return std::optional<image::RemoteManifest>();
  return std::move(found).error();
}

Status read_signatures(image::RemoteRepository& remote, const image::RemoteManifest& at,
                       std::vector<Signature>& out) {
  Result<image::Manifest> manifest = image::Manifest::parse(at.bytes);
  if (!manifest || manifest->is_index()) return {};
  for (const image::Descriptor& layer : *manifest->layers) {
    auto annotation = layer.annotations.find(std::string(kSignatureAnnotation));
    if (layer.media_type != kPayloadType || annotation == layer.annotations.end()) continue;
    if (layer.size < 0 || layer.size > static_cast<int64_t>(kPayloadLimit)) continue;
    if (annotation->second.size() > kSignatureLimit || out.size() >= kMaxSignatures) continue;
    Result<std::string> bytes = base64_decode(annotation->second);
    Result<Digest> digest = Digest::parse(layer.digest);
    if (!bytes || !digest) continue;
    auto blob = remote.blob(layer, 0);
    if (!blob && blob.error().kind() == ErrorKind::not_found) continue;
    std::unique_ptr<ByteSource> source = TRY(std::move(blob));
    std::string payload = TRY(read_all(*source, static_cast<size_t>(layer.size)));
    if (Digest::of(payload) != *digest) continue;
    Signature one{SignatureKind::sigstore, std::move(payload), bytes.release()};
    bool twice = std::any_of(out.begin(), out.end(), [&](const Signature& other) {
      return other.payload == one.payload && other.signature == one.signature;
    });
    if (!twice) out.push_back(std::move(one));
  }
  return {};
}

json::object layer_of(const Signature& signature) {
  json::object layer = descriptor(kPayloadType, signature.payload);
  layer["annotations"] = json::object{{kSignatureAnnotation, base64_encode(signature.signature)}};
  return layer;
}

// The layers at the tag with ours behind them; empty when ours is there already.
json::array with_layer(const std::optional<image::RemoteManifest>& at, const json::object& ours) {
  json::array layers;
  if (at) {
    Result<json::value> document = json::parse(at->bytes);
    if (document && document->is_object())
      if (const json::value* list = document->get_object().if_contains("layers"))
        if (list->is_array()) layers = list->get_array();
  }
  for (const json::value& layer : layers)
    if (layer == ours) return {};
  layers.push_back(ours);
  return layers;
}

Status add_to_tag(image::RemoteRepository& remote, const std::string& tag,
                  const Signature& signature, Digest& manifest) {
  const json::object ours = layer_of(signature);
  // Another may be writing the same tag: it is ours when it is still there afterwards.
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::optional<image::RemoteManifest> at = TRY(manifest_if(remote, tag));
    json::array layers = with_layer(at, ours);
    if (layers.empty()) {
      manifest = at->digest;
      return {};
    }
    if (layers.size() > kMaxSignatures)
      return conflict("{} has {} signatures already", tag, layers.size() - 1);
    std::vector<std::string> digests;
    for (const json::value& layer : layers)
      if (const json::value* digest =
              layer.is_object() ? layer.get_object().if_contains("digest") : nullptr)
        if (digest->is_string()) digests.emplace_back(digest->get_string());
    std::string config = config_for(digests);
    TRY(upload(remote, config));
    image::RemoteManifest next = to_remote(
        manifest_of(descriptor(image::kOciConfig, config), std::move(layers)), image::kOciManifest);
    TRY(remote.put_manifest(tag, next));
  }
  return conflict("{} is being changed by others", tag);
}

// A registry without the API of referrers has them in an index at the tag "sha256-…".
Status add_to_fallback(image::RemoteRepository& remote, const Digest& image,
                       const json::object& entry) {
  const std::string tag = "sha256-" + image.hex();
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::optional<image::RemoteManifest> at = TRY(manifest_if(remote, tag));
    json::array entries;
    if (at) {
      json::value document = TRY(json::parse(at->bytes));
      if (document.is_object())
        if (const json::value* list = document.get_object().if_contains("manifests"))
          if (list->is_array()) entries = list->get_array();
    }
    for (const json::value& one : entries)
      if (one == entry) return {};
    entries.push_back(entry);
    json::object index;
    index["schemaVersion"] = 2;
    index["mediaType"] = image::kOciIndex;
    index["manifests"] = std::move(entries);
    TRY(remote.put_manifest(tag, to_remote(index, image::kOciIndex)));
  }
  return conflict("{} is being changed by others", tag);
}

}  // namespace

std::string signature_tag(const Digest& image) { return "sha256-" + image.hex() + ".sig"; }

Result<std::vector<Signature>> find_attached(image::RemoteRepository& remote, const Digest& image) {
  std::vector<Signature> out;
  std::optional<image::RemoteManifest> at = TRY(manifest_if(remote, signature_tag(image)));
  if (at) TRY(read_signatures(remote, *at, out));
  image::Referrers referrers = TRY(remote.referrers(image));
  for (const image::Descriptor& one : referrers.manifests) {
    if (one.artifact_type != kSignatureArtifact || out.size() >= kMaxSignatures) continue;
    std::optional<image::RemoteManifest> manifest = TRY(manifest_if(remote, one.digest));
    if (manifest) TRY(read_signatures(remote, *manifest, out));
  }
  return out;
}

Result<Attached> attach(image::RemoteRepository& remote, const image::RemoteManifest& image,
                        const Signature& signature) {
  Attached out;
  out.tag = signature_tag(image.digest);
  TRY(upload(remote, signature.payload));
  TRY(add_to_tag(remote, out.tag, signature, out.manifest));

  const std::string config = config_for({Digest::of(signature.payload).text()});
  TRY(upload(remote, config));
  json::object document =
      manifest_of(descriptor(kSignatureArtifact, config), json::array{layer_of(signature)});
  document["artifactType"] = kSignatureArtifact;
  document["subject"] = descriptor_of(image);
  image::RemoteManifest referrer = to_remote(document, image::kOciManifest);
  TRY(remote.put_manifest(referrer.digest.text(), referrer));
  out.referrer = referrer.digest;
  image::Referrers known = TRY(remote.referrers(image.digest));
  if (known.by_api) return out;
  json::object entry = descriptor_of(referrer);
  entry["artifactType"] = kSignatureArtifact;
  TRY(add_to_fallback(remote, image.digest, entry));
  return out;
}

}  // namespace gantry::trust

#include "registry_server/manifest_view.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/json.h"
#include "http/message.h"
#include "image/manifest.h"

namespace gantry::registry_server {
namespace {

constexpr std::array<std::string_view, 4> kTypes = {image::kOciManifest, image::kOciIndex,
                                                    image::kDockerManifest, image::kDockerList};
// Fields that decide what a document is: some readers match them in any case, some exactly.
constexpr std::array<std::string_view, 11> kFields = {
    "schemaVersion", "mediaType", "config",      "layers",   "manifests", "subject",
    "artifactType",  "fsLayers",  "annotations", "platform", "blobs"};
constexpr size_t kMaxReferences = 20'000;

struct Document {
  std::string artifact_type;
  std::optional<image::Descriptor> subject;
};

// The names at the top of a document, as written; the text is known to be JSON. A JSON library
// keeps one of two equal names, and not every library the same one.
Status check_names(std::string_view text) {
  std::set<std::string_view> seen;
  int depth = 0;
  bool name_expected = false;
  for (size_t at = 0; at < text.size(); ++at) {
    char c = text[at];
    if (c == '{' || c == '[') {
      name_expected = ++depth == 1 && c == '{';
    } else if (c == '}' || c == ']') {
      --depth;
      name_expected = false;
    } else if (c == ',') {
      name_expected = depth == 1;
    } else if (c == '"') {
      size_t start = at + 1;
      for (++at; at < text.size() && text[at] != '"'; ++at)
        if (text[at] == '\\') ++at;
      if (!std::exchange(name_expected, false)) continue;
      std::string_view name = text.substr(start, std::min(at, text.size()) - start);
      if (name.find('\\') != std::string_view::npos)
        return invalid("manifest: the field name \"{}\" is escaped", name.substr(0, 80));
      if (!seen.insert(name).second)
        return invalid("manifest: the field \"{}\" is given twice", name.substr(0, 80));
      for (std::string_view known : kFields)
        if (name != known && http::equal_no_case(name, known))
          return invalid("manifest: the field \"{}\" is spelled \"{}\"", known, name);
    }
  }
  return {};
}

bool is_foreign(std::string_view type) {
  return type.find(".nondistributable.") != std::string_view::npos ||
         type.find(".foreign.") != std::string_view::npos;
}

Status add(ManifestView& view, std::set<std::string>& seen, const image::Descriptor& descriptor,
           std::string_view what) {
  auto digest = ContentDigest::parse(descriptor.digest);
  if (!digest) return std::move(digest).error().context(fmt::format("manifest: {}", what));
  if (descriptor.size < 0)
    return invalid("manifest: {}: size {} is negative", what, descriptor.size);
  if (!seen.insert(digest->text()).second) return {};
  if (seen.size() > kMaxReferences)
    return invalid("manifest: it refers to more than {} objects", kMaxReferences);
  view.references.push_back(
      {*digest, is_manifest_type(descriptor.media_type), is_foreign(descriptor.media_type)});
  return {};
}

Status check_type(ManifestView& view, const image::Manifest& manifest,
                  std::string_view content_type) {
  std::string_view asked = content_type.substr(0, content_type.find(';'));
  while (!asked.empty() && asked.back() == ' ') asked.remove_suffix(1);
  if (!asked.empty() && !is_manifest_type(asked))
    return invalid("manifest: content type '{}' is none of a manifest or index", asked);
  const std::string& own = manifest.media_type;
  if (!own.empty() && !is_manifest_type(own))
    return invalid("manifest: mediaType '{}' is none of a manifest or index", own);
  if (!own.empty() && !asked.empty() && own != asked)
    return invalid("manifest: its mediaType is {}, the request's Content-Type {}", own, asked);
  view.index = manifest.is_index();
  std::string_view expected = view.index ? image::kOciIndex : image::kOciManifest;
  if (own.empty() && !asked.empty() && asked != expected)
    return invalid("manifest: without a mediaType it is {}, the request's Content-Type is {}",
                   expected, asked);
  view.media_type = own.empty() ? expected : std::string_view(own);
  return {};
}

}  // namespace
}  // namespace gantry::registry_server

namespace gantry::json {
template <>
struct Schema<registry_server::Document> {
  using T = registry_server::Document;
  static constexpr Field fields[] = {field<&T::artifact_type>("artifactType"),
                                     field<&T::subject>("subject")};
};
}  // namespace gantry::json

namespace gantry::registry_server {

bool is_manifest_type(std::string_view media_type) {
  return std::find(kTypes.begin(), kTypes.end(), media_type) != kTypes.end();
}

Result<ManifestView> ManifestView::parse(std::string_view text, std::string_view content_type) {
  json::value document = TRY(json::parse(text).context("manifest"));
  if (!document.is_object()) return invalid("manifest: it is no JSON object");
  TRY(check_names(text));
  const json::object& top = document.get_object();
  if (top.contains("fsLayers") || content_type.find("manifest.v1+") != std::string_view::npos)
    if (content_type.find("vnd.docker.distribution") != std::string_view::npos ||
        top.contains("fsLayers"))
      return unsupported("manifest: Docker's schema 1 is no longer supported");
  if (top.contains("blobs")) return invalid("manifest: a field \"blobs\" is none of an image's");
  auto manifest = TRY(image::Manifest::parse(text));
  auto more = TRY(json::from_value<Document>(document).context("manifest"));
  ManifestView view;
  TRY(check_type(view, manifest, content_type));
  view.annotations = std::move(manifest.annotations);
  view.artifact_type = std::move(more.artifact_type);
  std::set<std::string> seen;
  if (more.subject) {
    auto subject = ContentDigest::parse(more.subject->digest);
    if (!subject) return std::move(subject).error().context("manifest: subject");
    view.subject = *subject;
  }
  if (view.index) {
    for (const image::Descriptor& one : *manifest.manifests)
      TRY(add(view, seen, one, "an entry of manifests"));
  } else {
    if (view.artifact_type.empty()) view.artifact_type = manifest.config->media_type;
    TRY(add(view, seen, *manifest.config, "config"));
    for (const image::Descriptor& one : *manifest.layers) TRY(add(view, seen, one, "a layer"));
  }
  return view;
}

}  // namespace gantry::registry_server

#include "client/manifest/manifest_store.h"

#include <algorithm>

#include "base/base64.h"
#include "base/digest.h"
#include "base/fs.h"
#include "image/manifest.h"

namespace gantry::client {
namespace {

constexpr size_t kFileLimit = 32u << 20;  // a manifest of 4 MiB, twice, one of them in base64

std::string file_name(const image::Reference& reference) {
  std::string out = reference.text();
  std::replace(out.begin(), out.end(), ':', '-');
  std::replace(out.begin(), out.end(), '/', '_');
  return out;
}

Result<LocalManifest> read_manifest(const std::string& path) {
  const std::string text = TRY(fs::read_file(path, kFileLimit));
  return json::parse<LocalManifest>(text).context("manifest file {}", path);
}

Error no_such(const image::Reference& reference) {
  return not_found("No such manifest: {}", reference.text());
}

}  // namespace

Result<std::string> LocalManifest::payload() const {
  if (raw.empty()) return invalid("manifest {}: its file does not have its bytes", ref);
  std::string bytes = TRY(base64_decode(raw).context("manifest {}", ref));
  const Digest found = Digest::of(bytes);
  if (found.text() != descriptor.digest)
    return invalid("internal digest mismatch for {}: expected {}, got {}", ref, descriptor.digest,
                   found.text());
  return bytes;
}

LocalManifest LocalManifest::of(const image::Reference& ref, ManifestDescriptor descriptor,
                                const std::string& bytes, const json::object& document) {
  LocalManifest out;
  out.ref = ref.text();
  const bool oci = descriptor.media_type == image::kOciManifest;
  (oci ? out.oci_manifest : out.docker_manifest) = document;
  out.descriptor = std::move(descriptor);
  out.raw = base64_encode(bytes);
  return out;
}

std::string go_json(const json::value& document) {
  std::string out;
  for (char c : json::serialize(document)) {  // these stand in strings only
    if (c == '<' || c == '>' || c == '&')
      out += c == '<' ? "\\u003c" : c == '>' ? "\\u003e" : "\\u0026";
    else
      out += c;
  }
  return out;
}

std::string ManifestStore::directory_of(const image::Reference& list) const {
  return root_ + "/" + file_name(list);
}

Result<std::vector<LocalManifest>> ManifestStore::list(const image::Reference& list) const {
  const std::string directory = directory_of(list);
  Result<std::vector<std::string>> names = fs::list_directory(directory);
  if (!names && names.error().kind() != ErrorKind::not_found) return std::move(names).error();
  std::vector<LocalManifest> out;
  if (!names) return no_such(list);
  std::sort(names->begin(), names->end());
  for (const std::string& name : *names) {
    LocalManifest one = TRY(read_manifest(directory + "/" + name));
    out.push_back(std::move(one));
  }
  if (out.empty()) return no_such(list);
  return out;
}

Result<LocalManifest> ManifestStore::get(const image::Reference& list,
                                         const image::Reference& manifest) const {
  Result<LocalManifest> found = read_manifest(directory_of(list) + "/" + file_name(manifest));
  if (!found && found.error().kind() == ErrorKind::not_found) return no_such(manifest);
  return found;
}

Status ManifestStore::save(const image::Reference& list, const image::Reference& manifest,
                           const LocalManifest& what) const {
  const std::string directory = directory_of(list);
  TRY(fs::make_directories(directory, 0755));
  return fs::replace_file(directory + "/" + file_name(manifest), go_json(json::encode(what)), 0644);
}

Status ManifestStore::remove(const image::Reference& list) const {
  return fs::remove_tree(directory_of(list));
}

}  // namespace gantry::client

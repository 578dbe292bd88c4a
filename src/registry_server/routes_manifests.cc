// GET, HEAD, PUT and DELETE of a manifest, by tag or digest.
#include "base/sys.h"
#include "image/manifest.h"
#include "registry_server/blob_answer.h"
#include "registry_server/ranges.h"
#include "registry_server/registry.h"

namespace gantry::registry_server {
namespace {

struct Stored {
  ContentDigest digest;
  std::string text;
  std::string media_type;
};

Result<Stored> read(Registry& registry, const std::string& repository,
                    const ContentDigest& digest) {
  Content content = TRY(registry.store().open_manifest(repository, digest));
  Stored stored;
  stored.digest = digest;
  stored.media_type = TRY(registry.media_type(digest, content));
  stored.text.resize(content.size);
  size_t got = TRY(sys::pread(content.fd.get(), stored.text.data(), stored.text.size(), 0));
  if (got != content.size) return internal("{}: it ends before its size", digest.text());
  return stored;
}

Result<Stored> read_reference(Registry& registry, const std::string& repository,
                              const std::string& reference) {
  if (!is_digest_form(reference)) {
    ContentDigest digest = TRY(registry.store().resolve_tag(repository, reference));
    return read(registry, repository, digest);
  }
  return read(registry, repository, TRY(ContentDigest::parse(reference)));
}

// Whether some Accept field takes this type; all do when there is none.
bool accepts(const http::Headers& headers, std::string_view type) {
  bool any = false;
  for (const auto& [name, value] : headers.fields()) {
    if (!http::equal_no_case(name, "Accept")) continue;
    any = true;
    std::string_view rest = value;
    while (!rest.empty()) {
      size_t comma = std::min(rest.find(','), rest.size());
      std::string_view item = rest.substr(0, std::min(comma, rest.find(';')));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
      while (item.starts_with(' ')) item.remove_prefix(1);
      while (item.ends_with(' ')) item.remove_suffix(1);
      if (item == "*/*" || item == "application/*" || item == type) return true;
    }
  }
  return !any;
}

// The manifest of an index for linux/amd64: what a client that knows no indexes gets by a tag.
Result<Stored> default_platform(Registry& registry, const std::string& repository,
                                const Stored& index) {
  auto manifest = TRY(image::Manifest::parse(index.text));
  if (manifest.manifests)
    for (const image::Descriptor& one : *manifest.manifests)
      if (one.platform && one.platform->os == "linux" && one.platform->architecture == "amd64")
        return read(registry, repository, TRY(ContentDigest::parse(one.digest)));
  return not_found("no manifest for linux/amd64");
}

void get(Registry& registry, Call& call) {
  if (!call.require(kPull)) return;
  const std::string& repository = call.route.repository;
  const std::string& reference = call.route.reference;
  if (is_digest_form(reference)) {
    auto digest = ContentDigest::parse(reference);
    if (!digest) return call.fail(digest_invalid(digest.error().message()));
  }
  bool stale = false;
  if (registry.cache()) {
    auto failure = registry.cache()->prepare_manifest(call.x, repository, reference, stale);
    if (failure) return call.fail(*failure);
  }
  bool by_tag = !is_digest_form(reference);
  auto stored = call.x.run_blocking([&]() -> Result<Stored> {
    Stored found = TRY(read_reference(registry, repository, reference));
    bool index = found.media_type == image::kOciIndex || found.media_type == image::kDockerList;
    if (by_tag && index && !accepts(call.x.headers(), found.media_type) &&
        (accepts(call.x.headers(), image::kDockerManifest) ||
         accepts(call.x.headers(), image::kOciManifest)))
      return default_platform(registry, repository, found);
    return found;
  });
  if (!stored) {
    if (stored.error().kind() != ErrorKind::not_found && stored.error().code() != ENOTDIR)
      return call.fail(failed(stored.error()));
    return call.fail(manifest_unknown(
        fmt::format("manifest unknown: {}:{} is not there", repository, reference)));
  }
  if (!accepts(call.x.headers(), stored->media_type))
    return call.fail(manifest_unknown(fmt::format(
        "the manifest is {}, which the request's Accept does not name", stored->media_type)));
  http::Headers headers{{"Content-Type", stored->media_type},
                        {"Docker-Content-Digest", stored->digest.text()},
                        {"ETag", "\"" + stored->digest.text() + "\""}};
  if (stale) headers.set("Warning", "110 - \"the upstream is unavailable: this may be stale\"");
  if (answer_not_modified(call, headers)) return;
  // respond() gives a HEAD the length of the body that it leaves out.
  call.answer(200, std::move(headers), stored->text);
}

// If-Match and If-None-Match on a push by tag: the manifest that the tag has to name, or none.
bool read_condition(Call& call, std::optional<ContentDigest>& expected) {
  std::string match(call.x.headers().get("If-Match"));
  if (match.size() > 2 && match.front() == '"') match = match.substr(1, match.size() - 2);
  if (!match.empty()) {
    auto digest = ContentDigest::parse(match);
    if (!digest) return false;
    expected = *digest;
  } else if (call.x.headers().get("If-None-Match") == "*") {
    expected = ContentDigest();
  }
  return true;
}

void put(Registry& registry, Call& call) {
  if (!call.require(kPull | kPush)) return;
  const std::string& repository = call.route.repository;
  const std::string& reference = call.route.reference;
  bool by_tag = !is_digest_form(reference);
  auto wanted = by_tag ? Result<ContentDigest>(ContentDigest()) : ContentDigest::parse(reference);
  if (!wanted) return call.fail(digest_invalid(wanted.error().message()));
  if (by_tag && !is_tag(reference))
    return call.fail({400, "TAG_INVALID", "'" + reference + "' is no tag", nullptr, {}});
  auto text = call.x.read_body(kManifestLimit);
  if (!text) {
    if (text.error().kind() == ErrorKind::cancelled) return;
    ApiError error = manifest_invalid(
        fmt::format("a manifest has at most {} bytes: {}", kManifestLimit, text.error().message()));
    error.status = 413;
    return call.fail(error);
  }
  call.received += text->size();
  auto digest = ContentDigest::of(*text, by_tag ? Algorithm::sha256 : wanted->algorithm());
  if (!by_tag && digest != *wanted)
    return call.fail(digest_invalid(
        fmt::format("provided digest did not match uploaded content: {} was announced, {} came",
                    wanted->text(), digest.text())));
  auto view = call.x.run_blocking(
      [&] { return ManifestView::parse(*text, call.x.headers().get("Content-Type")); });
  if (!view) return call.fail(manifest_invalid(view.error().message()));
  std::optional<ContentDigest> expected;
  if (by_tag && !read_condition(call, expected))
    return call.fail({412, "MANIFEST_INVALID", "If-Match names no digest", nullptr, {}});
  auto result = call.x.run_blocking([&]() -> Result<Store::PutResult> {
    TRY(registry.uploads().check_quota(repository, text->size()));
    return registry.store().put_manifest(repository, digest, *text, *view, by_tag ? reference : "",
                                         Store::Check::references, expected);
  });
  if (!result) {
    if (result.error().kind() != ErrorKind::permission || result.error().code() != 0)
      return call.fail(failed(result.error()));
    ++registry.metrics().quota_refusals;
    return call.fail(denied(result.error().message(), 413));
  }
  if (result->stale)
    return call.fail({412, "MANIFEST_INVALID", "the tag names another manifest now", nullptr, {}});
  if (!result->missing.empty()) {
    ApiError error{404, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", nullptr, {}};
    for (const ContentDigest& one : result->missing)
      error.details.push_back(json::object{{"digest", one.text()}});
    return call.fail(error);
  }
  http::Headers headers{{"Location", "/v2/" + repository + "/manifests/" + digest.text()},
                        {"Docker-Content-Digest", digest.text()}};
  if (!view->subject.empty()) headers.set("OCI-Subject", view->subject.text());
  call.answer(201, std::move(headers));
}

void remove(Registry& registry, Call& call) {
  if (!call.require(kDelete)) return;
  if (!call.options->deletes)
    return call.fail(unsupported_operation("deleting is not allowed here (delete = off)"));
  const std::string& reference = call.route.reference;
  Status removed;
  if (is_digest_form(reference)) {
    auto digest = ContentDigest::parse(reference);
    if (!digest) return call.fail(digest_invalid(digest.error().message()));
    removed = call.x.run_blocking(
        [&] { return registry.store().remove_manifest(call.route.repository, *digest); });
  } else {
    removed = call.x.run_blocking(
        [&] { return registry.store().remove_tag(call.route.repository, reference); });
  }
  if (removed) return call.answer(202, {});
  if (removed.error().kind() == ErrorKind::not_found)
    return call.fail(manifest_unknown("manifest unknown: " + reference + " is not there"));
  call.fail(failed(removed.error()));
}

}  // namespace

void serve_manifest(Registry& registry, Call& call) {
  if (call.reads()) return get(registry, call);
  if (call.is("PUT")) return put(registry, call);
  if (call.is("DELETE")) return remove(registry, call);
  call.fail(unsupported_operation("only GET, HEAD, PUT and DELETE"),
            {{"Allow", "GET, HEAD, PUT, DELETE"}});
}

}  // namespace gantry::registry_server

// GET, HEAD and DELETE of a blob.
#include "base/log.h"
#include "registry_server/blob_answer.h"
#include "registry_server/ranges.h"
#include "registry_server/registry.h"

namespace gantry::registry_server {
namespace {

http::Headers blob_headers(const ContentDigest& digest) {
  return {{"Content-Type", "application/octet-stream"},
          {"Docker-Content-Digest", digest.text()},
          {"ETag", "\"" + digest.text() + "\""},
          {"Cache-Control", "max-age=31536000"},
          {"Accept-Ranges", "bytes"}};
}

void remove(Registry& registry, Call& call, const ContentDigest& digest) {
  if (!call.require(kDelete)) return;
  if (!call.options->deletes)
    return call.fail(unsupported_operation("deleting is not allowed here (delete = off)"));
  Status removed = call.x.run_blocking(
      [&] { return registry.store().remove_blob(call.route.repository, digest); });
  if (removed) return call.answer(202, {{"Docker-Content-Digest", digest.text()}});
  if (removed.error().code() == ENOENT) return call.fail(blob_unknown(digest.text()));
  call.fail(failed(removed.error()));
}

}  // namespace

bool answer_not_modified(Call& call, const http::Headers& headers) {
  std::string_view wanted = call.x.headers().get("If-None-Match");
  if (wanted.empty() || !matches_etag(wanted, headers.get("ETag"))) return false;
  call.answer(304, headers);
  return true;
}

void answer_content(Call& call, const ContentDigest& digest, const Content& content) {
  http::Headers headers = blob_headers(digest);
  if (answer_not_modified(call, headers)) return;
  std::string_view wanted = call.x.headers().get("Range");
  std::string_view only_if = call.x.headers().get("If-Range");
  if (!only_if.empty() && !matches_etag(only_if, headers.get("ETag"))) wanted = {};
  RangeRequest range = parse_range(wanted, content.size);
  if (range.kind == RangeKind::unsatisfiable) {
    ApiError error{416,
                   "SIZE_INVALID",
                   fmt::format("the blob has {} bytes: the range begins after them", content.size),
                   nullptr,
                   {}};
    return call.fail(error, {{"Content-Range", fmt::format("bytes */{}", content.size)}});
  }
  bool part = range.kind == RangeKind::part;
  uint64_t offset = part ? range.range.first : 0;
  uint64_t size = part ? range.range.size() : content.size;
  if (part)
    headers.set("Content-Range",
                fmt::format("bytes {}-{}/{}", offset, range.range.last, content.size));
  int status = part ? 206 : 200;
  if (!call.x.start_stream(status, call.stream_headers(status, std::move(headers)), size)) return;
  Status sent = call.x.write_file(content.fd.get(), offset, size);
  if (!sent) {
    log::ignored(
        digest.text(), sent,
        sent.error().kind() == ErrorKind::cancelled ? log::Level::debug : log::Level::error);
    return call.x.abort();
  }
  if (!call.is("HEAD")) call.sent += size;
  (void)call.x.finish();
}

http::Headers content_headers(const ContentDigest& digest) { return blob_headers(digest); }

void serve_blob(Registry& registry, Call& call) {
  auto digest = ContentDigest::parse(call.route.reference);
  if (!digest) return call.fail(digest_invalid(digest.error().message()));
  if (call.is("DELETE")) return remove(registry, call, *digest);
  if (!call.reads())
    return call.fail(unsupported_operation("only GET, HEAD and DELETE"),
                     {{"Allow", "GET, HEAD, DELETE"}});
  if (!call.require(kPull)) return;
  auto content = call.x.run_blocking(
      [&] { return registry.store().open_blob(call.route.repository, *digest); });
  if (content) {
    if (registry.cache()) ++registry.metrics().cache_hits;
    return answer_content(call, *digest, *content);
  }
  if (content.error().code() != ENOENT && content.error().code() != ENOTDIR)
    return call.fail(failed(content.error()));
  if (registry.cache()) return registry.cache()->serve_blob(call, *digest);
  // A manifest is content too, and some clients ask for it here.
  auto manifest = call.x.run_blocking(
      [&] { return registry.store().open_manifest(call.route.repository, *digest); });
  if (manifest) return answer_content(call, *digest, *manifest);
  call.fail(blob_unknown(digest->text()));
}

}  // namespace gantry::registry_server

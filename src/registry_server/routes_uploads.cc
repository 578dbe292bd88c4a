// Uploads of blobs: monolithic, in chunks, and taken over from another repository.
#include "base/log.h"
#include "registry_server/ranges.h"
#include "registry_server/registry.h"

namespace gantry::registry_server {
namespace {

// A step of receiving: what one task writes and hashes. Memory that no byte came for is not
// touched.
constexpr size_t kBlock = 256u << 10;
constexpr size_t kPlenty = 32u << 10;  // so much at once: more is there already

std::string upload_location(const Upload& upload) {
  return "/v2/" + upload.repository() + "/blobs/uploads/" + upload.id();
}

http::Headers upload_headers(const Upload& upload, uint64_t offset) {
  return {{"Location", upload_location(upload)},
          {"Range", fmt::format("0-{}", offset == 0 ? 0 : offset - 1)},
          {"Docker-Upload-UUID", upload.id()}};
}

void answer_created(Call& call, const std::string& repository, const ContentDigest& digest) {
  call.answer(201, {{"Location", "/v2/" + repository + "/blobs/" + digest.text()},
                    {"Docker-Content-Digest", digest.text()}});
}

ApiError upload_error(Registry& registry, const Error& error) {
  switch (error.kind()) {
    case ErrorKind::not_found:
      if (error.code() != 0) break;
      return upload_unknown();
    case ErrorKind::conflict:
      if (error.code() != 0) break;
      return ApiError{409, "BLOB_UPLOAD_INVALID", error.message(), nullptr, {}};
    case ErrorKind::permission:
      if (error.code() != 0) break;
      ++registry.metrics().quota_refusals;
      return denied(error.message(), 413);
    case ErrorKind::invalid:
      if (error.code() != 0) break;
      return digest_invalid(error.message());
    default:
      break;
  }
  return failed(error);
}

// Writes and hashes one block on the I/O pool while the next one comes in.
class Writer {
 public:
  Writer(Uploads& uploads, http::Exchange& x, Upload& upload, uint64_t owner)
      : uploads_(uploads), x_(x), upload_(upload), owner_(owner) {}
  ~Writer() { x_.join_blocking(); }
  Writer(const Writer&) = delete;

  // Of kBlock bytes, which no task uses.
  char* buffer() {
    if (!buffers_[next_]) buffers_[next_].reset(new char[kBlock]);
    return buffers_[next_].get();
  }
  // Begins to write what is in it. After an error nothing is written any more.
  void write(size_t size) {
    (void)join();
    if (size == 0 || !result_) return;
    std::string_view bytes(buffers_[next_].get(), size);
    next_ = 1 - next_;
    x_.begin_blocking([this, bytes] { result_ = uploads_.append(upload_, owner_, bytes); });
  }
  // Waits for it; the first error.
  Status join() {
    x_.join_blocking();
    if (result_) return {};
    return Error(result_.error().kind(), result_.error().message(), result_.error().code());
  }

 private:
  Uploads& uploads_;
  http::Exchange& x_;
  Upload& upload_;
  const uint64_t owner_;
  std::unique_ptr<char[]> buffers_[2];
  int next_ = 0;
  Status result_;
};

// The request's body goes to the end of the upload. False when the request was answered, or nobody
// waits for an answer.
bool receive(Registry& registry, Call& call, Upload& upload, uint64_t owner) {
  if (auto announced = call.x.content_length(); announced && *announced != 0) {
    // Said before the body is sent, where the client asks first.
    Status fits = call.x.run_blocking(
        [&] { return registry.uploads().check_quota(upload.repository(), *announced); });
    if (!fits) return call.fail(upload_error(registry, fits.error())), false;
  }
  Writer writer(registry.uploads(), call.x, upload, owner);
  bool ended = false;
  while (!ended) {
    size_t size = 0;
    char* buffer = writer.buffer();
    while (size < kBlock) {
      auto got = call.x.read_some({buffer + size, kBlock - size});
      if (!got) {
        // What came before the cut is kept: the client goes on from there.
        writer.write(size);
        (void)writer.join();
        if (got.error().kind() == ErrorKind::cancelled) return false;
        if (got.error().kind() == ErrorKind::unavailable)
          return call.fail({408, "BLOB_UPLOAD_INVALID", got.error().message(), nullptr, {}}), false;
        return call.fail(upload_invalid(got.error().message())), false;
      }
      ended = *got == 0;
      size += *got;
      call.received += *got;
      if (*got < kPlenty) break;
    }
    Status before = writer.join();
    if (!before) return call.fail(upload_error(registry, before.error())), false;
    writer.write(size);
  }
  Status last = writer.join();
  if (!last) return call.fail(upload_error(registry, last.error())), false;
  return true;
}

// Lets go of an upload when the request is over, however it ends.
class Owner {
 public:
  Owner(Uploads& uploads, Upload& upload, uint64_t owner)
      : uploads_(uploads), upload_(upload), owner_(owner) {}
  ~Owner() { uploads_.disown(upload_, owner_); }
  Owner(const Owner&) = delete;

 private:
  Uploads& uploads_;
  Upload& upload_;
  uint64_t owner_;
};

// Content-Range has to begin where the upload ends, and to be as long as the body.
bool range_fits(Call& call, const Upload& upload, uint64_t offset) {
  std::string_view value = call.x.headers().get("Content-Range");
  if (value.empty()) return true;
  auto range = parse_content_range(value);
  std::string why;
  if (!range)
    why = range.error().message();
  else if (range->first != offset)
    why = fmt::format("the chunk begins at {}, the upload goes on at {}", range->first, offset);
  if (!why.empty()) {
    call.fail({416, "BLOB_UPLOAD_INVALID", why, nullptr, {}}, upload_headers(upload, offset));
    return false;
  }
  auto length = call.x.content_length();
  if (length && *length != range->size()) {
    call.fail(size_invalid(
        fmt::format("Content-Range names {} bytes, Content-Length {}", range->size(), *length)));
    return false;
  }
  return true;
}

void patch(Registry& registry, Call& call, Upload& upload) {
  auto owned = call.x.run_blocking([&] { return registry.uploads().own(upload); });
  if (!owned) return call.fail(upload_error(registry, owned.error()));
  Owner owner(registry.uploads(), upload, owned->owner);
  if (!range_fits(call, upload, owned->offset)) return;
  if (!receive(registry, call, upload, owned->owner)) return;
  auto offset = registry.uploads().offset(upload);
  if (!offset) return call.fail(upload_error(registry, offset.error()));
  call.answer(202, upload_headers(upload, *offset));
}

// With the closing request's body, which may be empty. False when it failed (and was answered).
bool complete(Registry& registry, Call& call, Upload& upload, const ContentDigest& digest) {
  auto owned = call.x.run_blocking([&] { return registry.uploads().own(upload); });
  if (!owned) return call.fail(upload_error(registry, owned.error())), false;
  Owner owner(registry.uploads(), upload, owned->owner);
  if (!range_fits(call, upload, owned->offset)) return false;
  if (!receive(registry, call, upload, owned->owner)) return false;
  Status done =
      call.x.run_blocking([&] { return registry.uploads().finish(upload, owned->owner, digest); });
  if (!done) return call.fail(upload_error(registry, done.error())), false;
  answer_created(call, upload.repository(), digest);
  return true;
}

// True when the blob is the repository's now, and the request was answered.
bool mount(Registry& registry, Call& call, const ContentDigest& digest) {
  const std::string from(call.x.query().get("from"));
  Store& store = registry.store();
  Status mounted = not_found("no");
  if (!from.empty()) {
    if (!check_repository(from) || !(call.auth->rights_of(call.identity, from) & kPull))
      return false;
    mounted = call.x.run_blocking([&] { return store.mount(from, call.route.repository, digest); });
  } else if (call.auth->mode == AuthMode::none && !call.auth->rights) {
    // Whose it is does not matter where all may read everything.
    mounted = call.x.run_blocking([&] { return store.mount_any(call.route.repository, digest); });
  }
  if (!mounted) {
    if (mounted.error().kind() != ErrorKind::not_found) log::ignored("mount", mounted);
    return false;
  }
  ++registry.metrics().mounts;
  answer_created(call, call.route.repository, digest);
  return true;
}

}  // namespace

void serve_uploads(Registry& registry, Call& call) {
  if (!call.is("POST")) return call.fail(unsupported_operation("only POST"), {{"Allow", "POST"}});
  if (!call.require(kPull | kPush)) return;
  const http::Query& query = call.x.query();
  if (query.has("mount")) {
    auto digest = ContentDigest::parse(query.get("mount"));
    if (digest && mount(registry, call, *digest)) return;
  }
  std::optional<ContentDigest> whole;
  if (query.has("digest")) {
    auto digest = ContentDigest::parse(query.get("digest"));
    if (!digest) return call.fail(digest_invalid(digest.error().message()));
    whole = *digest;
  }
  auto upload = call.x.run_blocking([&]() -> Result<std::shared_ptr<Upload>> {
    TRY(registry.uploads().check_quota(call.route.repository, 0));
    return registry.uploads().start(call.route.repository);
  });
  if (!upload) {
    if (upload.error().kind() == ErrorKind::unavailable && upload.error().code() == 0)
      return call.fail(too_many(upload.error().message()));
    return call.fail(upload_error(registry, upload.error()));
  }
  ++registry.metrics().uploads_started;
  if (!whole) return call.answer(202, upload_headers(**upload, 0));
  if (complete(registry, call, **upload, *whole)) return;
  // Nobody was told its name, so nobody can go on with it.
  (void)call.x.run_blocking([&] { return registry.uploads().cancel(**upload); });
}

void serve_upload(Registry& registry, Call& call) {
  unsigned rights = call.is("GET") ? unsigned{kPull} : unsigned{kPull | kPush};
  if (!call.require(rights)) return;
  auto upload = call.x.run_blocking(
      [&] { return registry.uploads().find(call.route.repository, call.route.reference); });
  if (!upload) return call.fail(upload_unknown());
  if (call.reads()) {
    auto offset = registry.uploads().offset(**upload);
    if (!offset) return call.fail(upload_unknown());
    return call.answer(204, upload_headers(**upload, *offset));
  }
  if (call.is("PATCH")) return patch(registry, call, **upload);
  if (call.is("PUT")) {
    auto digest = ContentDigest::parse(call.x.query().get("digest"));
    if (!digest) return call.fail(digest_invalid(digest.error().message()));
    (void)complete(registry, call, **upload, *digest);
    return;
  }
  if (call.is("DELETE")) {
    Status cancelled = call.x.run_blocking([&] { return registry.uploads().cancel(**upload); });
    if (!cancelled) return call.fail(upload_error(registry, cancelled.error()));
    return call.answer(204, {{"Docker-Upload-UUID", (*upload)->id()}});
  }
  call.fail(unsupported_operation("only GET, PATCH, PUT and DELETE"),
            {{"Allow", "GET, PATCH, PUT, DELETE"}});
}

}  // namespace gantry::registry_server

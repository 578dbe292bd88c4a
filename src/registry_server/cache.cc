#include "registry_server/cache.h"

#include "base/log.h"
#include "base/sys.h"
#include "image/manifest.h"
#include "registry_server/blob_answer.h"
#include "registry_server/ranges.h"

namespace gantry::registry_server {
namespace {

constexpr size_t kBlock = 256u << 10;
constexpr uint64_t kHeldBack = 1;  // bytes that are not given before the digest is right
constexpr size_t kListLimit = 8u << 20;

ApiError from_upstream(const Error& error) {
  log::warn("{}", error.message());
  if (error.kind() == ErrorKind::permission)
    return denied("the upstream registry refuses this cache: " + error.message());
  return {502,
          "UNKNOWN",
          "the upstream registry cannot be reached, and this is not in the cache",
          nullptr,
          {}};
}

ApiError from_store(const Error& error) {
  if (error.kind() == ErrorKind::permission && error.code() == 0)
    return {507, "UNKNOWN", "the cache is full: " + error.message(), nullptr, {}};
  return failed(error);
}

std::string scope_of(const std::string& repository) { return "repository:" + repository + ":pull"; }

http::Headers manifest_accepts() {
  http::Headers headers;
  for (std::string_view type :
       {image::kOciIndex, image::kDockerList, image::kOciManifest, image::kDockerManifest})
    headers.add("Accept", std::string(type));
  return headers;
}

}  // namespace

void Cache::Flight::changed() {
  std::lock_guard lock(mutex);
  for (auto& [number, wake] : waiting) wake();
}

Result<std::unique_ptr<Cache>> Cache::open(const Options& options, Store& store, Uploads& uploads,
                                           Metrics& metrics,
                                           std::function<void(uint64_t)> make_room) {
  std::unique_ptr<Cache> cache(new Cache(store, uploads, metrics));
  cache->make_room_ = std::move(make_room);
  cache->upstream_ = TRY(Upstream::open(options));
  cache->ttl_ns_ = options.cache_ttl;
  return cache;
}

Status Cache::reload(const Options& options) {
  TRY(upstream_->reload(options));
  ttl_ns_ = options.cache_ttl;
  return {};
}

Cache::FlightPtr Cache::join(const std::string& name,
                             std::function<std::optional<ApiError>(Flight&)> work) {
  std::lock_guard lock(mutex_);
  if (auto found = flights_.find(name); found != flights_.end()) return found->second;
  auto flight = std::make_shared<Flight>();
  flights_[name] = flight;
  fetchers_.submit([this, name, flight, work = std::move(work)] {
    auto error = work(*flight);
    if (error) ++metrics_.cache_failures;
    {
      std::lock_guard inner(mutex_);
      flights_.erase(name);
    }
    {
      std::lock_guard inner(flight->mutex);
      flight->error = std::move(error);
      flight->done = true;
    }
    flight->changed();
  });
  return flight;
}

bool Cache::wait(http::Exchange& exchange, Flight& flight,
                 const std::function<bool(Flight&)>& ready) {
  uint64_t number = 0;
  {
    std::lock_guard lock(flight.mutex);
    if (flight.done || ready(flight)) return true;
    number = flight.next++;
    flight.waiting[number] = exchange.waker();
  }
  bool there = false, alive = true;
  while (!there && alive) {
    http::Wake wake = exchange.wait();
    alive = wake != http::Wake::client_gone && wake != http::Wake::stopping;
    std::lock_guard lock(flight.mutex);
    there = flight.done || ready(flight);
  }
  std::lock_guard lock(flight.mutex);
  flight.waiting.erase(number);
  return there;
}

// ---- blobs

std::optional<ApiError> Cache::fetch_blob(Flight& flight, const std::string& repository,
                                          const ContentDigest& digest) {
  auto answer = upstream_->request("GET", "/v2/" + repository + "/blobs/" + digest.text(), {},
                                   scope_of(repository));
  if (!answer) return from_upstream(answer.error());
  int status = answer->response.status();
  if (status == 401 || status == 403) return denied("the upstream registry refuses this cache");
  if (status != 200) return blob_unknown(digest.text());
  return receive_blob(flight, *answer, repository, digest);
}

std::optional<ApiError> Cache::receive_blob(Flight& flight, Upstream::Answer& answer,
                                            const std::string& repository,
                                            const ContentDigest& digest) {
  std::shared_ptr<Upload> upload;
  auto fail = [&](ApiError error) {
    if (upload) (void)uploads_.cancel(*upload);
    return error;
  };
  std::string_view announced = answer.response.headers().get("Content-Length");
  std::optional<uint64_t> size = parse_number(announced);
  if (size && !uploads_.check_quota(repository, *size)) {
    make_room_(*size);
    Status fits = uploads_.check_quota(repository, *size);
    if (!fits) return from_store(fits.error());
  }
  auto started = uploads_.start(repository);
  if (!started) return fail(from_store(started.error()));
  upload = *started;
  auto owned = uploads_.own(*upload);
  if (!owned) return fail(from_store(owned.error()));
  auto reader = uploads_.open_for_reading(*upload);
  if (!reader) return fail(from_store(reader.error()));
  {
    std::lock_guard lock(flight.mutex);
    flight.file = std::make_shared<UniqueFd>(std::move(*reader));
    flight.size = size;
  }
  flight.changed();
  std::string buffer(kBlock, '\0');
  uint64_t total = 0;
  while (true) {
    auto got = upstream_->read_some(answer, buffer);
    if (!got)
      return fail(from_upstream(make_error(ErrorKind::unavailable, "upstream: {}: {}",
                                           digest.text(), got.error().message())));
    if (*got == 0) break;
    total += *got;
    if (size && total > *size)
      return fail(
          from_upstream(invalid("upstream: {}: more bytes than it announced", digest.text())));
    Status written = uploads_.append(*upload, owned->owner, {buffer.data(), *got});
    if (!written) return fail(from_store(written.error()));
    {
      std::lock_guard lock(flight.mutex);
      flight.available = total;
    }
    flight.changed();
  }
  Status finished = uploads_.finish(*upload, owned->owner, digest);
  if (!finished) {
    upload.reset();  // it is gone
    return fail(finished.error().kind() == ErrorKind::invalid ? from_upstream(finished.error())
                                                              : from_store(finished.error()));
  }
  std::lock_guard lock(flight.mutex);
  flight.size = total;
  return std::nullopt;
}

// While it comes in; its size is known.
void Cache::stream(Call& call, Flight& flight, const ContentDigest& digest) {
  uint64_t size = 0;
  std::shared_ptr<UniqueFd> file;
  {
    std::lock_guard lock(flight.mutex);
    size = flight.size.value_or(0);
    file = flight.file;
  }
  if (!call.x.start_stream(200, call.stream_headers(200, content_headers(digest)), size)) return;
  uint64_t sent = 0;
  while (sent < size) {
    uint64_t until = 0;
    bool failed_now = false;
    auto may_go = [&](Flight& f) {
      until = f.done && !f.error ? size : std::min(f.available, size - kHeldBack);
      failed_now = f.done && f.error;
      return until > sent || failed_now;
    };
    if (!wait(call.x, flight, may_go)) return call.x.abort();
    {
      std::lock_guard lock(flight.mutex);
      (void)may_go(flight);
    }
    if (failed_now) return call.x.abort();
    if (!call.x.write_file(file->get(), sent, until - sent)) return call.x.abort();
    call.sent += until - sent;
    sent = until;
  }
  (void)call.x.finish();
}

void Cache::serve_blob(Call& call, const ContentDigest& digest) {
  const std::string repository = call.route.repository;
  ++metrics_.cache_misses;
  if (call.is("HEAD")) {  // to know it is not to want it
    auto flight = join("head " + repository + " " + digest.text(),
                       [=, this](Flight& f) -> std::optional<ApiError> {
                         auto answer = upstream_->request(
                             "HEAD", "/v2/" + repository + "/blobs/" + digest.text(), {},
                             scope_of(repository));
                         if (!answer) return from_upstream(answer.error());
                         if (answer->response.status() != 200) return blob_unknown(digest.text());
                         uint64_t size = 0;
                         std::string text(answer->response.headers().get("Content-Length"));
                         if (::sscanf(text.c_str(), "%lu", &size) != 1)
                           return blob_unknown(digest.text());
                         std::lock_guard lock(f.mutex);
                         f.size = size;
                         return std::nullopt;
                       });
    if (!wait(call.x, *flight, [](Flight&) { return false; })) return;
    if (flight->error) return call.fail(*flight->error);
    if (call.x.start_stream(200, call.stream_headers(200, content_headers(digest)), flight->size))
      (void)call.x.finish();
    return;
  }
  auto flight = join("blob " + repository + " " + digest.text(),
                     [=, this](Flight& f) { return fetch_blob(f, repository, digest); });
  // A part is answered from the store, and so is what has no length.
  bool whole = call.x.headers().get("Range").empty();
  auto ready = [&](Flight& f) { return whole && f.size && *f.size > 0 && f.file; };
  if (!wait(call.x, *flight, ready)) return;
  bool done = false;
  std::optional<ApiError> error;
  {
    std::lock_guard lock(flight->mutex);
    done = flight->done;
    error = flight->error;
  }
  if (!done) return stream(call, *flight, digest);
  if (error) return call.fail(*error);
  auto content =
      call.x.run_blocking([&] { return store_.open_blob(call.route.repository, digest); });
  if (!content) return call.fail(failed(content.error()));
  answer_content(call, digest, *content);
}

// ---- manifests

std::optional<ApiError> Cache::store_manifest(Upstream::Answer& answer,
                                              const std::string& repository,
                                              const std::string& reference) {
  bool by_tag = !is_digest_form(reference);
  std::string type(answer.response.headers().get("Content-Type"));
  auto text = upstream_->read_all(answer, kManifestLimit);
  if (!text)
    return from_upstream(
        make_error(ErrorKind::unavailable, "upstream: {}", text.error().message()));
  auto view = ManifestView::parse(*text, type);
  if (!view) return from_upstream(view.error());
  auto wanted =
      by_tag ? Result<ContentDigest>(ContentDigest::of(*text)) : ContentDigest::parse(reference);
  if (!wanted) return digest_invalid(wanted.error().message());
  if (ContentDigest::of(*text, wanted->algorithm()) != *wanted)
    return from_upstream(invalid("upstream: manifest {} has another digest", reference));
  auto put = store_.put_manifest(repository, *wanted, *text, *view, by_tag ? reference : "",
                                 Store::Check::nothing);
  if (!put) return failed(put.error());
  return std::nullopt;
}

std::optional<ApiError> Cache::fetch_manifest(const std::string& repository,
                                              const std::string& reference) {
  http::Headers headers = manifest_accepts();
  auto known = is_digest_form(reference) ? Result<ContentDigest>(not_found("by digest"))
                                         : store_.resolve_tag(repository, reference);
  if (known && store_.open_manifest(repository, *known))
    headers.set("If-None-Match", "\"" + known->text() + "\"");
  auto answer = upstream_->request("GET", "/v2/" + repository + "/manifests/" + reference, headers,
                                   scope_of(repository));
  if (!answer) return from_upstream(answer.error());
  switch (answer->response.status()) {
    case 200:
      ++metrics_.cache_misses;
      return store_manifest(*answer, repository, reference);
    case 304:
      if (known && store_.set_tag(repository, reference, *known)) return std::nullopt;
      break;
    case 401:
    case 403:
      return denied("the upstream registry refuses this cache");
    case 404:
      if (known) log::ignored(reference, store_.remove_tag(repository, reference));
      break;
    default:
      log::warn("upstream: manifest {}:{}: status {}", repository, reference,
                answer->response.status());
  }
  return manifest_unknown("manifest unknown: the upstream does not have " + reference);
}

std::optional<ApiError> Cache::prepare_manifest(http::Exchange& exchange,
                                                const std::string& repository,
                                                const std::string& reference, bool& stale) {
  bool by_tag = !is_digest_form(reference);
  if (by_tag && !is_tag(reference)) return std::nullopt;
  bool here = false, fresh = false;
  exchange.run_blocking([&] {
    auto digest =
        by_tag ? store_.resolve_tag(repository, reference) : ContentDigest::parse(reference);
    here = digest && store_.open_manifest(repository, *digest);
    fresh = here;
    if (!by_tag || !here) return;
    auto age = store_.tag_age_ns(repository, reference);
    fresh = age && *age < ttl_ns_;
  });
  if (fresh) {
    ++metrics_.cache_hits;
    return std::nullopt;
  }
  auto flight = join("manifest " + repository + " " + reference,
                     [=, this](Flight&) { return fetch_manifest(repository, reference); });
  if (!wait(exchange, *flight, [](Flight&) { return false; }))
    return ApiError{503, "UNKNOWN", "the registry is stopping", nullptr, {}};
  std::lock_guard lock(flight->mutex);
  if (!flight->error) return std::nullopt;
  if (here && flight->error->status >= 500) {
    ++metrics_.cache_stale;
    stale = true;
    return std::nullopt;
  }
  return flight->error;
}

bool Cache::forward(Call& call) {
  const std::string target = call.x.target(), repository = call.route.repository;
  auto flight = join("list " + target, [=, this](Flight& f) -> std::optional<ApiError> {
    auto answer = upstream_->request("GET", target, {}, scope_of(repository));
    if (!answer) return from_upstream(answer.error());
    auto body = upstream_->read_all(*answer, kListLimit);
    if (!body) return from_upstream(body.error());
    std::lock_guard lock(f.mutex);
    f.status = answer->response.status();
    f.body = std::move(*body);
    for (const char* name : {"Content-Type", "Link", "OCI-Filters-Applied"})
      if (answer->response.headers().has(name))
        f.headers.set(name, std::string(answer->response.headers().get(name)));
    return std::nullopt;
  });
  if (!wait(call.x, *flight, [](Flight&) { return false; })) return true;
  if (flight->error || flight->status >= 400) return false;
  call.answer(flight->status, flight->headers, flight->body);
  return true;
}

}  // namespace gantry::registry_server

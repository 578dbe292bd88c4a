#include "registry/repository.h"

#include <poll.h>

#include <algorithm>

#include "base/log.h"
#include "registry/blob_stream.h"
#include "registry/errors.h"

namespace gantry::registry {
namespace {

constexpr int kAttempts = 5;
constexpr size_t kManifestLimit = 4u << 20;
constexpr size_t kTagsLimit = 4u << 20;  // of one page
constexpr size_t kMaxTags = 100'000;
constexpr int kMaxWait = 30;  // seconds of Retry-After that are waited for

constexpr std::string_view kManifestTypes[] = {
    image::kDockerManifest, image::kDockerList, image::kOciManifest, image::kOciIndex,
    // Asked for so that a registry which has nothing else says so, and is refused by name.
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json"};

struct TagList {
  std::string name;
  std::vector<std::string> tags;
};

// Another place may do what this one could not: a mirror without the image, plain instead of TLS.
bool goes_on(const Error& error) { return error.kind() != ErrorKind::cancelled; }

}  // namespace
}  // namespace gantry::registry

template <>
struct gantry::json::Schema<gantry::registry::TagList> {
  using T = gantry::registry::TagList;
  static constexpr Field fields[] = {field<&T::name>("name"), field<&T::tags>("tags", kNullEmpty)};
};

namespace gantry::registry {

std::string next_page(const http::Headers& headers) {
  std::string_view link = headers.get("Link");
  if (link.find("rel=\"next\"") == link.npos && link.find("rel=next") == link.npos) return {};
  size_t begin = link.find('<');
  size_t end = link.find('>');
  if (begin == link.npos || end == link.npos || end < begin) return {};
  return std::string(link.substr(begin + 1, end - begin - 1));
}

Result<std::unique_ptr<Repository>> Repository::open(Hosts& hosts, const image::Reference& name,
                                                     RepositoryOptions options) {
  std::vector<Endpoint> endpoints = TRY(hosts.endpoints(name.domain(), options.use));
  std::unique_ptr<Repository> repository(new Repository(hosts, name, std::move(options)));
  for (Endpoint& endpoint : endpoints) {
    auto place = std::make_shared<Place>();
    place->auth = std::make_unique<Authenticator>(
        hosts.agent(), endpoint.mirror ? AuthConfig() : repository->options_.credentials,
        !endpoint.base.tls());
    place->endpoint = std::move(endpoint);
    repository->places_.push_back(std::move(place));
  }
  return repository;
}

std::string Repository::accept() const {
  std::string out;
  for (std::string_view type : kManifestTypes) {
    if (!out.empty()) out += ", ";
    out += type;
  }
  return out;
}

Result<bool> Repository::back_off(const Error& error, int attempt, int retry_after_seconds) {
  bool mendable = error.kind() == ErrorKind::unavailable &&
                  (error.code() == EAGAIN || error.code() == ECONNRESET || error.code() == EPIPE ||
                   (error.code() == ETIMEDOUT && attempt == 0));  // that wait was long
  if (!mendable || attempt + 1 >= kAttempts || retry_after_seconds > kMaxWait) return false;
  auto wait = hosts_.options().first_retry * (1 << attempt);
  if (retry_after_seconds > 0) wait = std::chrono::seconds(retry_after_seconds);
  pollfd cancelled{options_.cancel_fd, POLLIN, 0};
  int ready = ::poll(&cancelled, options_.cancel_fd >= 0 ? 1 : 0, static_cast<int>(wait.count()));
  if (ready > 0) return Error(ErrorKind::cancelled, "context canceled");
  return true;
}

Result<http::Agent::Response> Repository::ask_once(Place& place, const Ask& ask,
                                                   const http::Url& url) {
  Scopes scopes = {"repository:" + reference_.path() +
                   (options_.use == Hosts::Use::push ? ":pull,push" : ":pull")};
  scopes.insert(scopes.end(), ask.extra_scopes.begin(), ask.extra_scopes.end());
  http::Agent::Request request;
  request.method = ask.method;
  request.url = url;
  request.headers = ask.headers;
  request.body = ask.body;
  request.body_stream = ask.body_stream;
  request.body_size = ask.body_size;
  // What the registry's own host is told is nobody else's (an upload may lead elsewhere).
  bool home = url.origin() == place.endpoint.base.origin();
  std::string authorization = home ? place.auth->authorization(scopes) : "";
  // A challenge is known: what it takes is asked for beforehand.
  if (home && authorization.empty() && place.challenge)
    authorization = TRY(place.auth->answer(*place.challenge, scopes, "", options_.cancel_fd)
                            .context("Get \"{}\"", url.text()));
  if (!authorization.empty()) request.headers.set("Authorization", authorization);
  http::Agent::Response response = TRY(hosts_.agent().send(request, options_.cancel_fd));
  if (response.status != 401 || !home || ask.body_stream) return response;
  std::string answer =
      TRY(place.auth->answer(response.headers, scopes, authorization, options_.cancel_fd)
              .context("{} \"{}\"", ask.method == "HEAD" ? "Head" : "Get", url.text()));
  { http::Agent::Response drained = std::move(response); }
  request.headers.set("Authorization", answer);
  return hosts_.agent().send(request, options_.cancel_fd);
}

Status Repository::contact(Place& place) {
  std::lock_guard lock(place.mutex);
  if (place.contacted) return {};
  http::Agent::Request ping;
  ping.url = place.endpoint.base;
  ping.url.target += ping.url.target.ends_with('/') ? "v2/" : "/v2/";
  for (int attempt = 0;; ++attempt) {
    Result<http::Agent::Response> pong = hosts_.agent().send(ping, options_.cancel_fd);
    if (pong && pong->status < 500 && pong->status != 429) {
      if (pong->status == 401) place.challenge = pong->headers;
      place.keeps_signatures = pong->headers.get("X-Registry-Supports-Signatures") == "1";
      (void)pong->read_all(64u << 10);
      place.contacted = true;
      return {};
    }
    int wait = pong ? retry_after(pong->headers) : -1;
    Error error = pong ? error_of(*pong) : std::move(pong).error();
    bool again = TRY(back_off(error, attempt, wait));
    if (!again) return error;
  }
}

Result<http::Agent::Response> Repository::ask_at(Place& place, const Ask& ask) {
  TRY(contact(place));
  http::Url url = place.endpoint.base;
  if (ask.path.find("://") != std::string::npos)
    url = TRY(http::Url::parse(ask.path));
  else if (ask.path.starts_with('/'))
    url = TRY(url.resolve(ask.path));
  else
    url.target += (url.target.ends_with('/') ? "v2/" : "/v2/") + ask.path;
  for (int attempt = 0;; ++attempt) {
    Result<http::Agent::Response> response = ask_once(place, ask, url);
    if (response && response->status < 500 && response->status != 429) return response;
    int wait = response ? retry_after(response->headers) : -1;
    Error error = response ? error_of(*response) : std::move(response).error();
    // It answered before: it is being started again.
    if (error.code() == ECONNREFUSED) error = Error(error.kind(), error.message(), EAGAIN);
    bool again = ask.body_stream ? false : TRY(back_off(error, attempt, wait));
    if (!again) return error;
  }
}

Result<http::Agent::Response> Repository::ask(const Ask& ask, Fall fall) {
  size_t first = 0;
  std::vector<std::shared_ptr<Place>> places;
  {
    std::lock_guard lock(mutex_);
    first = preferred_;
    places = places_;
  }
  std::optional<Error> failure;
  bool of_mirror = false;  // it was, and the origin's own tells more
  for (size_t i = 0; i < places.size(); ++i) {
    size_t at = (first + i) % places.size();
    Place& place = *places[at];
    Result<http::Agent::Response> response = ask_at(place, ask);
    bool last = i + 1 == places.size() || fall == Fall::never;
    if (!response) {
      // One that was reached and failed has told why; one that was not may be another's to answer.
      bool told = place.contacted && !place.endpoint.mirror;
      if (!goes_on(response.error()) || told || (last && !failure))
        return std::move(response).error();
      if (!failure || of_mirror) failure = std::move(response).error();
      of_mirror = place.endpoint.mirror;
      continue;
    }
    // A mirror that does not have it, or not for us: the origin may.
    if (place.endpoint.mirror && !last && response->status >= 400) {
      failure = error_of(*response);
      of_mirror = true;
      continue;
    }
    hosts_.worked(reference_.domain(), place.endpoint);
    std::lock_guard lock(mutex_);
    if (!place.endpoint.mirror || i == 0) preferred_ = at;
    return response;
  }
  return failure ? std::move(*failure) : internal("{}: no endpoint", name_);
}

Result<image::RemoteManifest> Repository::manifest(const std::string& tag_or_digest) {
  Ask request{.path = below("manifests/" + tag_or_digest)};
  request.headers.add("Accept", accept());
  http::Agent::Response response = TRY(ask(request));
  if (response.status != 200) return error_of(response);
  image::RemoteManifest manifest;
  manifest.media_type = response.headers.get("Content-Type");
  manifest.media_type = manifest.media_type.substr(0, manifest.media_type.find(';'));
  std::string announced(response.headers.get("Docker-Content-Digest"));
  manifest.bytes = TRY(response.read_all(kManifestLimit).context("manifest {}", tag_or_digest));
  manifest.digest = Digest::of(manifest.bytes);
  bool by_digest = tag_or_digest.find(':') != std::string::npos;
  const std::string& expected = by_digest ? tag_or_digest : announced;
  if (expected.starts_with("sha256:") && expected != manifest.digest.text())
    return invalid("manifest verification failed for digest {}: its bytes have the digest {}",
                   expected, manifest.digest.text());
  if (by_digest && !tag_or_digest.starts_with("sha256:"))
    return unsupported("manifest {}: digests other than sha256 are not supported", tag_or_digest);
  return manifest;
}

Result<std::unique_ptr<ByteSource>> Repository::blob(const image::Descriptor& descriptor,
                                                     uint64_t offset) {
  auto stream = std::make_unique<BlobStream>(*this, descriptor, offset);
  TRY(stream->open());
  return std::unique_ptr<ByteSource>(std::move(stream));
}

Result<std::vector<std::string>> Repository::tags() {
  std::vector<std::string> out;
  std::string path = below("tags/list");
  while (!path.empty()) {
    Ask request{.path = path};
    http::Agent::Response response = TRY(ask(request));
    if (response.status != 200) return error_of(response);
    std::string next = next_page(response.headers);
    http::Url url = response.url;
    std::string text = TRY(response.read_all(kTagsLimit).context("tags of {}", name_));
    TagList list = TRY(json::parse<TagList>(text).context("tags of {}", name_));
    out.insert(out.end(), list.tags.begin(), list.tags.end());
    if (out.size() > kMaxTags) return invalid("{} has more than {} tags", name_, kMaxTags);
    if (next.empty()) break;
    http::Url resolved = TRY(url.resolve(next).context("tags of {}", name_));
    if (resolved.origin() != url.origin() || resolved.target == url.target)
      return invalid("tags of {}: the registry's next page leads to {}", name_, resolved.text());
    path = resolved.text();
  }
  return out;
}

Result<bool> Repository::has_blob(const Digest& digest) {
  Ask request{.method = "HEAD", .path = below("blobs/" + digest.text())};
  http::Agent::Response response = TRY(ask(request));
  if (response.status == 200) return true;
  if (response.status == 404) return false;
  return error_of(response);
}

Status Repository::put_manifest(const std::string& tag_or_digest,
                                const image::RemoteManifest& manifest) {
  Ask request{.method = "PUT", .path = below("manifests/" + tag_or_digest), .body = manifest.bytes};
  request.headers.add("Content-Type", manifest.media_type);
  http::Agent::Response response = TRY(ask(request));
  if (response.status != 201 && response.status != 200 && response.status != 202)
    return error_of(response);
  std::string digest(response.headers.get("Docker-Content-Digest"));
  if (digest.starts_with("sha256:") && digest != manifest.digest.text())
    return invalid("the registry took manifest {} for {}", manifest.digest.text(), digest);
  return {};
}

Error explain_pull(Error error, const image::Reference& reference) {
  const std::string cause = error.message();
  if (is_denied(error))
    return not_found(
        "pull access denied for {}, repository does not exist or may require 'docker login': {}",
        reference.familiar_name(), cause);
  if (is_manifest_unknown(error))
    return not_found("manifest for {} not found: {}", reference.familiar(), cause);
  if (is_name_unknown(error))
    return not_found("repository {} not found: {}", reference.familiar_name(), cause);
  return error;
}

Result<std::string> check_login(Hosts& hosts, const AuthConfig& credentials, int cancel_fd) {
  const std::string domain = registry_domain(credentials.server_address);
  std::vector<Endpoint> endpoints = TRY(hosts.endpoints(domain, Hosts::Use::push));
  std::optional<Error> failure;
  for (const Endpoint& endpoint : endpoints) {
    Authenticator auth(hosts.agent(), credentials, !endpoint.base.tls());
    auth.want_refresh_token();
    http::Agent::Request request;
    request.url = endpoint.base;
    request.url.target += request.url.target.ends_with('/') ? "v2/" : "/v2/";
    const std::string where = request.url.text();
    Result<http::Agent::Response> response = hosts.agent().send(request, cancel_fd);
    if (response && response->status == 401) {
      std::string answer =
          TRY(auth.answer(response->headers, {}, "", cancel_fd).context("Get \"{}\"", where));
      request.headers.set("Authorization", answer);
      response = hosts.agent().send(request, cancel_fd);
    }
    if (!response) {
      if (response.error().kind() == ErrorKind::cancelled) return std::move(response).error();
      if (!failure) failure = std::move(response).error();
      continue;
    }
    if (response->status == 200) {
      hosts.worked(domain, endpoint);
      return auth.refresh_token();
    }
    Error error = error_of(*response);
    if (response->status == 401 || response->status == 403)
      return Error(ErrorKind::permission,
                   fmt::format("login attempt to {} failed with status: {} {}", where,
                               response->status, http::reason(response->status)));
    return std::move(error).context(fmt::format("login attempt to {} failed", where));
  }
  return failure ? std::move(*failure) : internal("{}: no endpoint", domain);
}

}  // namespace gantry::registry

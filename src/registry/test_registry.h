// For unit tests: a registry in memory on a port of loopback, that can be told to misbehave.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/base64.h"
#include "base/digest.h"
#include "http/server.h"

namespace gantry::registry {

class TestRegistry {
 public:
  TestRegistry()
      : server_({.drain_timeout = std::chrono::seconds(1)},
                [this](http::Exchange& x) { serve(x); }) {
    UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    (void)::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size);
    (void)::listen(socket.get(), 64);
    (void)::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    (void)server_.listen(std::move(socket));
    thread_ = std::thread([this] { server_.run(); });
  }
  ~TestRegistry() {
    server_.stop();
    thread_.join();
  }

  std::string domain() const { return fmt::format("127.0.0.1:{}", port); }
  std::string url() const { return "http://" + domain(); }

  std::string put_blob(const std::string& bytes) {
    std::string digest = Digest::of(bytes).text();
    std::lock_guard lock(mutex);
    blobs[digest] = bytes;
    return digest;
  }
  std::string put_manifest(const std::string& tag, const std::string& bytes,
                           const std::string& type) {
    std::string digest = Digest::of(bytes).text();
    std::lock_guard lock(mutex);
    manifests[tag] = manifests[digest] = {type, bytes};
    return digest;
  }
  int count(const std::string& line) {
    std::lock_guard lock(mutex);
    int found = 0;
    for (const std::string& one : log) found += one.find(line) != std::string::npos;
    return found;
  }

  uint16_t port = 0;
  std::mutex mutex;  // of what follows, but for the atomics
  std::map<std::string, std::string> blobs;
  std::map<std::string, std::pair<std::string, std::string>> manifests;  // type, bytes
  std::vector<std::string> log;  // "GET /v2/… range=… auth=…"
  std::string basic;             // "user:password" that is demanded
  bool bearer = false;           // a token of /token is demanded
  std::string refresh_token;     // what an identity token is to be, and what /token gives
  int token_lifetime = 300;
  // Called first; true when it has answered.
  std::function<bool(http::Exchange&)> hook;
  std::atomic<int64_t> cut_after{-1};  // bytes of a blob, once
  std::atomic<int> fail_uploads{0};    // PATCHes that are cut in the middle
  std::atomic<bool> ranges{true};

 private:
  static void error(http::Exchange& x, int status, const char* code, http::Headers headers = {}) {
    (void)x.respond(status, std::move(headers),
                    fmt::format(R"({{"errors":[{{"code":"{}","message":"no"}}]}})", code));
  }

  bool authorized(http::Exchange& x) {
    std::string_view sent = x.headers().get("Authorization");
    if (!basic.empty() && !bearer) {
      if (sent == "Basic " + base64_encode(basic)) return true;
      error(x, 401, "UNAUTHORIZED", {{"WWW-Authenticate", "Basic realm=\"test\""}});
      return false;
    }
    if (!bearer || sent.starts_with("Bearer good")) return true;
    std::string challenge = fmt::format(R"(Bearer realm="{}/token",service="test")", url());
    error(x, 401, "UNAUTHORIZED", {{"WWW-Authenticate", challenge}});
    return false;
  }

  void token(http::Exchange& x) {
    bool ok = basic.empty();
    if (x.method() == "POST") {
      auto body = x.read_body();
      ok = body && body->find("refresh_token=" + refresh_token) != std::string::npos &&
           body->find("grant_type=refresh_token") != std::string::npos;
    } else if (!basic.empty()) {
      ok = x.headers().get("Authorization") == "Basic " + base64_encode(basic);
    }
    if (!ok) return error(x, 401, "UNAUTHORIZED");
    (void)x.respond(
        200, {},
        fmt::format(R"({{"token":"good","expires_in":{},"refresh_token":"{}"}})", token_lifetime,
                    x.query().has("offline_token") ? refresh_token : ""));
  }

  void serve(http::Exchange& x) {
    std::function<bool(http::Exchange&)> before;
    {
      std::lock_guard lock(mutex);
      log.push_back(fmt::format("{} {} range={} auth={}", x.method(), x.target(),
                                x.headers().get("Range"), x.headers().get("Authorization")));
      before = hook;
    }
    if (before && before(x)) return;
    const std::string& path = x.path();
    if (path == "/token") return token(x);
    if (!authorized(x)) return;
    if (path == "/v2/") return (void)x.respond(200, {}, "{}");
    if (size_t at = path.find("/blobs/uploads/"); at != std::string::npos)
      return upload(x, path.substr(0, at), path.substr(at + 15));
    if (size_t at = path.find("/blobs/"); at != std::string::npos)
      return blob(x, path.substr(at + 7));
    if (size_t at = path.find("/manifests/"); at != std::string::npos)
      return manifest(x, path.substr(at + 11));
    if (path.ends_with("/tags/list"))
      return (void)x.respond(200, {}, R"({"name":"x","tags":["1","2"]})");
    error(x, 404, "NAME_UNKNOWN");
  }

  void manifest(http::Exchange& x, const std::string& name) {
    if (x.method() == "PUT") {
      auto body = x.read_body();
      std::string digest = put_manifest(name, *body, std::string(x.headers().get("Content-Type")));
      return (void)x.respond(201, {{"Docker-Content-Digest", digest}}, "");
    }
    std::pair<std::string, std::string> found;
    {
      std::lock_guard lock(mutex);
      auto at = manifests.find(name);
      if (at != manifests.end()) found = at->second;
    }
    if (found.second.empty()) return error(x, 404, "MANIFEST_UNKNOWN");
    (void)x.respond(200, {{"Content-Type", found.first}}, found.second);
  }

  void blob(http::Exchange& x, const std::string& digest) {
    std::string bytes;
    {
      std::lock_guard lock(mutex);
      auto at = blobs.find(digest);
      if (at == blobs.end()) return error(x, 404, "BLOB_UNKNOWN");
      bytes = at->second;
    }
    if (x.method() == "HEAD") return (void)x.respond(200, {}, bytes);
    http::Headers headers;
    int status = 200;
    size_t whole = bytes.size();
    std::string_view range = x.headers().get("Range");
    if (range.starts_with("bytes=") && ranges) {
      size_t begin = std::stoul(std::string(range.substr(6)));
      status = 206;
      headers.add("Content-Range", fmt::format("bytes {}-{}/{}", begin, whole - 1, whole));
      bytes.erase(0, begin);
    }
    int64_t cut = cut_after.exchange(-1);
    if (cut < 0) return (void)x.respond(status, std::move(headers), bytes);
    (void)x.start_stream(status, std::move(headers), bytes.size());
    (void)x.write(std::string_view(bytes).substr(0, static_cast<size_t>(cut)));
    x.abort();
  }

  void upload(http::Exchange& x, const std::string& base, const std::string& id) {
    if (x.method() == "POST") {
      std::string mounted(x.query().get("mount"));
      std::lock_guard lock(mutex);
      if (!mounted.empty() && blobs.contains(mounted))
        return (void)x.respond(201, {{"Location", base + "/blobs/" + mounted}}, "");
      std::string fresh = fmt::format("u{}", next_++);
      uploads_[fresh];
      return (void)x.respond(
          202, {{"Location", base + "/blobs/uploads/" + fresh}, {"Range", "0-0"}}, "");
    }
    auto range = [&] {
      std::lock_guard lock(mutex);
      size_t size = uploads_[id].size();
      return fmt::format("0-{}", size == 0 ? 0 : size - 1);
    };
    std::string location = base + "/blobs/uploads/" + id;
    if (x.method() == "GET")
      return (void)x.respond(204, {{"Location", location}, {"Range", range()}}, "");
    if (x.method() == "PATCH") {
      bool fail = fail_uploads > 0 && fail_uploads-- > 0;
      std::string buffer(64u << 10, '\0');
      size_t taken = 0;
      while (true) {
        auto got = x.read_some(buffer);
        if (!got || *got == 0) break;
        {
          std::lock_guard lock(mutex);
          uploads_[id].append(buffer, 0, *got);
        }
        taken += *got;
        if (fail && taken > 100'000) return x.abort();
      }
      return (void)x.respond(202, {{"Location", location}, {"Range", range()}}, "");
    }
    std::lock_guard lock(mutex);
    std::string bytes = std::move(uploads_[id]);
    uploads_.erase(id);
    std::string digest = Digest::of(bytes).text();
    if (digest != x.query().get("digest")) return error(x, 400, "DIGEST_INVALID");
    blobs[digest] = std::move(bytes);
    (void)x.respond(201, {}, "");
  }

  std::map<std::string, std::string> uploads_;
  int next_ = 0;
  http::Server server_;
  std::thread thread_;
};

}  // namespace gantry::registry

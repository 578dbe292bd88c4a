// The client of the registry that a cache stands before: bearer tokens and Basic credentials,
// redirects (never with credentials to another host), and nothing kept in memory but short answers.
//
// Thread-safe; blocks on the network. Errors: unavailable when the upstream cannot be reached or
// says 5xx or 429; what it says otherwise is in the answer's status.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "http/client.h"
#include "registry_server/options.h"
#include "registry_server/upstream_url.h"

namespace gantry::registry_server {

class Upstream {
 public:
  static Result<std::unique_ptr<Upstream>> open(const Options& options);

  struct Answer {
    // Keeps the connection for as long as the body is read.
    std::shared_ptr<http::Client> client;
    http::Response response;
  };
  // `path` with its query, below the upstream's host. `scope` is what a token is asked for.
  Result<Answer> request(const std::string& method, const std::string& path,
                         const http::Headers& headers, const std::string& scope);
  // Of an answer's body, as http::Response's, but `unavailable` when nothing comes for too long.
  Result<size_t> read_some(Answer& answer, std::span<char> buffer);
  Result<std::string> read_all(Answer& answer, size_t limit);
  // Ends what is under way at its next bytes, and what comes after.
  void stop() { stopped_ = true; }
  // Credentials may change.
  Status reload(const Options& options);
  const std::string& host() const { return url_.host; }

 private:
  Upstream() = default;
  Result<Answer> send(const Url& url, const std::string& method, const http::Headers& headers);
  Result<std::string> authorize(std::string_view challenge, const std::string& scope);
  std::string basic() const;

  Url url_;
  std::atomic<int> timeout_ms_{30'000};
  std::atomic<bool> stopped_{false};
  mutable std::mutex mutex_;
  std::string username_, password_;  // mutex_
  struct Token {
    std::string value;  // of Authorization
    int64_t until_ns = 0;
  };
  std::map<std::string, Token> tokens_;  // by scope; mutex_
};

// The parameters of "Bearer realm="…",service="…"", names in lower case. Bounded.
std::map<std::string, std::string> parse_challenge(std::string_view value);

}  // namespace gantry::registry_server

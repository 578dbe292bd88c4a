// The client of the registry that a cache stands before: bearer tokens and Basic credentials on top
// of http::Agent (TLS, proxies, redirects without credentials, bounds on time).
//
// Thread-safe; blocks on the network. Errors: unavailable when the upstream cannot be reached or
// says 5xx or 429, cancelled after stop(); what it says otherwise is in the answer's status.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/unique_fd.h"
#include "http/agent.h"
#include "registry_server/options.h"

namespace gantry::registry_server {

class Upstream {
 public:
  using Answer = http::Agent::Response;

  static Result<std::unique_ptr<Upstream>> open(const Options& options);
  // `path` with its query, below the upstream's host. `scope` is what a token is asked for.
  Result<Answer> request(const std::string& method, const std::string& path,
                         const http::Headers& headers, const std::string& scope);
  // Credentials may change.
  Status reload(const Options& options);
  // Ends what is under way, and what comes after.
  void stop();

 private:
  Upstream() = default;
  Result<Answer> send(const http::Url& url, const std::string& method,
                      const http::Headers& headers);
  Result<std::string> authorize(std::string_view challenge, const std::string& scope);
  std::string basic() const;

  http::Url url_;
  std::unique_ptr<http::Agent> agent_;
  UniqueFd stopped_;  // an eventfd: readable after stop()
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

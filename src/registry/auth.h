// Who asks a registry, and how it is told: credentials as clients send them, WWW-Authenticate, and
// bearer tokens (distribution's spec/auth/token.md and oauth.md). RFC 9110 section 11.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "http/agent.h"

namespace gantry::registry {

// X-Registry-Auth (and an entry of X-Registry-Config), and what POST /auth takes.
struct AuthConfig {
  std::string username;
  std::string password;
  std::string auth;  // base64 of "username:password"; an older form
  std::string email;
  std::string server_address;
  std::string identity_token;
  std::string registry_token;  // a bearer token to be used as it is

  bool empty() const {
    return username.empty() && password.empty() && identity_token.empty() && registry_token.empty();
  }
  // The header's value: JSON in base64url. "" gives no credentials; errors: invalid.
  static Result<AuthConfig> decode(std::string_view header);
};

// X-Registry-Config: credentials of several registries, by domain ("docker.io", "host:5000").
class RegistryCredentials {
 public:
  // JSON in base64url, registry → AuthConfig, as clients name them in config.json. Errors: invalid.
  static Result<RegistryCredentials> decode(std::string_view header);
  AuthConfig of(const std::string& domain) const;

 private:
  std::map<std::string, AuthConfig> by_domain_;
};

// The domain of a registry as config.json names it: "https://index.docker.io/v1/" is docker.io.
std::string registry_domain(std::string_view server);

struct Challenge {
  std::string scheme;                             // lower case
  std::map<std::string, std::string> parameters;  // names in lower case
};
// The challenges of one WWW-Authenticate value; what is malformed ends the list.
std::vector<Challenge> parse_challenges(std::string_view value);

// Which access a request needs: "repository:library/busybox:pull".
using Scopes = std::vector<std::string>;

// Answers challenges, with one registry's credentials, and remembers tokens as long as they are
// valid. Thread-safe.
class Authenticator {
 public:
  // `agent` is borrowed. `plain`: the registry itself is asked without TLS.
  Authenticator(http::Agent& agent, AuthConfig credentials, bool plain)
      : agent_(agent), credentials_(std::move(credentials)), plain_(plain) {}

  // What to send without having been asked; "" when that is not known yet.
  std::string authorization(const Scopes& scopes);
  // After a 401 for a request with the Authorization `sent` ("": without one): what to send now.
  // `permission` when there is nothing (new) to send.
  Result<std::string> answer(const http::Headers& headers, const Scopes& scopes,
                             const std::string& sent, int cancel_fd);
  // Of the latest token, when one was asked for; "" else.
  std::string refresh_token();
  void want_refresh_token() { offline_ = true; }

 private:
  struct Token {
    std::string text;
    std::chrono::steady_clock::time_point expires;
  };
  Result<Token> fetch(const Challenge& challenge, const Scopes& scopes, int cancel_fd);
  Result<Token> parse_token(http::Agent::Response response);

  http::Agent& agent_;
  const AuthConfig credentials_;
  const bool plain_;
  bool offline_ = false;
  std::mutex mutex_;
  bool basic_ = false;                   // the registry wants Basic
  std::map<std::string, Token> tokens_;  // by the scopes they were asked for
  std::string refresh_token_;
};

}  // namespace gantry::registry

template <>
struct gantry::json::Schema<gantry::registry::AuthConfig> {
  using T = gantry::registry::AuthConfig;
  static constexpr Field fields[] = {field<&T::username>("username", kOmitEmpty),
                                     field<&T::password>("password", kOmitEmpty),
                                     field<&T::auth>("auth", kOmitEmpty),
                                     field<&T::email>("email", kOmitEmpty),
                                     field<&T::server_address>("serveraddress", kOmitEmpty),
                                     field<&T::identity_token>("identitytoken", kOmitEmpty),
                                     field<&T::registry_token>("registrytoken", kOmitEmpty)};
};

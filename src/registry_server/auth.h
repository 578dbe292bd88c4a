// Who asks, and whether they may. The state is immutable and replaced as a whole by a reload.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "http/server.h"
#include "registry_server/api_error.h"
#include "registry_server/htpasswd.h"
#include "registry_server/jwt.h"
#include "registry_server/options.h"
#include "registry_server/rights.h"

namespace gantry::registry_server {

struct Identity {
  std::string user;  // "": nobody
  // What a token allows; nothing when the rights file decides.
  std::optional<std::vector<AccessEntry>> access;
};

// What the files said when they were read. Read by several threads.
struct AuthState {
  AuthMode mode = AuthMode::none;
  std::string realm;  // of the challenge: a name, or the token service's URL ("": by the Host)
  std::string service, issuer;
  std::optional<Htpasswd> users;
  std::optional<Rights> rights;
  KeySet keys;
  Key signing_key;  // of the token endpoint
  bool endpoint = false;
  int64_t token_lifetime_ns = 0;
  int64_t refresh_lifetime_ns = 0;

  // A set of Right.
  unsigned rights_of(const Identity& identity, const std::string& repository) const;
  bool may_list(const Identity& identity) const;
};

class Auth {
 public:
  // Reads all that the options name; the signing key of the token endpoint is made below `root` if
  // it is not there. Errors say which file and why.
  static Result<std::shared_ptr<const AuthState>> load(const Options& options);

  explicit Auth(std::shared_ptr<const AuthState> state) : state_(std::move(state)) {}
  std::shared_ptr<const AuthState> state() const;
  void replace(std::shared_ptr<const AuthState> state);

  struct Answer {
    std::optional<Identity> identity;
    std::optional<ApiError> error;  // wrong credentials, or too many checks at once
  };
  // From Authorization, or the client's certificate. Passwords are checked on the I/O pool.
  Answer identify(http::Exchange& exchange, const AuthState& state);
  // Of a user and a password, checked on the I/O pool.
  Answer check_password(http::Exchange& exchange, const AuthState& state, const std::string& user,
                        const std::string& password);

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const AuthState> state_;
  PasswordCache passwords_;
  std::atomic<int> checking_{0};
};

// A refresh token stands for a user's password at the token endpoint, and is good for nothing else:
// it is made for another audience. It ends with its time, and when the user's line in the htpasswd
// file changes or goes.
Result<std::string> refresh_token(const AuthState& state, const std::string& user);
// The user that it is of. Errors: permission.
Result<std::string> refreshed_user(const AuthState& state, std::string_view token);

// WWW-Authenticate for a refused request. `scope` as "repository:NAME:pull,push", "" for none;
// `error` is "invalid_token", "insufficient_scope" or "".
std::string challenge(const AuthState& state, const http::Exchange& exchange, bool tls,
                      const std::string& scope, const std::string& error);

struct Credentials {
  std::string user, password;
};
// Of "Authorization: Basic …". Errors: invalid.
Result<Credentials> parse_basic(std::string_view value);

// A scope of a token request, "repository:a/b:pull,push". Errors: invalid.
Result<AccessEntry> parse_scope(std::string_view text);
// What of it the user may have: the actions that are left.
AccessEntry grant(const AuthState& state, const std::string& user, AccessEntry wanted);

}  // namespace gantry::registry_server

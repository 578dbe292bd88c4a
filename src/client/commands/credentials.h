// Credentials of registries in Docker's config.json: "auths", or a helper program named by
// "credsStore" and "credHelpers" (docker-credential-NAME get, store, erase).
#pragma once

#include <string>
#include <string_view>

#include "client/cli/cli.h"

namespace gantry::client {

// The key of docker.io in config.json.
inline constexpr std::string_view kIndexServer = "https://index.docker.io/v1/";

struct Credentials {
  std::string server;
  std::string username;
  std::string password;
  std::string identity_token;
  bool empty() const { return username.empty() && identity_token.empty(); }
  // The value of X-Registry-Auth; "" when empty.
  std::string header() const;
  json::object object() const;  // an AuthConfig of the API
};

// As a registry is named on the command line: without scheme and path; docker.io is its index.
std::string registry_key(std::string_view server);

Result<Credentials> load_credentials(Cli& cli, const std::string& server);
// X-Registry-Config: all that config.json and its helpers have; "" when there is nothing. What
// cannot be had is told on standard error and left out.
std::string all_registry_auths(Cli& cli);
// Where they went, for the warning about plain text: true when into the file itself.
Result<bool> store_credentials(Cli& cli, const Credentials& credentials);
Status erase_credentials(Cli& cli, const std::string& server);

}  // namespace gantry::client

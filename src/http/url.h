// Absolute URLs of http and https, as far as a client needs them (RFC 3986). Values, no I/O.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry::http {

struct Url {
  std::string scheme;         // "http" or "https"
  std::string host;           // lower case; an IPv6 address without brackets
  std::string port;           // never empty
  std::string target;         // path and query, encoded; begins with '/'
  std::string user_password;  // "user:password", decoded, of a proxy's URL; "" without

  // Errors: invalid, also for other schemes, control characters and spaces.
  static Result<Url> parse(std::string_view text);
  // What a Location field means here: absolute, "//host/…", "/path", "?query" or relative.
  Result<Url> resolve(std::string_view location) const;

  bool tls() const { return scheme == "https"; }
  std::string authority() const;  // as the Host field has it: the port only where it is not usual
  std::string endpoint() const;   // "host:port"
  std::string origin() const;     // "https://host:port"
  std::string text() const;       // without user and password
};

}  // namespace gantry::http

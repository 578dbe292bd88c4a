// The URL of an upstream registry, taken apart. A value.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry::registry_server {

struct Url {
  bool tls = false;
  std::string host;  // as it goes into Host and URLs: with the port when it is not the scheme's
  std::string name;  // without port and brackets
  std::string port;
  std::string path;  // with the query; begins with '/'

  // "http://…" and "https://…". Errors: invalid.
  static Result<Url> parse(std::string_view text);
  std::string origin() const { return (tls ? "https://" : "http://") + host; }
};

}  // namespace gantry::registry_server

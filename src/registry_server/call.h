// One request on its way through the registry: what was asked, by whom, and the answer with the
// headers that every answer has. On the handler's stack, for the handler alone.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "http/server.h"
#include "registry_server/api_error.h"
#include "registry_server/auth.h"
#include "registry_server/options.h"
#include "registry_server/route.h"

namespace gantry::registry_server {

struct Call {
  http::Exchange& x;
  Route route;
  std::shared_ptr<const Options> options;
  std::shared_ptr<const AuthState> auth;
  Identity identity;
  bool tls = false;
  // For the log and the metrics.
  int status = 0;
  uint64_t received = 0;
  uint64_t sent = 0;

  bool is(std::string_view method) const { return x.method() == method; }
  bool reads() const { return is("GET") || is("HEAD"); }

  void answer(int code, http::Headers headers, std::string_view body = {});
  void answer_json(int code, const json::value& body, http::Headers headers = {});
  void fail(const ApiError& error, http::Headers headers = {});
  // Refuses with 401 and a challenge when a login may help, else with 403.
  void refuse(const std::string& scope, const std::string& what);
  // True when the caller has all of these rights on the route's repository; else it was answered.
  bool require(unsigned rights);
  // The headers of an answer with a body that is streamed.
  http::Headers stream_headers(int code, http::Headers headers);
};

}  // namespace gantry::registry_server

#include "registry_server/call.h"

namespace gantry::registry_server {
namespace {

std::string actions_of(unsigned rights) {
  std::string out;
  auto add = [&](unsigned right, std::string_view word) {
    if (rights & right) out += (out.empty() ? "" : ",") + std::string(word);
  };
  add(kPull, "pull");
  add(kPush, "push");
  add(kDelete, "delete");
  return out;
}

}  // namespace

http::Headers Call::stream_headers(int code, http::Headers headers) {
  status = code;
  headers.set("Docker-Distribution-Api-Version", "registry/2.0");
  headers.set("X-Content-Type-Options", "nosniff");
  return headers;
}

void Call::answer(int code, http::Headers headers, std::string_view body) {
  headers = stream_headers(code, std::move(headers));
  if (x.respond(code, std::move(headers), body) && !is("HEAD")) sent += body.size();
}

void Call::answer_json(int code, const json::value& body, http::Headers headers) {
  if (!headers.has("Content-Type")) headers.set("Content-Type", "application/json");
  answer(code, std::move(headers), json::serialize(body) + "\n");
}

void Call::fail(const ApiError& error, http::Headers headers) {
  headers.set("Content-Type", "application/json");
  if (error.status == 405 && !headers.has("Allow")) headers.set("Allow", "GET, HEAD");
  if (error.status == 429 && !headers.has("Retry-After")) headers.set("Retry-After", "1");
  answer(error.status, std::move(headers), error.body());
}

void Call::refuse(const std::string& scope, const std::string& what) {
  // A token may lack what another one would have; a known user gains nothing by logging in again.
  bool login_helps =
      auth->mode == AuthMode::token || (auth->mode == AuthMode::htpasswd && identity.user.empty());
  if (!login_helps) return fail(denied(what));
  http::Headers headers;
  headers.set("WWW-Authenticate",
              challenge(*auth, x, tls, scope, identity.access ? "insufficient_scope" : ""));
  ApiError error = unauthorized("authentication required: " + what);
  fail(error, std::move(headers));
}

bool Call::require(unsigned rights) {
  unsigned has = auth->rights_of(identity, route.repository);
  if ((has & rights) == rights) return true;
  refuse(fmt::format("repository:{}:{}", route.repository, actions_of(rights)),
         fmt::format("requested access to the resource is denied ({} on {})", actions_of(rights),
                     route.repository));
  return false;
}

}  // namespace gantry::registry_server

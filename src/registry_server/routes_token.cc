// The registry's own token service: Docker's token authentication for the users of the htpasswd
// file and the rights of the rights file. Nobody's token says what all may.
#include "base/clock.h"
#include "base/id.h"
#include "registry_server/registry.h"

namespace gantry::registry_server {
namespace {

constexpr size_t kBodyLimit = 64u << 10;
constexpr size_t kMostScopes = 64;

// The form's or the query's scopes, each of which may hold several.
std::vector<std::string> scopes_of(const http::Query& query) {
  std::vector<std::string> out;
  for (const std::string& value : query.all("scope")) {
    std::string_view rest = value;
    while (!rest.empty()) {
      size_t space = std::min(rest.find(' '), rest.size());
      if (space != 0) out.emplace_back(rest.substr(0, space));
      rest.remove_prefix(std::min(space + 1, rest.size()));
    }
  }
  return out;
}

void fail_login(Registry& registry, Call& call, const ApiError& error) {
  http::Headers headers;
  if (error.status == 401) {
    ++registry.metrics().login_failures;
    headers.set("WWW-Authenticate", "Basic realm=\"token\"");
  }
  call.fail(error, std::move(headers));
}

// Whether the client keeps a token in the password's place.
enum class Keeps { nothing, refresh_token };

void issue(Call& call, const http::Query& query, Keeps keeps) {
  std::vector<std::string> scopes = scopes_of(query);
  std::string service(query.get("service"));
  if (!service.empty() && service != call.auth->service)
    return call.fail(
        {400, "UNSUPPORTED", "the service '" + service + "' is not this registry's", nullptr, {}});
  if (scopes.size() > kMostScopes)
    return call.fail({400, "UNSUPPORTED", "too many scopes", nullptr, {}});
  TokenClaims claims;
  for (const std::string& text : scopes) {
    auto wanted = parse_scope(text);
    if (!wanted) return call.fail({400, "UNSUPPORTED", wanted.error().message(), nullptr, {}});
    AccessEntry granted = grant(*call.auth, call.identity.user, std::move(*wanted));
    if (!granted.actions.empty()) claims.access.push_back(std::move(granted));
  }
  int64_t now = now_ns();
  claims.issuer = call.auth->issuer;
  claims.subject = call.identity.user;
  claims.audience = {call.auth->service};
  claims.issued = claims.not_before = now / 1'000'000'000;
  claims.expires = (now + call.auth->token_lifetime_ns) / 1'000'000'000;
  claims.id = random_hex(16);
  auto token = sign_token(claims, call.auth->signing_key);
  if (!token) return call.fail(failed(token.error()));
  json::object answer{{"token", *token},
                      {"access_token", *token},
                      {"expires_in", call.auth->token_lifetime_ns / 1'000'000'000},
                      {"issued_at", format_time(now / 1'000'000'000 * 1'000'000'000)}};
  if (keeps == Keeps::refresh_token && !call.identity.user.empty()) {
    auto refresh = refresh_token(*call.auth, call.identity.user);
    if (!refresh) return call.fail(failed(refresh.error()));
    answer["refresh_token"] = *refresh;
  }
  call.answer_json(200, std::move(answer), {{"Cache-Control", "no-store"}});
}

}  // namespace

void serve_token(Registry& registry, Call& call) {
  Auth& auth = registry.auth();
  if (call.is("GET")) {
    std::string_view value = call.x.headers().get("Authorization");
    if (!value.empty()) {
      auto credentials = parse_basic(value);
      if (!credentials)
        return fail_login(registry, call,
                          unauthorized("Authorization: " + credentials.error().message()));
      auto who = auth.check_password(call.x, *call.auth, credentials->user, credentials->password);
      if (who.error) return fail_login(registry, call, *who.error);
      call.identity = std::move(*who.identity);
    }
    const bool offline = call.x.query().get("offline_token") == "true";
    return issue(call, call.x.query(), offline ? Keeps::refresh_token : Keeps::nothing);
  }
  if (!call.is("POST"))
    return call.fail(unsupported_operation("only GET and POST"), {{"Allow", "GET, POST"}});
  auto body = call.x.read_body(kBodyLimit);
  if (!body) {
    if (body.error().kind() == ErrorKind::cancelled) return;
    return call.fail({413, "UNSUPPORTED", body.error().message(), nullptr, {}});
  }
  call.received += body->size();
  http::Query form = http::Query::parse(*body);
  const std::string grant(form.get("grant_type"));
  if (grant == "refresh_token") {
    auto user = refreshed_user(*call.auth, form.get("refresh_token"));
    if (!user) return fail_login(registry, call, unauthorized(user.error().message()));
    call.identity = {*user, std::nullopt};
    return issue(call, form, Keeps::nothing);
  }
  if (grant != "password")
    return call.answer_json(
        400, json::object{{"error", "unsupported_grant_type"},
                          {"error_description", "'password' and 'refresh_token' are served"}});
  auto who = auth.check_password(call.x, *call.auth, std::string(form.get("username")),
                                 std::string(form.get("password")));
  if (who.error) return fail_login(registry, call, *who.error);
  call.identity = std::move(*who.identity);
  const bool offline = form.get("access_type") == "offline";
  issue(call, form, offline ? Keeps::refresh_token : Keeps::nothing);
}

}  // namespace gantry::registry_server

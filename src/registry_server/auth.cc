#include "registry_server/auth.h"

#include <algorithm>

#include "base/base64.h"
#include "base/clock.h"
#include "base/fs.h"
#include "registry_server/route.h"

namespace gantry::registry_server {
namespace {

constexpr size_t kFileLimit = 1u << 20;
constexpr int kMostChecks = 8;  // of passwords at once: each takes a core for some 60 ms
constexpr const char* kKeyFile = "token-key.pem";

Result<Key> signing_key(const std::string& root) {
  const std::string path = root + "/" + kKeyFile;
  auto pem = fs::read_file(path, kFileLimit);
  if (pem) return load_private_key(*pem).context("{}", path);
  if (pem.error().code() != ENOENT) return std::move(pem).error();
  Key key = TRY(make_key());
  TRY(fs::make_directories(root, 0750));
  TRY(fs::replace_file(path, TRY(private_key_pem(key)), 0600, fs::Durability::synced));
  return key;
}

unsigned rights_of_actions(const std::vector<std::string>& actions) {
  unsigned rights = 0;
  for (const std::string& action : actions) {
    if (action == "pull") rights |= kPull;
    if (action == "push") rights |= kPush;
    if (action == "delete") rights |= kDelete;
    if (action == "*") rights |= kPull | kPush | kDelete;
  }
  return rights;
}

}  // namespace

unsigned AuthState::rights_of(const Identity& identity, const std::string& repository) const {
  if (identity.access) {
    unsigned allowed = 0;
    for (const AccessEntry& entry : *identity.access)
      if (entry.type == "repository" && entry.name == repository)
        allowed |= rights_of_actions(entry.actions);
    // A token adds to what needs none.
    return allowed | (rights ? rights->of("", repository) : 0);
  }
  if (rights) return rights->of(identity.user, repository);
  if (mode == AuthMode::none) return kAllRights;
  return identity.user.empty() ? 0 : unsigned{kAllRights};
}

bool AuthState::may_list(const Identity& identity) const {
  if (identity.access) {
    for (const AccessEntry& entry : *identity.access)
      if (entry.type == "registry" && entry.name == "catalog" && !entry.actions.empty())
        return true;
    return rights && rights->any("", kCatalog);
  }
  if (rights) return rights->any(identity.user, kCatalog);
  return mode == AuthMode::none || !identity.user.empty();
}

Result<std::shared_ptr<const AuthState>> Auth::load(const Options& options) {
  auto state = std::make_shared<AuthState>();
  state->mode = options.auth;
  state->realm = options.auth == AuthMode::token ? options.token_realm : options.realm;
  if (options.auth == AuthMode::token && state->realm.empty() && !options.host.empty())
    state->realm = options.host + "/token";
  state->service = options.token_service;
  state->issuer = options.token_issuer;
  state->endpoint = options.token_endpoint;
  state->token_lifetime_ns = options.token_lifetime;
  state->refresh_lifetime_ns = options.refresh_lifetime;
  if (!options.htpasswd.empty()) state->users = TRY(Htpasswd::load(options.htpasswd));
  if (!options.rights.empty()) state->rights = TRY(Rights::load(options.rights));
  for (const std::string& path : options.token_keys)
    TRY(state->keys.add(TRY(fs::read_file(path, kFileLimit))).context("{}", path));
  if (!options.token_roots.empty())
    TRY(state->keys.add_roots(TRY(fs::read_file(options.token_roots, kFileLimit)))
            .context("{}", options.token_roots));
  if (options.token_endpoint) {
    state->signing_key = TRY(signing_key(options.root));
    std::string id = TRY(key_id(state->signing_key));
    state->keys.add_key(TRY(public_part(state->signing_key)), id);
  }
  return std::shared_ptr<const AuthState>(std::move(state));
}

std::shared_ptr<const AuthState> Auth::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

void Auth::replace(std::shared_ptr<const AuthState> state) {
  {
    std::lock_guard lock(mutex_);
    state_ = std::move(state);
  }
  passwords_.clear();
}

Result<Credentials> parse_basic(std::string_view value) {
  if (!http::equal_no_case(value.substr(0, 6), "Basic ")) return invalid("it is not Basic");
  value.remove_prefix(6);
  while (value.starts_with(' ')) value.remove_prefix(1);
  if (value.size() > 4096) return invalid("it is too long");
  std::string text = TRY(base64_decode_strict(value));
  size_t colon = text.find(':');
  if (colon == std::string::npos) return invalid("it has no ':'");
  return Credentials{text.substr(0, colon), text.substr(colon + 1)};
}

Auth::Answer Auth::check_password(http::Exchange& exchange, const AuthState& state,
                                  const std::string& user, const std::string& password) {
  if (!passwords_.knows(user, password)) {
    if (checking_.fetch_add(1) >= kMostChecks) {
      --checking_;
      return {std::nullopt, too_many("too many logins at once, try again")};
    }
    bool right = exchange.run_blocking([&] { return state.users->check(user, password); });
    --checking_;
    if (!right || user.empty())
      return {std::nullopt, unauthorized("the user name or the password is wrong")};
    passwords_.add(user, password);
  }
  return {Identity{user, std::nullopt}, std::nullopt};
}

Auth::Answer Auth::identify(http::Exchange& exchange, const AuthState& state) {
  std::string_view value = exchange.headers().get("Authorization");
  if (state.mode == AuthMode::none || value.empty())
    return {Identity{exchange.peer().tls_subject, std::nullopt}, std::nullopt};
  if (state.mode == AuthMode::htpasswd) {
    auto credentials = parse_basic(value);
    if (!credentials)
      return {std::nullopt, unauthorized("Authorization: " + credentials.error().message())};
    return check_password(exchange, state, credentials->user, credentials->password);
  }
  if (!http::equal_no_case(value.substr(0, 7), "Bearer "))
    return {std::nullopt, unauthorized("a bearer token is required")};
  auto claims = verify_token(value.substr(7), state.keys,
                             {state.issuer, state.service, now_ns() / 1'000'000'000});
  if (!claims) return {std::nullopt, unauthorized(claims.error().message())};
  return {Identity{claims->subject, std::move(claims->access)}, std::nullopt};
}

namespace {

std::string refresh_audience(const AuthState& state) { return state.service + " refresh"; }

}  // namespace

Result<std::string> refresh_token(const AuthState& state, const std::string& user) {
  const int64_t now = now_ns();
  TokenClaims claims;
  claims.issuer = state.issuer;
  claims.subject = user;
  claims.audience = {refresh_audience(state)};
  claims.issued = claims.not_before = now / 1'000'000'000;
  claims.expires = (now + state.refresh_lifetime_ns) / 1'000'000'000;
  claims.id = state.users->fingerprint(user);
  if (claims.id.empty()) return internal("there is no user {}", user);
  return sign_token(claims, state.signing_key);
}

Result<std::string> refreshed_user(const AuthState& state, std::string_view token) {
  TokenClaims claims = TRY(verify_token(
      token, state.keys, {state.issuer, refresh_audience(state), now_ns() / 1'000'000'000}));
  if (claims.subject.empty() || claims.id.empty() ||
      claims.id != state.users->fingerprint(claims.subject))
    return make_error(ErrorKind::permission, "the token is refused: the password was changed");
  return std::move(claims.subject);
}

std::string challenge(const AuthState& state, const http::Exchange& exchange, bool tls,
                      const std::string& scope, const std::string& error) {
  auto quoted = [](std::string_view text) {
    std::string out = "\"";
    for (char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      if (static_cast<unsigned char>(c) >= ' ') out += c;
    }
    return out + "\"";
  };
  if (state.mode == AuthMode::htpasswd) return "Basic realm=" + quoted(state.realm);
  std::string realm = state.realm;
  if (realm.empty())
    realm = fmt::format("{}://{}/token", tls ? "https" : "http", exchange.headers().get("Host"));
  std::string out = "Bearer realm=" + quoted(realm) + ",service=" + quoted(state.service);
  if (!scope.empty()) out += ",scope=" + quoted(scope);
  if (!error.empty()) out += ",error=" + quoted(error);
  return out;
}

Result<AccessEntry> parse_scope(std::string_view text) {
  size_t first = text.find(':');
  size_t last = text.rfind(':');
  if (first == std::string_view::npos || last == first || text.size() > 1024)
    return invalid("scope '{}' is not of the form type:name:actions", text.substr(0, 200));
  AccessEntry entry{std::string(text.substr(0, first)),
                    std::string(text.substr(first + 1, last - first - 1)),
                    {}};
  entry.type.resize(std::min(entry.type.find('('), entry.type.size()));  // "repository(plugin)"
  std::string_view actions = text.substr(last + 1);
  while (!actions.empty()) {
    size_t comma = std::min(actions.find(','), actions.size());
    entry.actions.emplace_back(actions.substr(0, comma));
    actions.remove_prefix(std::min(comma + 1, actions.size()));
  }
  return entry;
}

AccessEntry grant(const AuthState& state, const std::string& user, AccessEntry wanted) {
  Identity identity{user, std::nullopt};
  std::vector<std::string> actions;
  if (wanted.type == "repository" && check_repository(wanted.name)) {
    unsigned rights = state.rights_of(identity, wanted.name);
    for (const std::string& action : wanted.actions) {
      if (action == "*") {
        if (rights & kPull) actions.push_back("pull");
        if (rights & kPush) actions.push_back("push");
        if (rights & kDelete) actions.push_back("delete");
      } else if (unsigned asked = rights_of_actions({action});
                 asked != 0 && (rights & asked) == asked) {
        actions.push_back(action);
      }
    }
  } else if (wanted.type == "registry" && wanted.name == "catalog" && state.may_list(identity)) {
    actions.push_back("*");
  }
  wanted.actions = std::move(actions);
  return wanted;
}

}  // namespace gantry::registry_server

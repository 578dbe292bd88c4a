#include "registry/auth.h"

#include <algorithm>
#include <cerrno>

#include "base/base64.h"
#include "base/clock.h"
#include "registry/errors.h"

namespace gantry::registry {
namespace {

constexpr size_t kTokenLimit = 1u << 20;
constexpr size_t kChallengeLimit = 16u << 10;
constexpr int64_t kDefaultExpiry = 60;  // seconds, if the answer does not say (token.md)

bool is_token_char(char c) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         kOthers.find(c) != kOthers.npos;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), ::tolower);
  return out;
}

// A cursor over a header's value.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}
  bool at_end() const { return at_ == text_.size(); }
  void skip_space() {
    while (!at_end() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }
  bool take(char c) {
    if (at_end() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::string token() {
    size_t begin = at_;
    while (!at_end() && is_token_char(text_[at_])) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }
  std::optional<std::string> quoted() {
    if (!take('"')) return std::nullopt;
    std::string out;
    while (!at_end()) {
      char c = text_[at_++];
      if (c == '"') return out;
      if (c == '\\' && !at_end()) c = text_[at_++];
      out += c;
    }
    return std::nullopt;
  }
  size_t position() const { return at_; }
  void rewind(size_t position) { at_ = position; }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

std::string joined(const Scopes& scopes) {
  std::string out;
  for (const std::string& scope : scopes) out += (out.empty() ? "" : " ") + scope;
  return out;
}

// The answer of a token server (token.md and oauth.md).
struct TokenAnswer {
  std::string token;
  std::string access_token;
  std::string refresh_token;
  int64_t expires_in = 0;
};

}  // namespace
}  // namespace gantry::registry

template <>
struct gantry::json::Schema<gantry::registry::TokenAnswer> {
  using T = gantry::registry::TokenAnswer;
  static constexpr Field fields[] = {
      field<&T::token>("token"), field<&T::access_token>("access_token"),
      field<&T::refresh_token>("refresh_token"), field<&T::expires_in>("expires_in")};
};

namespace gantry::registry {

Result<AuthConfig> AuthConfig::decode(std::string_view header) {
  if (header.empty()) return AuthConfig();
  std::string text = TRY(base64_decode(header).context("invalid X-Registry-Auth header"));
  if (text.empty() || text == "null") return AuthConfig();
  AuthConfig config = TRY(json::parse<AuthConfig>(text).context("invalid X-Registry-Auth header"));
  if (config.username.empty() && !config.auth.empty()) {
    std::string pair = TRY(base64_decode(config.auth).context("invalid X-Registry-Auth header"));
    size_t colon = pair.find(':');
    if (colon == std::string::npos) return invalid("invalid auth configuration file");
    config.username = pair.substr(0, colon);
    config.password = pair.substr(colon + 1);
  }
  return config;
}

std::string registry_domain(std::string_view server) {
  if (size_t scheme = server.find("://"); scheme != server.npos) server.remove_prefix(scheme + 3);
  server = server.substr(0, server.find('/'));
  if (server.empty() || server == "index.docker.io" || server == "registry-1.docker.io")
    return "docker.io";
  return std::string(server);
}

Result<RegistryCredentials> RegistryCredentials::decode(std::string_view header) {
  constexpr const char* kWhat = "invalid X-Registry-Config header";
  RegistryCredentials out;
  if (header.empty()) return out;
  std::string text = TRY(base64_decode(header).context(kWhat));
  if (text.empty() || text == "null") return out;
  json::value document = TRY(json::parse(text).context(kWhat));
  if (!document.is_object()) return invalid("{}: not an object", kWhat);
  for (const auto& [server, entry] : document.get_object()) {
    AuthConfig credentials =
        TRY(AuthConfig::decode(base64_encode(json::serialize(entry))).context(kWhat));
    out.by_domain_[registry_domain(server)] = std::move(credentials);
  }
  return out;
}

AuthConfig RegistryCredentials::of(const std::string& domain) const {
  auto found = by_domain_.find(domain);
  return found == by_domain_.end() ? AuthConfig() : found->second;
}

std::vector<Challenge> parse_challenges(std::string_view value) {
  std::vector<Challenge> out;
  Scanner scanner(value.substr(0, kChallengeLimit));
  while (true) {
    while (scanner.take(',') || scanner.take(' ') || scanner.take('\t')) {
    }
    if (scanner.at_end()) return out;
    Challenge challenge;
    challenge.scheme = lower(scanner.token());
    if (challenge.scheme.empty()) return out;
    while (true) {
      scanner.skip_space();
      size_t before = scanner.position();
      while (scanner.take(',')) scanner.skip_space();
      std::string name = lower(scanner.token());
      scanner.skip_space();
      if (name.empty() || !scanner.take('=')) {  // the next challenge, or the end
        scanner.rewind(before);
        break;
      }
      scanner.skip_space();
      std::optional<std::string> quoted = scanner.quoted();
      std::string text = quoted ? std::move(*quoted) : scanner.token();
      challenge.parameters.emplace(std::move(name), std::move(text));
    }
    out.push_back(std::move(challenge));
    scanner.skip_space();
    if (!scanner.at_end() && !scanner.take(',')) return out;
  }
}

std::string Authenticator::authorization(const Scopes& scopes) {
  if (!credentials_.registry_token.empty()) return "Bearer " + credentials_.registry_token;
  std::lock_guard lock(mutex_);
  if (basic_) return "Basic " + base64_encode(credentials_.username + ":" + credentials_.password);
  auto token = tokens_.find(joined(scopes));
  if (token == tokens_.end() || std::chrono::steady_clock::now() >= token->second.expires)
    return {};
  return "Bearer " + token->second.text;
}

Result<std::string> Authenticator::answer(const http::Headers& headers, const Scopes& scopes,
                                          const std::string& sent, int cancel_fd) {
  std::optional<Challenge> bearer;
  bool basic = false;
  for (const auto& [name, value] : headers.fields()) {
    if (!http::equal_no_case(name, "WWW-Authenticate")) continue;
    for (Challenge& challenge : parse_challenges(value)) {
      if (challenge.scheme == "bearer" && !bearer) bearer = std::move(challenge);
      if (challenge.scheme == "basic") basic = true;
    }
  }
  if (!credentials_.registry_token.empty())
    return Error(ErrorKind::permission, "unauthorized: authentication required");
  if (bearer) {
    Token token = TRY(fetch(*bearer, scopes, cancel_fd));
    std::lock_guard lock(mutex_);
    tokens_[joined(scopes)] = token;
    return "Bearer " + token.text;
  }
  if (!basic) return Error(ErrorKind::permission, "unauthorized: authentication required");
  if (credentials_.username.empty())
    return Error(ErrorKind::permission, "no basic auth credentials", ENOKEY);
  std::string ours = "Basic " + base64_encode(credentials_.username + ":" + credentials_.password);
  // Not whether they have been sent at all: requests go side by side.
  if (sent == ours)
    return Error(ErrorKind::permission, "unauthorized: incorrect username or password");
  std::lock_guard lock(mutex_);
  basic_ = true;
  return ours;
}

std::string Authenticator::refresh_token() {
  std::lock_guard lock(mutex_);
  return refresh_token_;
}

Result<Authenticator::Token> Authenticator::fetch(const Challenge& challenge, const Scopes& scopes,
                                                  int cancel_fd) {
  auto parameter = [&](const char* name) {
    auto found = challenge.parameters.find(name);
    return found == challenge.parameters.end() ? std::string() : found->second;
  };
  http::Agent::Request request;
  request.url = TRY(http::Url::parse(parameter("realm")).context("token realm"));
  bool secret = !credentials_.username.empty() || !credentials_.identity_token.empty();
  if (secret && !plain_ && !request.url.tls())
    return Error(ErrorKind::permission,
                 fmt::format("the registry wants its credentials sent in the clear to {}: refused",
                             request.url.origin()));
  const std::string service = parameter("service");
  if (!credentials_.identity_token.empty()) {
    request.method = "POST";
    request.headers.add("Content-Type", "application/x-www-form-urlencoded");
    request.body = "client_id=docker&grant_type=refresh_token&refresh_token=" +
                   http::percent_encode(credentials_.identity_token) +
                   "&service=" + http::percent_encode(service);
    if (!scopes.empty()) request.body += "&scope=" + http::percent_encode(joined(scopes));
  } else {
    std::string& target = request.url.target;
    auto add = [&](std::string_view name, const std::string& value) {
      target += target.find('?') == std::string::npos ? '?' : '&';
      target.append(name).append("=").append(http::percent_encode(value));
    };
    if (!service.empty()) add("service", service);
    for (const std::string& scope : scopes) add("scope", scope);
    if (offline_) {
      add("offline_token", "true");
      add("client_id", "docker");
    }
    if (!credentials_.username.empty()) {
      add("account", credentials_.username);
      request.headers.add("Authorization", "Basic " + base64_encode(credentials_.username + ":" +
                                                                    credentials_.password));
    }
  }
  http::Agent::Response response = TRY(agent_.send(request, cancel_fd));
  if (response.status != 200) return error_of(response);
  return parse_token(std::move(response));
}

Result<Authenticator::Token> Authenticator::parse_token(http::Agent::Response response) {
  std::string text = TRY(response.read_all(kTokenLimit));
  TokenAnswer answer = TRY(json::parse<TokenAnswer>(text).context("token server"));
  Token token;
  token.text = answer.token.empty() ? answer.access_token : answer.token;
  if (token.text.empty())
    return invalid("authorization server did not include a token in the response");
  if (token.text.find_first_of("\r\n") != std::string::npos)
    return invalid("authorization server: the token is malformed");
  int64_t lifetime = answer.expires_in > 0 ? answer.expires_in : kDefaultExpiry;
  // A little earlier, so that it is still valid when it arrives.
  lifetime = std::clamp<int64_t>(lifetime - 5, 1, 24 * 3600);
  token.expires = std::chrono::steady_clock::now() + std::chrono::seconds(lifetime);
  std::lock_guard lock(mutex_);
  refresh_token_ = answer.refresh_token;
  return token;
}

}  // namespace gantry::registry

#include "registry_server/upstream.h"

#include <algorithm>

#include "base/base64.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/sys.h"

namespace gantry::registry_server {
namespace {

constexpr int kMostRedirects = 5;
constexpr size_t kTokenAnswerLimit = 256u << 10;
constexpr size_t kMostTokens = 1000;
constexpr int64_t kSecond = 1'000'000'000;

struct TokenAnswer {
  std::string token, access_token;
  int64_t expires_in = 60;
};

Error unavailable(std::string_view what) {
  return make_error(ErrorKind::unavailable, "upstream: {}", what);
}

}  // namespace
}  // namespace gantry::registry_server

namespace gantry::json {
template <>
struct Schema<registry_server::TokenAnswer> {
  using T = registry_server::TokenAnswer;
  static constexpr Field fields[] = {field<&T::token>("token"),
                                     field<&T::access_token>("access_token"),
                                     field<&T::expires_in>("expires_in")};
};
}  // namespace gantry::json

namespace gantry::registry_server {

std::map<std::string, std::string> parse_challenge(std::string_view value) {
  std::map<std::string, std::string> out;
  value = value.substr(0, 4096);
  size_t at = std::min(value.find(' '), value.size());
  while (at < value.size() && out.size() < 16) {
    while (at < value.size() && (value[at] == ' ' || value[at] == ',')) ++at;
    std::string name;
    while (at < value.size() && value[at] != '=') {
      char c = value[at++];
      name += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    }
    if (++at >= value.size()) break;
    std::string text;
    if (value[at] == '"') {
      for (++at; at < value.size() && value[at] != '"'; ++at) {
        if (value[at] == '\\' && at + 1 < value.size()) ++at;
        text += value[at];
      }
      ++at;
    } else {
      while (at < value.size() && value[at] != ',') text += value[at++];
    }
    out[name] = text;
  }
  return out;
}

Result<std::unique_ptr<Upstream>> Upstream::open(const Options& options) {
  std::unique_ptr<Upstream> upstream(new Upstream);
  upstream->url_ = TRY(http::Url::parse(options.upstream).context("upstream"));
  upstream->stopped_ = TRY(sys::eventfd(0));
  http::AgentOptions agent;
  agent.user_agent = "gantry-registry/" GANTRY_VERSION;
  agent.connect_timeout = agent.idle_timeout =
      std::chrono::milliseconds(std::max<int64_t>(options.upstream_timeout / 1'000'000, 1));
  agent.proxies = http::Proxies::from_environment();
  agent.max_redirects = kMostRedirects;
  if (!options.upstream_ca.empty()) {
    http::TlsClientOptions tls;
    tls.ca_files = {options.upstream_ca};
    auto context = TRY(http::TlsContext::client(tls).context("upstream-ca"));
    agent.tls = [context](const http::Url&) -> Result<std::shared_ptr<const http::TlsContext>> {
      return std::shared_ptr<const http::TlsContext>(context);
    };
  }
  upstream->agent_ = std::make_unique<http::Agent>(std::move(agent));
  TRY(upstream->reload(options));
  return upstream;
}

void Upstream::stop() {
  uint64_t one = 1;
  (void)sys::write(stopped_.get(), &one, sizeof one);
}

Status Upstream::reload(const Options& options) {
  std::string password;
  if (!options.upstream_password_file.empty())
    password = TRY(fs::read_file(options.upstream_password_file, 64u << 10));
  while (password.ends_with('\n') || password.ends_with('\r')) password.pop_back();
  std::lock_guard lock(mutex_);
  username_ = options.upstream_username;
  password_ = std::move(password);
  tokens_.clear();
  return {};
}

std::string Upstream::basic() const {
  std::lock_guard lock(mutex_);
  return username_.empty() ? "" : "Basic " + base64_encode(username_ + ":" + password_);
}

Result<Upstream::Answer> Upstream::send(const http::Url& url, const std::string& method,
                                        const http::Headers& headers) {
  http::Agent::Request request;
  request.method = method;
  request.url = url;
  request.headers = headers;
  auto answer = agent_->send(request, stopped_.get());
  if (!answer && answer.error().kind() != ErrorKind::cancelled)
    return unavailable(answer.error().message());
  return answer;
}

// The value of Authorization that a challenge asks for.
Result<std::string> Upstream::authorize(std::string_view challenge, const std::string& scope) {
  std::string own = basic();
  if (http::equal_no_case(challenge.substr(0, 5), "Basic")) {
    if (own.empty())
      return make_error(ErrorKind::permission, "upstream: it wants a user name and a password");
    return own;
  }
  if (!http::equal_no_case(challenge.substr(0, 6), "Bearer"))
    return unsupported("upstream: its challenge '{}' is not understood", challenge.substr(0, 80));
  auto parameters = parse_challenge(challenge);
  http::Url realm =
      TRY(http::Url::parse(parameters["realm"]).context("upstream: the token service"));
  // Credentials in the clear go to no other host than they were meant for.
  if (!realm.tls() && realm.origin() != url_.origin()) own.clear();
  realm.target += realm.target.find('?') == std::string::npos ? '?' : '&';
  realm.target += "service=" + http::percent_encode(parameters["service"]);
  if (!scope.empty()) realm.target += "&scope=" + http::percent_encode(scope);
  http::Headers headers;
  if (!own.empty()) headers.set("Authorization", own);
  Answer answer = TRY(send(realm, "GET", headers));
  if (answer.status != 200)
    return make_error(answer.status >= 500 ? ErrorKind::unavailable : ErrorKind::permission,
                      "upstream: the token service answered {}", answer.status);
  std::string body = TRY(answer.read_all(kTokenAnswerLimit));
  auto token = TRY(json::parse<TokenAnswer>(body).context("upstream: the token service"));
  std::string value = "Bearer " + (token.token.empty() ? token.access_token : token.token);
  std::lock_guard lock(mutex_);
  if (tokens_.size() >= kMostTokens) tokens_.clear();
  int64_t seconds = std::clamp<int64_t>(token.expires_in, 60, 3600) - 10;
  tokens_[scope] = {value, now_ns() + seconds * kSecond};
  return value;
}

Result<Upstream::Answer> Upstream::request(const std::string& method, const std::string& path,
                                           const http::Headers& headers, const std::string& scope) {
  std::string authorization;
  {
    std::lock_guard lock(mutex_);
    auto found = tokens_.find(scope);
    if (found != tokens_.end() && found->second.until_ns > now_ns())
      authorization = found->second.value;
  }
  http::Url url = url_;
  url.target = path;
  for (bool asked = false;; asked = true) {
    http::Headers sent = headers;
    if (!authorization.empty()) sent.set("Authorization", authorization);
    Answer answer = TRY(send(url, method, sent));
    if (answer.status == 401 && !asked && answer.url.origin() == url_.origin()) {
      std::string challenge(answer.headers.get("WWW-Authenticate"));
      authorization = TRY(authorize(challenge, scope));
      continue;
    }
    if (answer.status >= 500 || answer.status == 429)
      return unavailable(fmt::format("it answered {}", answer.status));
    return answer;
  }
}

}  // namespace gantry::registry_server

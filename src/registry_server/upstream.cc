#include "registry_server/upstream.h"

#include <poll.h>

#include <algorithm>

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

std::string base64(std::string_view bytes) {
  static constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t bits = 0;
    size_t count = std::min<size_t>(3, bytes.size() - at);
    for (size_t i = 0; i < 3; ++i)
      bits = bits << 8 | (i < count ? static_cast<unsigned char>(bytes[at + i]) : 0);
    for (size_t i = 0; i < 4; ++i) out += i <= count ? kAlphabet[bits >> (18 - 6 * i) & 63] : '=';
  }
  return out;
}

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
  upstream->url_ = TRY(Url::parse(options.upstream));
  // Does the client speak this scheme?
  TRY(http::Client::open(upstream->url_.origin()).context("upstream"));
  TRY(upstream->reload(options));
  return upstream;
}

Status Upstream::reload(const Options& options) {
  std::string password;
  if (!options.upstream_password_file.empty())
    password = TRY(fs::read_file(options.upstream_password_file, 64u << 10));
  while (password.ends_with('\n') || password.ends_with('\r')) password.pop_back();
  timeout_ms_ =
      static_cast<int>(std::clamp<int64_t>(options.upstream_timeout / 1'000'000, 100, 3'600'000));
  std::lock_guard lock(mutex_);
  username_ = options.upstream_username;
  password_ = std::move(password);
  tokens_.clear();
  return {};
}

std::string Upstream::basic() const {
  std::lock_guard lock(mutex_);
  return username_.empty() ? "" : "Basic " + base64(username_ + ":" + password_);
}

Result<Upstream::Answer> Upstream::send(const Url& url, const std::string& method,
                                        const http::Headers& headers) {
  auto client = std::make_shared<http::Client>(TRY(http::Client::open(url.origin())));
  http::Request request;
  request.method = method;
  request.target = url.path;
  request.headers = headers;
  if (stopped_) return make_error(ErrorKind::cancelled, "the registry is stopping");
  auto call = client->send(request);
  if (!call) return unavailable(call.error().message());
  if (!TRY(sys::poll_one(call->fd(), POLLIN, timeout_ms_)))
    return unavailable(url.host + " does not answer in time");
  auto response = call->response();
  if (!response) return unavailable(response.error().message());
  return Answer{std::move(client), std::move(*response)};
}

Result<size_t> Upstream::read_some(Answer& answer, std::span<char> buffer) {
  if (stopped_) return make_error(ErrorKind::cancelled, "the registry is stopping");
  if (!answer.response.readable() && answer.response.fd() >= 0 &&
      !TRY(sys::poll_one(answer.response.fd(), POLLIN, timeout_ms_)))
    return unavailable("it sends no more");
  return answer.response.read_some(buffer);
}

Result<std::string> Upstream::read_all(Answer& answer, size_t limit) {
  std::string out, buffer(64u << 10, '\0');
  while (true) {
    size_t got = TRY(read_some(answer, buffer));
    if (got == 0) return out;
    if (out.size() + got > limit) return invalid("upstream: an answer is over {} bytes", limit);
    out.append(buffer, 0, got);
  }
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
  Url realm = TRY(Url::parse(parameters["realm"]).context("upstream: the token service"));
  // Credentials in the clear go to no other host than they were meant for.
  if (!realm.tls && realm.host != url_.host) own.clear();
  realm.path += realm.path.find('?') == std::string::npos ? '?' : '&';
  realm.path += "service=" + http::percent_encode(parameters["service"]);
  if (!scope.empty()) realm.path += "&scope=" + http::percent_encode(scope);
  http::Headers headers;
  if (!own.empty()) headers.set("Authorization", own);
  Answer answer = TRY(send(realm, "GET", headers));
  if (answer.response.status() != 200)
    return make_error(
        answer.response.status() >= 500 ? ErrorKind::unavailable : ErrorKind::permission,
        "upstream: the token service answered {}", answer.response.status());
  std::string body = TRY(read_all(answer, kTokenAnswerLimit));
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
  Url url = url_;
  url.path = path;
  bool asked = false;
  for (int redirects = 0;;) {
    http::Headers sent = headers;
    if (!authorization.empty() && url.host == url_.host && url.tls == url_.tls)
      sent.set("Authorization", authorization);
    Answer answer = TRY(send(url, method, sent));
    int status = answer.response.status();
    if (status == 401 && !std::exchange(asked, true) && url.host == url_.host) {
      std::string challenge(answer.response.headers().get("WWW-Authenticate"));
      authorization = TRY(authorize(challenge, scope));
      continue;
    }
    if (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) {
      if (++redirects > kMostRedirects) return unavailable("it redirects again and again");
      std::string location(answer.response.headers().get("Location"));
      if (location.starts_with('/'))
        url.path = location;
      else
        url = TRY(Url::parse(location).context("upstream: a redirect"));
      if (url_.tls && !url.tls) return unavailable("it redirects from https to http");
      continue;
    }
    if (status >= 500 || status == 429) return unavailable(fmt::format("it answered {}", status));
    return answer;
  }
}

}  // namespace gantry::registry_server

#include "client/cli/api.h"

#include <charconv>
#include <cstdlib>

namespace gantry::client {
namespace {

// Unreserved characters and those that paths and image names have in them (RFC 3986, 2.3 and 3.3).
void append_segment(std::string& out, std::string_view segment) {
  size_t start = 0;
  while (start <= segment.size()) {
    size_t end = std::min(segment.find_first_of("/:@", start), segment.size());
    out += http::percent_encode(segment.substr(start, end - start));
    if (end < segment.size()) out += segment[end];
    start = end + 1;
  }
}

ErrorKind kind_of(int status) {
  switch (status) {
    case 400:
      return ErrorKind::invalid;
    case 401:
    case 403:
      return ErrorKind::permission;
    case 404:
      return ErrorKind::not_found;
    case 409:
      return ErrorKind::conflict;
    case 501:
      return ErrorKind::unsupported;
    case 503:
      return ErrorKind::unavailable;
    default:
      return ErrorKind::internal;
  }
}

// "1.41" < "1.51"; versions are two numbers.
bool version_less(std::string_view a, std::string_view b) {
  auto number = [](std::string_view text) {
    int value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  };
  auto parts = [&](std::string_view text) {
    size_t dot = std::min(text.find('.'), text.size());
    return std::pair(number(text.substr(0, dot)),
                     dot < text.size() ? number(text.substr(dot + 1)) : 0);
  };
  return parts(a) < parts(b);
}

}  // namespace

Path Path::of(std::initializer_list<std::string_view> segments) {
  Path path("");
  for (std::string_view segment : segments) {
    path.text_ += '/';
    append_segment(path.text_, segment);
  }
  return path;
}

Path& Path::add(std::string_view name, std::string_view value) {
  text_ += std::exchange(query_, true) ? '&' : '?';
  text_.append(name).append("=").append(http::percent_encode(value));
  return *this;
}

Path& Path::add_if(std::string_view name, std::string_view value) {
  return value.empty() ? *this : add(name, value);
}

Path& Path::flag(std::string_view name, bool value) { return value ? add(name, "1") : *this; }

std::string daemon_message(std::string_view body, int status) {
  auto document = json::parse(body);
  if (document && document->is_object())
    if (const json::value* message = document->get_object().if_contains("message"))
      if (message->is_string() && !message->get_string().empty()) body = message->get_string();
  while (!body.empty() && (body.back() == '\n' || body.back() == ' ')) body.remove_suffix(1);
  if (body.empty()) return fmt::format("{} {}", status, http::reason(status));
  return std::string(body);
}

Api::Api(http::Client client) : client_(std::move(client)) {
  if (const char* version = ::getenv("DOCKER_API_VERSION"); version && *version) {
    version_ = version[0] == 'v' ? version + 1 : version;
    pinned_ = negotiated_ = true;
  }
}

Result<std::unique_ptr<Api>> Api::open(std::string_view host) {
  http::Client client = TRY(http::Client::open(host));
  return std::unique_ptr<Api>(new Api(std::move(client)));
}

Error Api::unreachable(Error cause) const {
  if (cause.kind() == ErrorKind::permission)
    return Error(
        ErrorKind::permission,
        fmt::format("permission denied while trying to connect to the gantryd socket at {}: {}\n"
                    "Run the command as root (sudo), or as a member of the socket's group",
                    client_.host().text, cause.message()),
        cause.code());
  if (cause.kind() != ErrorKind::unavailable && cause.kind() != ErrorKind::not_found) return cause;
  return Error(
      ErrorKind::unavailable,
      fmt::format("Cannot connect to gantryd at {}. Is the daemon running?\n({})\n"
                  "Start it with 'systemctl start gantry' or 'gantryd', or choose another one "
                  "with -H, GANTRY_HOST or DOCKER_HOST",
                  client_.host().text, cause.message()),
      cause.code());
}

http::Request Api::request(std::string_view method, const Path& path) const {
  http::Request request;
  request.method = method;
  request.target = fmt::format("/v{}{}", version_, path.text());
  request.headers.add("User-Agent", "gantry/" GANTRY_VERSION);
  return request;
}

Result<http::Headers> Api::ping() {
  http::Request request;
  request.method = "HEAD";
  request.target = "/_ping";
  request.headers.add("User-Agent", "gantry/" GANTRY_VERSION);
  auto response = client_.request(request);
  if (!response) return unreachable(std::move(response).error());
  return response->headers();
}

Status Api::negotiate() {
  if (std::exchange(negotiated_, true)) return {};
  http::Headers headers = TRY(ping());
  std::string_view offered = headers.get("Api-Version");
  if (offered.empty()) offered = "1.24";
  if (version_less(offered, version_)) version_ = offered;
  return {};
}

Result<std::string> Api::negotiated_version() {
  TRY(negotiate());
  return version_;
}

Result<http::Response> Api::checked(http::Response response) {
  if (response.status() < 400) return response;
  const int status = response.status();
  std::string body = TRY(response.read_all(1u << 20));
  return Error(kind_of(status),
               fmt::format("Error response from daemon: {}", daemon_message(body, status)));
}

Result<http::Response> Api::exchange(const std::function<http::Request()>& make) {
  auto sent = client_.request(make());
  if (!sent) return unreachable(std::move(sent).error());
  if (sent->status() != 400 || negotiated_) {
    negotiated_ = true;
    return checked(std::move(*sent));
  }
  // Docker refuses a version that is too new with 400: ask which ones it has, and try again.
  const std::string refused = version_;
  auto failure = checked(std::move(*sent));
  TRY(negotiate());
  if (version_ == refused) return failure;
  auto again = client_.request(make());
  if (!again) return unreachable(std::move(again).error());
  return checked(std::move(*again));
}

Result<std::string> Api::call(std::string_view method, const Path& path) {
  http::Response response = TRY(exchange([&] { return request(method, path); }));
  return response.read_all();
}

Result<std::string> Api::call(std::string_view method, const Path& path, const json::value& body) {
  http::Response response = TRY(exchange([&] {
    http::Request out = request(method, path);
    out.headers.add("Content-Type", "application/json");
    out.body = json::serialize(body);
    return out;
  }));
  return response.read_all();
}

Result<json::value> Api::get(const Path& path) {
  std::string body = TRY(call("GET", path));
  return json::parse(body);
}

Result<http::Response> Api::stream(std::string_view method, const Path& path) {
  return exchange([&] { return request(method, path); });
}

Result<http::Response> Api::stream(std::string_view method, const Path& path,
                                   http::Headers headers) {
  return exchange([&] {
    http::Request out = request(method, path);
    for (const auto& [name, value] : headers.fields()) out.headers.set(name, value);
    return out;
  });
}

Result<http::Response> Api::upload(std::string_view method, const Path& path, Upload what) {
  TRY(negotiate());  // a body that was read cannot be sent again
  http::Request out = request(method, path);
  for (const auto& [name, value] : what.headers.fields()) out.headers.set(name, value);
  out.headers.set("Content-Type", what.content_type);
  out.body_stream = std::move(what.body);
  auto sent = client_.request(out);
  if (!sent) return unreachable(std::move(sent).error());
  return checked(std::move(*sent));
}

Result<http::Call> Api::send(std::string_view method, const Path& path) {
  TRY(negotiate());
  auto sent = client_.send(request(method, path));
  if (!sent) return unreachable(std::move(sent).error());
  return sent;
}

Result<http::Upgrade> Api::hijack(const Path& path, const json::value& body) {
  for (int attempt = 0;; ++attempt) {
    http::Request out = request("POST", path);
    if (!body.is_null()) {
      out.headers.add("Content-Type", "application/json");
      out.body = json::serialize(body);
    }
    auto upgraded = client_.upgrade(std::move(out));
    if (!upgraded) return unreachable(std::move(upgraded).error());
    if (upgraded->fd.valid()) return upgraded;
    if (!upgraded->response) return internal("the daemon did not take the connection over");
    const std::string refused = version_;
    auto failure = checked(std::move(*upgraded->response));
    if (attempt == 0 && !negotiated_) TRY(negotiate());
    if (version_ == refused) {
      if (!failure) return std::move(failure).error();
      return internal("the daemon answered {} instead of taking the connection over",
                      failure->status());
    }
  }
}

}  // namespace gantry::client

// One request on its way through a route: the exchange, what the path said, and the answers of the
// API.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "http/server.h"
#include "server/api_version.h"

namespace gantry::daemon {
class Daemon;
}

namespace gantry::server {

// What a handler gives back when Exchange::wait() says that there is nobody to go on for.
inline Error gone_error(http::Wake wake) {
  if (wake == http::Wake::stopping)
    return Error(ErrorKind::unavailable, "the daemon is shutting down");
  return Error(ErrorKind::cancelled, "the client closed the connection");
}

using Filters = std::map<std::string, std::vector<std::string>>;

// Used by the coroutine of its exchange.
class Call {
 public:
  Call(http::Exchange& exchange, daemon::Daemon* daemon) : x(exchange), daemon_(daemon) {}

  http::Exchange& x;
  ApiVersion version = kNewestVersion;
  std::string path;                          // without the version
  std::map<std::string, std::string> names;  // what the pattern's {name}s stand for

  daemon::Daemon& daemon() { return *daemon_; }
  const std::string& name(const char* key) { return names[key]; }
  std::string query(std::string_view key) const { return std::string(x.query().get(key)); }
  bool flag(std::string_view key) const { return x.query().flag(key); }
  // A whole number of the query; `invalid` names the key when it is none.
  Result<std::optional<int64_t>> number(std::string_view key) const;
  // The "filters" of the query: {"key": ["value"]} or, as older clients send it, {"key": {"value":
  // true}}.
  Result<Filters> filters() const;
  // "1700000000.5" or RFC 3339, in nanoseconds; 0 when absent.
  Result<int64_t> time(std::string_view key) const;

  // The body as JSON, by Docker's rules: the content type must say so; an absent body is an empty
  // object.
  Result<json::value> body();
  template <typename T>
  Result<T> body_as() {
    json::value document = TRY(body());
    return decoded<T>(document);
  }
  template <typename T>
  Result<T> decoded(const json::value& document) {
    auto decoded = json::from_value<T>(document);
    if (!decoded) return std::move(decoded).error().context("invalid JSON");
    return decoded;
  }

  http::Headers extra;  // of this answer
  // What every answer carries: Api-Version, Server and the like.
  http::Headers headers(std::string_view content_type = {}) const;
  Status send(int status, const json::value& document);
  // The document that a query or job gave, or its error.
  template <typename T>
  Status answer(int status, Result<T> result) {
    if (!result) return std::move(result).error();
    if constexpr (json::HasSchema<T>)
      return send(status, json::encode(*result));
    else
      return send(status, std::move(*result));
  }
  // 204 (or another status without a body), or the error.
  template <typename T>
  Status answer_empty(Result<T> result, int status = 204) {
    if (!result) return std::move(result).error();
    return send_empty(status);
  }
  Status send_text(int status, std::string_view content_type, std::string_view text);
  Status send_empty(int status);  // without a body
  Status send_error(const Error& error);
  Status start_stream(std::string_view content_type);
  // One document of a stream, with the line end that Docker's streams have.
  Status write_json(const json::value& document);

 private:
  daemon::Daemon* daemon_;
};

// An answer of any length in bounded memory: sent whole, with its length, when it is short, and
// else in pieces as it comes. Used by the coroutine of its exchange.
class PiecewiseAnswer {
 public:
  PiecewiseAnswer(Call& call, std::string_view content_type)
      : call_(call), content_type_(content_type) {}
  Status write(std::string_view text);
  Status finish(std::string_view last = {});

 private:
  static constexpr size_t kPiece = 64u << 10;
  Call& call_;
  const std::string content_type_;
  std::string buffer_;
};

}  // namespace gantry::server

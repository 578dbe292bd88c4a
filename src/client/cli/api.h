// Requests to the daemon in the terms of the Docker Engine API: versioned paths, JSON bodies,
// errors as
// {"message": …}. A thin layer over http::Client; not thread-safe.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "http/client.h"

namespace gantry::client {

// The newest version of the API that this client speaks.
inline constexpr std::string_view kApiVersion = "1.51";

// The path and query of a request; values are encoded.
class Path {
 public:
  explicit Path(std::string_view path) : text_(path) {}
  // {"containers", id, "json"}: segments are encoded (a "/" inside stays: image names have them).
  static Path of(std::initializer_list<std::string_view> segments);

  Path& add(std::string_view name, std::string_view value);
  // Leaves the parameter out when `value` is empty or false.
  Path& add_if(std::string_view name, std::string_view value);
  Path& flag(std::string_view name, bool value);
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  bool query_ = false;
};

class Api {
 public:
  static Result<std::unique_ptr<Api>> open(std::string_view host);

  // Sends and waits for the whole answer. A status of 400 and above is an Error "Error response
  // from daemon: message" whose kind follows the status; a daemon that cannot be reached says what
  // was tried and how to start one.
  Result<std::string> call(std::string_view method, const Path& path);
  Result<std::string> call(std::string_view method, const Path& path, const json::value& body);
  Result<json::value> get(const Path& path);

  // The same for answers that are read as they come, and for bodies that are sent as they are read.
  using BodySource = std::function<Result<size_t>(std::span<char>)>;
  struct Upload {
    BodySource body;
    std::string content_type;
    http::Headers headers;
  };
  Result<http::Response> stream(std::string_view method, const Path& path);
  Result<http::Response> stream(std::string_view method, const Path& path, http::Headers headers);
  Result<http::Response> upload(std::string_view method, const Path& path, Upload what);
  // Sends without waiting for the answer.
  Result<http::Call> send(std::string_view method, const Path& path);
  // Takes the connection over: `body` may be null.
  Result<http::Upgrade> hijack(const Path& path, const json::value& body);

  // Turns a status of 400 and above into the Error that call() gives.
  static Result<http::Response> checked(http::Response response);

  // The version in use; asks the daemon when the first request has not been sent yet.
  Result<std::string> negotiated_version();
  const std::string& version() const { return version_; }
  // The daemon's answer to HEAD /_ping: its headers.
  Result<http::Headers> ping();

 private:
  explicit Api(http::Client client);
  http::Request request(std::string_view method, const Path& path) const;
  // Sends `make()`; when the daemon says that the version is too new, negotiates and sends once
  // more.
  Result<http::Response> exchange(const std::function<http::Request()>& make);
  Status negotiate();
  Error unreachable(Error cause) const;

  http::Client client_;
  std::string version_{kApiVersion};
  bool pinned_ = false;      // DOCKER_API_VERSION
  bool negotiated_ = false;  // asked, or a request of this version was taken
};

// The daemon's message out of an error body; the body itself when it is no JSON.
std::string daemon_message(std::string_view body, int status);

}  // namespace gantry::client

// A blocking HTTP/1.1 client for one server over a Unix or TCP socket. Linked by the command line,
// so it is small: no event loop, no thread, nothing done before main.
//
//   Client client = TRY(Client::open("unix:///run/gantry/gantry.sock"));
//   Response response = TRY(client.request({.method = "GET", .target = "/_ping"}));
//   std::string body = TRY(response.read_all());
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "http/message.h"

namespace gantry::http {

// Where a daemon listens, as -H and DOCKER_HOST write it.
struct Host {
  enum class Kind { unix_socket, tcp };
  Kind kind = Kind::unix_socket;
  std::string path;  // unix_socket
  std::string name;  // tcp: name or address without brackets
  std::string port;  // tcp
  std::string text;  // as given

  // "unix:///path", "tcp://host[:port]" (2375 when absent), "http://host:port". Errors: invalid.
  static Result<Host> parse(std::string_view text);
};

struct Request {
  std::string method = "GET";
  std::string target = "/";  // path and query, encoded
  Headers headers;           // Host, Content-Length and Transfer-Encoding are the client's own
  std::string body;
  // When set, the body comes from here instead, chunked: fills the buffer, 0 at the end.
  std::function<Result<size_t>(std::span<char>)> body_stream;
};

class ClientConnection;

// A response whose body is read as it comes. Destroying it before the end of the body closes the
// connection. Not thread-safe; may outlive the client.
class Response {
 public:
  Response(Response&&) noexcept;
  Response& operator=(Response&&) noexcept;
  ~Response();

  int status() const { return status_; }
  const Headers& headers() const { return headers_; }

  // At most buffer.size() bytes of the body, 0 at its end. Blocks while nothing is there.
  Result<size_t> read_some(std::span<char> buffer);
  // The rest of the body; an error when it is longer than `limit` bytes.
  Result<std::string> read_all(size_t limit = 256u << 20);
  // To wait for several things at once: when readable() is true, read_some() gives something
  // without waiting for the network; else poll fd() for POLLIN first (read_some() may then still
  // block, if what came was only part of a chunk's frame).
  bool readable() const;
  int fd() const;

 private:
  friend class Client;
  friend class Call;
  Response() = default;

  int status_ = 0;
  Headers headers_;
  std::unique_ptr<ClientConnection> connection_;
};

// A request that was sent and whose response has not been read.
class Call {
 public:
  Call(Call&&) noexcept;
  Call& operator=(Call&&) noexcept;
  ~Call();

  int fd() const;  // readable when the response begins to come
  // Blocks until the head of the response is there. Once.
  Result<Response> response();

 private:
  friend class Client;
  Call() = default;

  std::unique_ptr<ClientConnection> connection_;
};

// What became of a request to leave HTTP: `fd` is valid when the server agreed (101, or 200), else
// `response` tells why not.
struct Upgrade {
  UniqueFd fd;           // blocking
  std::string leftover;  // bytes the server sent after its head, already read
  Headers headers;
  std::optional<Response> response;
};

// Makes connections as they are needed and keeps one between requests. Not thread-safe (nor
// together with its responses); several calls may be under way at once, each has a connection of
// its own.
class Client {
 public:
  // Does not connect yet. Errors: invalid.
  static Result<Client> open(std::string_view host);

  const Host& host() const { return host_; }

  // Sends a request and waits for the head of its response. Errors: unavailable when the server
  // cannot be reached (Error::code() has the errno: ENOENT, ECONNREFUSED, EACCES with kind
  // `permission`).
  Result<Response> request(const Request& request);
  // Sends a request only.
  Result<Call> send(const Request& request);
  // Sends a request with "Connection: Upgrade, Upgrade: tcp".
  Result<Upgrade> upgrade(Request request);

 private:
  explicit Client(Host host) : host_(std::move(host)) {}
  Host host_;
  std::shared_ptr<UniqueFd> idle_ = std::make_shared<UniqueFd>();  // shared with responses
};

}  // namespace gantry::http

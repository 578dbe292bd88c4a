#include "http/client.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/un.h>

#include <charconv>

#include "base/sys.h"
#include "http/parser.h"

namespace gantry::http {
namespace {

constexpr size_t kHeadLimit = 256u << 10;
constexpr size_t kReadSize = 32u << 10;
constexpr std::string_view kDefaultPort = "2375";

Error cannot_connect(const Host& host, int code) {
  // Docker's words, which scripts look for; a refusal of permission has words of its own.
  if (code == EACCES || code == EPERM)
    return Error(ErrorKind::permission,
                 "permission denied while trying to connect to the daemon socket at " + host.text,
                 code);
  return Error(
      ErrorKind::unavailable,
      fmt::format("Cannot connect to the daemon at {}. Is the gantry daemon running?", host.text),
      code);
}

Result<UniqueFd> connect_tcp(const Host& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  int failure = getaddrinfo(host.name.c_str(), host.port.c_str(), &hints, &list);
  if (failure != 0)
    return make_error(ErrorKind::unavailable, "{}: {}", host.text, gai_strerror(failure));
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, freeaddrinfo);
  int code = ECONNREFUSED;
  for (addrinfo* at = list; at != nullptr; at = at->ai_next) {
    UniqueFd fd(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (fd && sys::retry([&] { return ::connect(fd.get(), at->ai_addr, at->ai_addrlen); }) == 0) {
      int on = 1;
      (void)::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      (void)::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
      return fd;
    }
    code = errno;
  }
  return cannot_connect(host, code);
}

Result<UniqueFd> connect_to(const Host& host) {
  if (host.kind == Host::Kind::tcp) return connect_tcp(host);
  if (host.path.size() >= sizeof(sockaddr_un::sun_path)) return cannot_connect(host, ENAMETOOLONG);
  auto fd = sys::connect_unix(host.path);
  if (!fd) return cannot_connect(host, fd.error().code());
  return fd;
}

Status send_all(int fd, std::string_view data) {
  while (!data.empty()) {
    ssize_t sent = sys::retry([&] { return ::send(fd, data.data(), data.size(), MSG_NOSIGNAL); });
    if (sent < 0) return errno_error(errno, "send");
    data.remove_prefix(static_cast<size_t>(sent));
  }
  return {};
}

// The Host field: with the port, unless it is HTTP's own (RFC 9110, 7.2).
std::string authority(const Host& host) {
  if (host.kind != Host::Kind::tcp) return "gantry";
  bool v6 = host.name.find(':') != std::string::npos;
  return (v6 ? "[" + host.name + "]" : host.name) + (host.port == "80" ? "" : ":" + host.port);
}

std::string format_head(const Request& request, const Host& host) {
  std::string head = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.target,
                                 authority(host));
  for (const auto& [name, value] : request.headers.fields())
    head.append(name).append(": ").append(value).append("\r\n");
  if (request.body_stream)
    head += "Transfer-Encoding: chunked\r\n";
  else if (!request.body.empty() || (request.method != "GET" && request.method != "HEAD"))
    head += fmt::format("Content-Length: {}\r\n", request.body.size());
  return head += "\r\n";
}

// A name or value that could end its line would let its author write the rest of the head.
Status check_head(const Request& request) {
  constexpr std::string_view kForbidden("\r\n\0", 3);
  if (request.target.find_first_of(kForbidden) != std::string::npos ||
      request.target.find(' ') != std::string::npos)
    return invalid("invalid request target");
  for (const auto& [name, value] : request.headers.fields())
    if (name.find_first_of(kForbidden) != std::string::npos ||
        value.find_first_of(kForbidden) != std::string::npos)
      return invalid("invalid value of header {:?}", name);
  return {};
}

}  // namespace

// One request and its response, on a connection that goes back to the client's slot when the
// response was read to its end and the server keeps it open.
class ClientConnection {
 public:
  ClientConnection(UniqueFd fd, bool head_request, std::shared_ptr<UniqueFd> idle)
      : fd_(std::move(fd)),
        idle_(std::move(idle)),
        parser_(Parser::Kind::response, kHeadLimit,
                head_request ? Parser::Body::none : Parser::Body::expected) {}

  ~ClientConnection() {
    if (fd_ && parser_.done() && parser_.head().keep_alive && in_.empty() && !broken_)
      *idle_ = std::move(fd_);
  }

  int fd() const { return fd_.get(); }

  Status send(const Request& request, const Host& host) {
    Status sent = send_request(request, host);
    if (!sent) broken_ = true;
    return sent;
  }

 private:
  Status send_request(const Request& request, const Host& host) {
    TRY(send_all(fd(), format_head(request, host) + request.body));
    if (!request.body_stream) return {};
    std::string frame;
    std::string buffer(kReadSize, '\0');
    while (true) {
      size_t size = TRY(request.body_stream(buffer));
      if (size == 0) return send_all(fd(), "0\r\n\r\n");
      frame = fmt::format("{:x}\r\n", size);
      frame.append(buffer, 0, size).append("\r\n");
      TRY(send_all(fd(), frame));
    }
  }

 public:
  // Reads until the head of the final response; interim ones (100 Continue) are passed over.
  Status read_head() {
    while (true) {
      while (!parser_.head_done()) {
        size_t used = TRY(parser_.put(in_, body_));
        in_.erase(0, used);
        if (!parser_.head_done()) TRY(receive());
      }
      if (parser_.head().status / 100 != 1 || parser_.head().status == 101) return {};
      parser_ = Parser(Parser::Kind::response, kHeadLimit);
    }
  }

  bool readable() const { return !body_.empty() || !in_.empty() || parser_.done(); }

  Result<size_t> read_some(std::span<char> buffer) {
    while (body_.empty() && !parser_.done()) {
      if (!in_.empty()) {
        size_t used = TRY(parser_.put(in_, body_));
        in_.erase(0, used);
        if (!body_.empty() || parser_.done()) break;
      }
      TRY(receive());
    }
    size_t size = std::min(buffer.size(), body_.size() - body_used_);
    body_.copy(buffer.data(), size, body_used_);
    body_used_ += size;
    if (body_used_ == body_.size()) {
      body_.clear();
      body_used_ = 0;
    }
    return size;
  }

  MessageHead& head() { return parser_.head(); }
  UniqueFd take_fd() { return std::move(fd_); }
  std::string take_leftover() { return std::move(in_); }

 private:
  Status receive() {
    size_t before = in_.size();
    in_.resize(before + kReadSize);
    ssize_t got = sys::retry([&] { return ::recv(fd(), in_.data() + before, kReadSize, 0); });
    int code = errno;
    in_.resize(before + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0) return errno_error(code, "receive");
    if (got > 0) return {};
    if (!parser_.head_done())
      return make_error(ErrorKind::unavailable,
                        "the daemon closed the connection without an answer");
    Status ended = parser_.put_eof();
    if (!ended)
      return make_error(ErrorKind::unavailable,
                        "the daemon closed the connection within its answer");
    return {};
  }

  UniqueFd fd_;
  std::shared_ptr<UniqueFd> idle_;
  bool broken_ = false;  // the request was not sent whole
  Parser parser_;
  std::string in_;    // received, not parsed
  std::string body_;  // parsed, not read
  size_t body_used_ = 0;
};

Result<Host> Host::parse(std::string_view text) {
  Host host;
  host.text = text;
  auto after = [&](std::string_view scheme) {
    if (!text.starts_with(scheme)) return false;
    text.remove_prefix(scheme.size());
    return true;
  };
  if (after("unix://")) {
    if (text.empty() || text.front() != '/')
      return invalid("invalid host {}: the path must be absolute", host.text);
    host.path = text;
    return host;
  }
  if (!after("tcp://") && !after("http://"))
    return invalid("invalid host {}: use unix:///PATH or tcp://HOST:PORT", host.text);
  host.kind = Kind::tcp;
  if (text.ends_with('/')) text.remove_suffix(1);
  size_t end_of_name = text.starts_with('[') ? text.find(']') : text.rfind(':');
  if (text.starts_with('[')) {
    if (end_of_name == std::string_view::npos) return invalid("invalid host {}", host.text);
    host.name = text.substr(1, end_of_name - 1);
    text.remove_prefix(end_of_name + 1);
  } else {
    host.name = text.substr(0, end_of_name);
    text.remove_prefix(std::min(end_of_name, text.size()));
  }
  host.port = text.empty() ? kDefaultPort : text.substr(1);
  unsigned port = 0;
  auto [end, error] = std::from_chars(host.port.data(), host.port.data() + host.port.size(), port);
  if (host.name.empty() || error != std::errc() || end != host.port.data() + host.port.size() ||
      port == 0 || port > 65535 || (!text.empty() && text.front() != ':') ||
      host.name.find('/') != std::string::npos)
    return invalid("invalid host {}: use tcp://HOST:PORT", host.text);
  return host;
}

Response::Response(Response&&) noexcept = default;
Response& Response::operator=(Response&&) noexcept = default;
Response::~Response() = default;

Result<size_t> Response::read_some(std::span<char> buffer) {
  return connection_->read_some(buffer);
}

Result<std::string> Response::read_all(size_t limit) {
  std::string out;
  std::string buffer(kReadSize, '\0');
  while (true) {
    size_t size = TRY(connection_->read_some(buffer));
    if (size == 0) return out;
    if (out.size() + size > limit) return invalid("the answer is longer than {} bytes", limit);
    out.append(buffer, 0, size);
  }
}

bool Response::readable() const { return connection_->readable(); }
int Response::fd() const { return connection_->fd(); }

Call::Call(Call&&) noexcept = default;
Call& Call::operator=(Call&&) noexcept = default;
Call::~Call() = default;

int Call::fd() const { return connection_->fd(); }

Result<Response> Call::response() {
  TRY(connection_->read_head());
  Response response;
  response.status_ = connection_->head().status;
  response.headers_ = std::move(connection_->head().headers);
  response.connection_ = std::move(connection_);
  return response;
}

Result<Client> Client::open(std::string_view host) {
  Host parsed = TRY(Host::parse(host));
  return Client(std::move(parsed));
}

Result<Call> Client::send(const Request& request) {
  TRY(check_head(request));
  UniqueFd fd = std::move(*idle_);
  // An idle connection that has something to say was closed by the server.
  if (fd && sys::poll_one(fd.get(), POLLIN | POLLRDHUP, 0).value_or(true)) fd.reset();
  if (!fd) fd = TRY(connect_to(host_));
  Call call;
  call.connection_ =
      std::make_unique<ClientConnection>(std::move(fd), request.method == "HEAD", idle_);
  Status sent = call.connection_->send(request, host_);
  // A server that refuses a request early answers and stops reading: its answer tells why.
  if (!sent && sent.error().code() != EPIPE && sent.error().code() != ECONNRESET)
    return std::move(sent).error();
  return call;
}

Result<Response> Client::request(const Request& request) {
  Call call = TRY(send(request));
  return call.response();
}

Result<Upgrade> Client::upgrade(Request request) {
  request.headers.set("Connection", "Upgrade");
  request.headers.set("Upgrade", "tcp");
  Call call = TRY(send(request));
  TRY(call.connection_->read_head());
  Upgrade upgrade;
  MessageHead& head = call.connection_->head();
  if (head.status == 101 || (head.status == 200 && !head.content_length && !head.chunked)) {
    upgrade.headers = std::move(head.headers);
    upgrade.leftover = call.connection_->take_leftover();
    upgrade.fd = call.connection_->take_fd();
  } else {
    upgrade.response = TRY(call.response());
  }
  return upgrade;
}

}  // namespace gantry::http

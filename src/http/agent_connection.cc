#include "http/agent_connection.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "base/base64.h"
#include "base/sys.h"

namespace gantry::http {
namespace {

constexpr size_t kReceiveSize = 64u << 10;

Error unavailable(std::string message, int code = 0) {
  return Error(ErrorKind::unavailable, std::move(message), code);
}

std::string lower_strerror(int code) {
  std::string text = ::strerror(code);
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] += 32;
  return text;
}

std::string address_text(const sockaddr* address, socklen_t size) {
  char host[NI_MAXHOST] = "?";
  char port[NI_MAXSERV] = "?";
  ::getnameinfo(address, size, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
  return address->sa_family == AF_INET6 ? fmt::format("[{}]:{}", host, port)
                                        : fmt::format("{}:{}", host, port);
}

}  // namespace

std::string AgentConnection::key_of(const AgentOptions& options, const Url& url) {
  return url.scheme + "://" + url.endpoint() + " " + options.proxies.for_url(url);
}

Result<std::unique_ptr<AgentConnection>> AgentConnection::open(const AgentOptions& options,
                                                               const Url& url, int cancel_fd) {
  std::unique_ptr<AgentConnection> connection(new AgentConnection(options, cancel_fd));
  connection->key_ = key_of(options, url);
  std::string proxy_text = options.proxies.for_url(url);
  if (proxy_text.empty()) {
    TRY(connection->connect(url.host, url.port));
  } else {
    Url proxy = TRY(Url::parse(proxy_text).context("proxyconnect"));
    if (proxy.tls())
      return unsupported("proxyconnect tcp: a proxy over TLS is not supported: {}", proxy.text());
    TRY(connection->connect(proxy.host, proxy.port).context("proxyconnect tcp"));
    if (url.tls()) {
      TRY(connection->tunnel(url, proxy));
    } else {
      connection->absolute_ = true;
      if (!proxy.user_password.empty())
        connection->proxy_authorization_ = "Basic " + base64_encode(proxy.user_password);
    }
  }
  if (url.tls()) TRY(connection->start_tls(url));
  return connection;
}

Status AgentConnection::wait(short events, std::chrono::milliseconds timeout) {
  auto end = std::chrono::steady_clock::now() + timeout;
  while (true) {
    pollfd waiting[2] = {{fd_.get(), events, 0}, {cancel_fd_, POLLIN, 0}};
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    int ready = ::poll(waiting, cancel_fd_ >= 0 ? 2 : 1,
                       static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready < 0 && errno != EINTR) return errno_error(errno, "poll");
    if (ready < 0) continue;
    if (cancel_fd_ >= 0 && waiting[1].revents != 0)
      return Error(ErrorKind::cancelled, "context canceled");
    if (waiting[0].revents != 0) return {};
    if (ready == 0) return unavailable("i/o timeout", ETIMEDOUT);
  }
}

Status AgentConnection::connect(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  int failure = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &list);
  if (failure != 0) {
    std::string why = failure == EAI_NONAME || failure == EAI_NODATA ? "no such host"
                      : failure == EAI_AGAIN ? "Temporary failure in name resolution"
                                             : ::gai_strerror(failure);
    return unavailable(fmt::format("dial tcp: lookup {}: {}", host, why),
                       failure == EAI_AGAIN ? EAGAIN : ENOENT);
  }
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, freeaddrinfo);
  Error last = unavailable("dial tcp: no address");
  for (addrinfo* at = list; at != nullptr; at = at->ai_next) {
    std::string address = address_text(at->ai_addr, at->ai_addrlen);
    fd_.reset(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd_) return errno_error(errno, "dial tcp {}: socket", address);
    int code = 0;
    if (::connect(fd_.get(), at->ai_addr, at->ai_addrlen) != 0) code = errno;
    if (code == EINPROGRESS) {
      Status waited = wait(POLLOUT, options_.connect_timeout);
      if (!waited && waited.error().kind() == ErrorKind::cancelled) return waited;
      if (!waited) {
        last = std::move(waited).error().context("dial tcp " + address);
        continue;
      }
      socklen_t size = sizeof code;
      ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &code, &size);
    }
    if (code == 0) {
      int on = 1;
      (void)::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      (void)::setsockopt(fd_.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
      return {};
    }
    last =
        unavailable(fmt::format("dial tcp {}: connect: {}", address, lower_strerror(code)), code);
  }
  return last;
}

Status AgentConnection::tunnel(const Url& url, const Url& proxy) {
  std::string head = fmt::format("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\nUser-Agent: {1}\r\n",
                                 url.endpoint(), options_.user_agent);
  if (!proxy.user_password.empty())
    head += "Proxy-Authorization: Basic " + base64_encode(proxy.user_password) + "\r\n";
  TRY(send_all(head + "\r\n"));
  TRY(receive_head(true).context("proxyconnect tcp"));
  int status = parser_->head().status;
  if (status != 200)
    return unavailable(fmt::format("proxyconnect tcp: {} {}", status, reason(status)));
  if (!in_.empty()) return invalid("proxyconnect tcp: the proxy spoke before it was spoken to");
  answered_ = false;
  return {};
}

Status AgentConnection::start_tls(const Url& url) {
  std::shared_ptr<const TlsContext> context;
  if (options_.tls)
    context = TRY(options_.tls(url));
  else
    context = TRY(TlsContext::client({}));
  tls_ = TRY(TlsStream::connect(*context, fd_.get(), url.host));
  auto end = std::chrono::steady_clock::now() + options_.connect_timeout;
  while (true) {
    if (tls_->handshake() == 1) return {};
    if (errno == EAGAIN) {
      auto left =
          std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
      Status waited = wait(tls_->needs_write() ? POLLOUT : POLLIN, left);
      if (!waited && waited.error().code() == ETIMEDOUT)
        return unavailable("net/http: TLS handshake timeout", ETIMEDOUT);
      TRY(std::move(waited));
    } else if (errno == EPROTO) {
      // What a certificate says does not change by asking again.
      return Error(ErrorKind::invalid, tls_->failure(), EPROTO);
    } else {
      return unavailable(errno == ECONNRESET ? "EOF" : lower_strerror(errno), errno);
    }
  }
}

Result<size_t> AgentConnection::receive(char* buffer, size_t size) {
  while (true) {
    ssize_t got = tls_ ? tls_->read(buffer, size)
                       : sys::retry([&] { return ::recv(fd_.get(), buffer, size, 0); });
    if (got > 0) answered_ = true;
    if (got == 0 && tls_ && tls_->truncated()) broken_ = true;
    if (got >= 0) return static_cast<size_t>(got);
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      TRY(wait(tls_ && tls_->needs_write() ? POLLOUT : POLLIN, options_.idle_timeout));
      continue;
    }
    broken_ = true;
    if (errno == EPROTO) return Error(ErrorKind::unavailable, tls_->failure(), EPROTO);
    return unavailable("read: " + lower_strerror(errno), errno);
  }
}

Status AgentConnection::send_all(std::string_view data) {
  while (!data.empty()) {
    ssize_t sent = tls_ ? tls_->write(data.data(), data.size()) : sys::retry([&] {
      return ::send(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL);
    });
    if (sent > 0) {
      data.remove_prefix(static_cast<size_t>(sent));
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      TRY(wait(tls_ && !tls_->needs_write() ? POLLIN : POLLOUT, options_.idle_timeout));
      continue;
    }
    broken_ = true;
    return unavailable("write: " + lower_strerror(errno), errno);
  }
  return {};
}

Status AgentConnection::send(const Agent::Request& request) {
  parser_.reset();
  body_.clear();
  body_used_ = 0;
  left_.reset();
  answered_ = false;
  std::string head = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\n", request.method,
                                 absolute_ ? request.url.text() : request.url.target,
                                 request.url.authority(), options_.user_agent);
  constexpr std::string_view kForbidden("\r\n\0", 3);
  for (const auto& [name, value] : request.headers.fields()) {
    if (name.find_first_of(kForbidden) != std::string::npos ||
        value.find_first_of(kForbidden) != std::string::npos)
      return invalid("invalid value of header {:?}", name);
    head.append(name).append(": ").append(value).append("\r\n");
  }
  if (!proxy_authorization_.empty())
    head += "Proxy-Authorization: " + proxy_authorization_ + "\r\n";
  bool body_method = request.method != "GET" && request.method != "HEAD";
  if (request.body_stream && !request.body_size)
    head += "Transfer-Encoding: chunked\r\n";
  else if (request.body_stream)
    head += fmt::format("Content-Length: {}\r\n", *request.body_size);
  else if (body_method || !request.body.empty())
    head += fmt::format("Content-Length: {}\r\n", request.body.size());
  head += "\r\n";
  Status sent = send_all(head + request.body);
  if (sent && request.body_stream) sent = send_body(request);
  // A server that refuses early answers and stops reading: its answer tells why.
  if (!sent && sent.error().code() != EPIPE && sent.error().code() != ECONNRESET) return sent;
  return {};
}

Status AgentConnection::send_body(const Agent::Request& request) {
  std::string buffer(kReceiveSize * 4, '\0');
  uint64_t total = 0;
  while (true) {
    Result<size_t> got = request.body_stream(buffer);
    if (!got) {
      broken_ = true;
      return std::move(got).error();
    }
    total += *got;
    if (request.body_size &&
        (total > *request.body_size || (*got == 0 && total != *request.body_size))) {
      broken_ = true;
      return internal("the body has not the length that was announced");
    }
    std::string_view piece(buffer.data(), *got);
    if (request.body_size) {
      if (piece.empty()) return {};
      TRY(send_all(piece));
    } else {
      if (piece.empty()) return send_all("0\r\n\r\n");
      TRY(send_all(fmt::format("{:x}\r\n", piece.size())));
      TRY(send_all(piece));
      TRY(send_all("\r\n"));
    }
  }
}

Status AgentConnection::receive_head(bool without_body) {
  while (true) {
    parser_ = std::make_unique<Parser>(Parser::Kind::response, options_.header_limit,
                                       without_body ? Parser::Body::none : Parser::Body::expected);
    while (!parser_->head_done()) {
      Result<size_t> used = parser_->put(in_, body_);
      if (!used) {
        broken_ = true;
        return std::move(used).error();
      }
      in_.erase(0, *used);
      if (parser_->head_done()) break;
      size_t before = in_.size();
      in_.resize(before + kReceiveSize);
      Result<size_t> got = receive(in_.data() + before, kReceiveSize);
      in_.resize(before + (got ? *got : 0));
      if (!got) return std::move(got).error();
      if (*got == 0) {
        broken_ = true;
        return unavailable("EOF", ECONNRESET);
      }
    }
    if (parser_->head().status / 100 != 1) return {};  // else an interim answer
  }
}

Status AgentConnection::read_head(const std::string& method) {
  TRY(receive_head(method == "HEAD"));
  const MessageHead& head = parser_->head();
  bool none = method == "HEAD" || head.status == 204 || head.status == 304;
  if (none)
    left_ = 0;
  else if (head.content_length && !head.chunked)
    left_ = *head.content_length;
  return {};
}

Result<size_t> AgentConnection::read_body(std::span<char> buffer) {
  if (left_) {
    size_t size = static_cast<size_t>(std::min<uint64_t>(buffer.size(), *left_));
    if (size == 0) return size_t{0};
    if (!in_.empty()) {
      size = std::min(size, in_.size());
      std::memcpy(buffer.data(), in_.data(), size);
      in_.erase(0, size);
    } else {
      size = TRY(receive(buffer.data(), size));
      if (size == 0) {
        broken_ = true;
        return unavailable("unexpected EOF", ECONNRESET);
      }
    }
    *left_ -= size;
    return size;
  }
  while (body_used_ == body_.size() && !parser_->done()) {
    body_.clear();
    body_used_ = 0;
    if (in_.empty()) {
      in_.resize(kReceiveSize);
      Result<size_t> got = receive(in_.data(), kReceiveSize);
      in_.resize(got ? *got : 0);
      if (!got) return std::move(got).error();
      if (*got == 0) {
        Status ended = parser_->put_eof();
        if (!ended || broken_) {
          broken_ = true;
          return unavailable("unexpected EOF", ECONNRESET);
        }
        return size_t{0};
      }
    }
    Result<size_t> used = parser_->put(in_, body_);
    if (!used) {
      broken_ = true;
      return std::move(used).error();
    }
    if (*used == 0) {  // a chunk's head that has not come whole
      size_t before = in_.size();
      in_.resize(before + kReceiveSize);
      Result<size_t> got = receive(in_.data() + before, kReceiveSize);
      in_.resize(before + (got ? *got : 0));
      if (!got) return std::move(got).error();
      if (*got == 0) {
        broken_ = true;
        return unavailable("unexpected EOF", ECONNRESET);
      }
    } else {
      in_.erase(0, *used);
    }
  }
  size_t size = std::min(buffer.size(), body_.size() - body_used_);
  body_.copy(buffer.data(), size, body_used_);
  body_used_ += size;
  return size;
}

bool AgentConnection::at_end() const {
  if (broken_ || !parser_ || !parser_->head_done() || !parser_->head().keep_alive || !in_.empty())
    return false;
  return left_ ? *left_ == 0 : parser_->done() && body_used_ == body_.size();
}

bool AgentConnection::usable() const {
  return !sys::poll_one(fd_.get(), POLLIN | POLLRDHUP, 0).value_or(true) &&
         !(tls_ && tls_->pending());
}

}  // namespace gantry::http

#include "http/agent.h"

#include <list>
#include <mutex>

#include "http/agent_connection.h"

namespace gantry::http {
namespace {

constexpr size_t kUnwantedLimit = 256u
                                  << 10;  // of a body that nobody wants, to keep the connection

std::string title(std::string_view method) {
  std::string out(method);
  for (size_t i = 1; i < out.size(); ++i)
    if (out[i] >= 'A' && out[i] <= 'Z') out[i] += 32;
  return out;
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

}  // namespace

// Idle connections, the longest idle first.
struct Agent::Pool {
  std::mutex mutex;
  std::list<std::unique_ptr<AgentConnection>> idle;
  size_t limit = 0;

  std::unique_ptr<AgentConnection> take(const std::string& key) {
    std::lock_guard lock(mutex);
    for (auto at = idle.end(); at != idle.begin();) {
      --at;
      if ((*at)->key() != key) continue;
      std::unique_ptr<AgentConnection> found = std::move(*at);
      at = idle.erase(at);
      if (found->usable()) return found;
    }
    return nullptr;
  }
  void put(std::unique_ptr<AgentConnection> connection) {
    std::lock_guard lock(mutex);
    idle.push_back(std::move(connection));
    if (idle.size() > limit) idle.pop_front();
  }
};

Agent::Response::Response(Response&&) noexcept = default;
Agent::Response& Agent::Response::operator=(Response&&) noexcept = default;
Agent::Response::~Response() {
  if (!connection_ || !connection_->at_end()) return;
  if (auto give_back = connection_->take_give_back()) give_back(std::move(connection_));
}

Result<size_t> Agent::Response::read_some(std::span<char> buffer) {
  return connection_->read_body(buffer);
}

Result<std::string> Agent::Response::read_all(size_t limit) {
  std::string out;
  std::string buffer(64u << 10, '\0');
  if (content_length && *content_length > limit)
    return invalid("{}: the answer of {} bytes is longer than {}", url.text(), *content_length,
                   limit);
  while (true) {
    size_t size = TRY(read_some(buffer));
    if (size == 0) return out;
    if (out.size() + size > limit)
      return invalid("{}: the answer is longer than {} bytes", url.text(), limit);
    out.append(buffer, 0, size);
  }
}

Agent::Agent(AgentOptions options) : options_(std::move(options)), pool_(std::make_shared<Pool>()) {
  pool_->limit = options_.kept_connections;
}
Agent::~Agent() = default;

Result<Agent::Response> Agent::send_once(const Request& request, int cancel_fd) {
  std::unique_ptr<AgentConnection> connection =
      pool_->take(AgentConnection::key_of(options_, request.url));
  bool reused = connection != nullptr;
  if (reused)
    connection->reuse(cancel_fd);
  else
    connection = TRY(AgentConnection::open(options_, request.url, cancel_fd));
  Status sent = connection->send(request);
  if (sent) sent = connection->read_head(request.method);
  // The server may have closed a kept connection just as it was used again.
  if (!sent && reused && !connection->answered() && !request.body_stream &&
      sent.error().kind() == ErrorKind::unavailable && sent.error().code() != ETIMEDOUT) {
    connection = TRY(AgentConnection::open(options_, request.url, cancel_fd));
    sent = connection->send(request);
    if (sent) sent = connection->read_head(request.method);
  }
  if (!sent) return std::move(sent).error();
  Response response;
  MessageHead& head = connection->head();
  response.status = head.status;
  if (!head.chunked) response.content_length = head.content_length;
  response.headers = std::move(head.headers);
  response.url = request.url;
  connection->give_back([weak = std::weak_ptr<Pool>(pool_)](std::unique_ptr<AgentConnection> done) {
    if (auto pool = weak.lock()) pool->put(std::move(done));
  });
  response.connection_ = std::move(connection);
  return response;
}

Result<Agent::Response> Agent::send(const Request& request, int cancel_fd) {
  Request at = request;
  for (int redirects = 0;; ++redirects) {
    Result<Response> response =
        send_once(at, cancel_fd).context("{} \"{}\"", title(at.method), at.url.text());
    if (!response || !is_redirect(response->status) || !request.follow_redirects) return response;
    std::string_view location = response->headers.get("Location");
    if (location.empty()) return response;
    if (request.body_stream)
      return invalid("{} \"{}\": redirected with its body under way", title(at.method),
                     at.url.text());
    if (redirects >= options_.max_redirects)
      return invalid("{} \"{}\": stopped after {} redirects", title(at.method), at.url.text(),
                     options_.max_redirects);
    Url next = TRY(at.url.resolve(location).context("{} \"{}\"", title(at.method), at.url.text()));
    if (next.text() == at.url.text())
      return invalid("{} \"{}\": redirected to itself", title(at.method), at.url.text());
    if (at.url.tls() && !next.tls())
      return invalid("{} \"{}\": refusing to follow a redirect from https to {}", title(at.method),
                     at.url.text(), next.origin());
    if (next.origin() != at.url.origin()) {
      at.headers.remove("Authorization");
      at.headers.remove("Cookie");
    }
    bool to_get = response->status == 303 ||
                  ((response->status == 301 || response->status == 302) && at.method == "POST");
    if (to_get && at.method != "HEAD") {
      at.method = "GET";
      at.body.clear();
      at.headers.remove("Content-Type");
    }
    at.url = std::move(next);
    std::string drained(16u << 10, '\0');
    for (size_t size = 0; size < kUnwantedLimit;) {
      Result<size_t> got = response->read_some(drained);
      if (!got || *got == 0) break;
      size += *got;
    }
  }
}

}  // namespace gantry::http

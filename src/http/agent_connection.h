// One connection of an Agent: waiting with a bound and a cancellation, TLS, framing. Internal.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/unique_fd.h"
#include "http/agent.h"
#include "http/parser.h"

namespace gantry::http {

class AgentConnection {
 public:
  // Connects to "host:port" of `url`, or to the proxy, and speaks TLS if the URL says so.
  static Result<std::unique_ptr<AgentConnection>> open(const AgentOptions& options, const Url& url,
                                                       int cancel_fd);

  // The kept connection is used again for another request.
  void reuse(int cancel_fd) { cancel_fd_ = cancel_fd; }
  bool usable() const;  // an idle one: the server has neither closed it nor spoken
  const std::string& key() const { return key_; }
  // Those of one key can serve the same requests.
  static std::string key_of(const AgentOptions& options, const Url& url);

  Status send(const Agent::Request& request);
  Status read_head(const std::string& method);
  MessageHead& head() { return parser_->head(); }
  Result<size_t> read_body(std::span<char> buffer);
  bool at_end() const;  // the body was read whole, and the connection can go on
  bool answered() const { return answered_; }  // some byte of an answer came

  void give_back(std::function<void(std::unique_ptr<AgentConnection>)> to) { give_back_ = to; }
  std::function<void(std::unique_ptr<AgentConnection>)> take_give_back() {
    return std::exchange(give_back_, nullptr);
  }

 private:
  AgentConnection(const AgentOptions& options, int cancel_fd)
      : options_(options), cancel_fd_(cancel_fd) {}

  Status connect(const std::string& host, const std::string& port);
  Status tunnel(const Url& url, const Url& proxy);
  Status start_tls(const Url& url);
  // Waits until the socket is ready; errors: cancelled, unavailable ("i/o timeout").
  Status wait(short events, std::chrono::milliseconds timeout);
  Result<size_t> receive(char* buffer, size_t size);  // 0 at the end
  Status send_all(std::string_view data);
  Status send_body(const Agent::Request& request);
  Status receive_head(bool without_body);

  const AgentOptions options_;
  int cancel_fd_;
  std::string key_;
  UniqueFd fd_;
  std::unique_ptr<TlsStream> tls_;
  std::string proxy_authorization_;  // of requests that a proxy is to forward
  bool absolute_ = false;            // such requests name the whole URL
  std::unique_ptr<Parser> parser_;
  std::string in_;    // received, not parsed
  std::string body_;  // parsed, not read
  size_t body_used_ = 0;
  std::optional<uint64_t> left_;  // of a body with a length, whose bytes need no parsing
  bool answered_ = false;
  bool broken_ = false;
  std::function<void(std::unique_ptr<AgentConnection>)> give_back_;
};

}  // namespace gantry::http

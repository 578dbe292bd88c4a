// A blocking HTTP client for the wide world: any host, over TLS or plain, through proxies,
// following redirects, with connections kept and bodies streamed both ways. What a registry client
// stands on.
//
//   Agent agent(options);
//   Agent::Request request;
//   request.url = TRY(Url::parse("https://registry.example/v2/"));
//   Agent::Response response = TRY(agent.send(request, job.cancel().fd()));
//
// Errors are worded as Go's net/http words them, which is what Docker's users know:
// Get "https://registry.example/v2/": dial tcp 192.0.2.1:443: connect: connection refused.
// Kinds: unavailable for what another attempt may mend, cancelled when the descriptor became
// readable, invalid for a certificate or an answer that is wrong.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/message.h"
#include "http/tls.h"
#include "http/url.h"

namespace gantry::http {

// Which proxy a request goes through. Hosts of loopback never do.
struct Proxies {
  std::string http;                 // URL; "": none
  std::string https;                // the same, for https; reached by CONNECT
  std::vector<std::string> except;  // "*", "host", ".domain", "domain", address, CIDR; ":port" may
                                    // follow

  // HTTP_PROXY, HTTPS_PROXY, NO_PROXY and their lower-case forms.
  static Proxies from_environment();
  // "" when the URL is asked for directly.
  std::string for_url(const Url& url) const;
};

struct AgentOptions {
  std::string user_agent = "gantry";
  std::chrono::milliseconds connect_timeout{30'000};  // for the connection, and for TLS
  std::chrono::milliseconds idle_timeout{60'000};     // in which no byte moves
  Proxies proxies;
  int max_redirects = 10;
  size_t header_limit = 64u << 10;
  size_t kept_connections = 16;  // idle ones, of all hosts
  // The TLS to use with "host:port"; absent: the machine's roots.
  std::function<Result<std::shared_ptr<const TlsContext>>(const Url&)> tls;
};

class AgentConnection;

// Thread-safe. Outlives its responses.
class Agent {
 public:
  struct Request {
    std::string method = "GET";
    Url url;
    Headers headers;  // Host, User-Agent and the framing are the agent's own
    std::string body;
    // When set the body comes from here: fills the buffer, 0 at the end. `body_size` bytes in all,
    // or chunked when that is not known. It is asked from the start once only: such a request is
    // neither sent again nor redirected.
    std::function<Result<size_t>(std::span<char>)> body_stream;
    std::optional<uint64_t> body_size;
    bool follow_redirects = true;
  };

  // Destroying it before the end of the body closes the connection.
  class Response {
   public:
    Response(Response&&) noexcept;
    Response& operator=(Response&&) noexcept;
    ~Response();
    int status = 0;
    Headers headers;
    Url url;  // that answered, after redirects
    std::optional<uint64_t> content_length;

    // At most buffer.size() bytes, 0 at the end; a body that is cut short is `unavailable`.
    Result<size_t> read_some(std::span<char> buffer);
    // The rest; `invalid` when it is longer than `limit`.
    Result<std::string> read_all(size_t limit);

   private:
    friend class Agent;
    Response() = default;
    std::unique_ptr<AgentConnection> connection_;
  };

  explicit Agent(AgentOptions options);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // Sends it and waits for the head of the final answer. `cancel_fd` readable ends this, and later
  // the reading of the body. Redirects lose Authorization and Cookie when they leave the host; one
  // that leads from https to http, back to itself or on for too long is an error.
  Result<Response> send(const Request& request, int cancel_fd = -1);

 private:
  struct Pool;
  Result<Response> send_once(const Request& request, int cancel_fd);
  AgentOptions options_;
  std::shared_ptr<Pool> pool_;
};

}  // namespace gantry::http

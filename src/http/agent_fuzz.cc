// Any bytes as a server's answer: what the client makes of them is bounded, and does not depend on
// how they were cut into packets. Redirects lead to the same server, or are refused.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/unique_fd.h"
#include "http/agent.h"

namespace {

using namespace gantry;
using namespace gantry::http;

constexpr size_t kBodyLimit = 1u << 20;

void require(bool condition) {
  if (!condition) std::abort();
}

// Answers every connection's first bytes with the input, in pieces of `step`, and closes it.
class Server {
 public:
  Server() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    require(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    require(::listen(socket_.get(), 64) == 0);
    require(::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port = ntohs(address.sin_port);
    std::thread([this] { serve(); }).detach();
  }
  uint16_t port = 0;
  // What the connections that come get from now on; an older one may still be answered.
  void answer(std::string_view input, size_t step) {
    std::lock_guard lock(mutex_);
    input_ = std::make_shared<const std::string>(input);
    step_ = step;
  }

 private:
  void serve() {
    while (true) {
      UniqueFd peer(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!peer.valid()) continue;
      int on = 1;
      (void)::setsockopt(peer.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      char request[4096];
      if (::recv(peer.get(), request, sizeof request, 0) <= 0) continue;
      std::shared_ptr<const std::string> input;
      size_t step = 1;
      {
        std::lock_guard lock(mutex_);
        input = input_;
        step = step_;
      }
      for (std::string_view left = *input; !left.empty();) {
        std::string_view part = left.substr(0, step);
        if (::send(peer.get(), part.data(), part.size(), MSG_NOSIGNAL) < 0) break;
        left.remove_prefix(part.size());
      }
      (void)::shutdown(peer.get(), SHUT_WR);
      // Until the client has read it all: closing sooner could take bytes away from it.
      while (::recv(peer.get(), request, sizeof request, 0) > 0) {
      }
    }
  }
  UniqueFd socket_;
  std::mutex mutex_;
  std::shared_ptr<const std::string> input_;
  size_t step_ = 1;
};

struct Outcome {
  bool answered = false;
  int status = 0;
  bool whole = false;
  std::string body;
  bool operator==(const Outcome&) const = default;
};

Outcome ask(const Server& server, const char* method) {
  AgentOptions options;
  options.connect_timeout = options.idle_timeout = std::chrono::milliseconds(5000);
  options.max_redirects = 3;
  options.header_limit = 8u << 10;
  options.kept_connections = 0;
  Agent agent(std::move(options));
  Agent::Request request;
  request.method = method;
  request.url = Url::parse("http://127.0.0.1:" + std::to_string(server.port) + "/a").release();
  Outcome out;
  Result<Agent::Response> response = agent.send(request);
  if (!response) return out;
  out.answered = true;
  out.status = response->status;
  require(response->url.host == "127.0.0.1" || response->url.origin() == request.url.origin());
  Result<std::string> body = response->read_all(kBodyLimit);
  out.whole = body.has_value();
  if (body) out.body = body.release();
  require(out.body.size() <= kBodyLimit);
  if (std::string_view(method) == "HEAD") require(out.body.empty());
  return out;
}

// An absolute redirect could lead out of the machine; nothing here may ask another host.
bool leads_away(std::string_view input) {
  return input.find("//") != input.npos || input.find('\\') != input.npos;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Server server;
  if (size < 2) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
  if (leads_away(input)) return 0;
  const char* method = data[0] % 4 == 0 ? "HEAD" : "GET";
  server.answer(input, input.size() + 1);
  Outcome whole = ask(server, method);
  server.answer(input, std::max<size_t>(data[1] % 64 + 1u, input.size() / 256 + 1));
  Outcome parts = ask(server, method);
  require(whole == parts);
  return 0;
}

// The HTTP/1.1 server: one thread runs every socket, a handler runs on a coroutine with a stack of
// its own and is written as plain code. No type of the library beneath shows here.
//
//   Server server(options, [](Exchange& x) { (void)x.respond(200, {}, "hello"); });
//   TRY(server.listen(std::move(listening_socket)));
//   server.run();                    // until stop()
//
// A connection that waits for a request owns a few hundred bytes: the stack and the buffers exist
// only while a request is handled. Malformed requests get 400, oversized heads 431, without
// reaching the handler.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/channel.h"
#include "base/result.h"
#include "base/sys.h"
#include "base/unique_fd.h"
#include "http/message.h"
#include "http/tls.h"

namespace gantry::http {

using Clock = std::chrono::steady_clock;

// Who is at the other end.
struct Peer {
  bool unix_socket = false;
  sys::PeerCredentials credentials;  // of a Unix socket's peer when it connected
  std::string address;               // "10.0.0.1:4711"; "@" for a Unix socket (as Go prints it)
  bool tls = false;
  std::string tls_subject;  // common name of the client's verified certificate, or ""
};

// A connection that has left HTTP. The socket is blocking and no longer known to the server.
struct Hijacked {
  UniqueFd fd;
  std::string leftover;  // bytes the client sent after its request, already read
};

// Why wait() came back.
enum class Wake {
  notified,     // a waker was called
  timeout,      // the deadline passed
  client_gone,  // nobody will read an answer
  stopping,     // the server is being stopped: end the response
};

// One request and its answer. Lives on the handler's stack, used by the handler alone (the I/O
// thread); only what waker() returns may leave it. The functions that do I/O suspend the coroutine;
// they must not be called inside a catch block. After an error of kind `cancelled` the client is
// gone and further calls fail the same way. A handler that returns without answering makes the
// server answer 500.
class Exchange {
 public:
  virtual ~Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  const std::string& method() const { return method_; }
  const std::string& target() const { return target_; }  // as sent
  const std::string& path() const { return path_; }      // percent-decoded, without the query
  const Query& query() const { return query_; }
  const Headers& headers() const { return headers_; }
  const Peer& peer() const { return peer_; }
  // The body's length if it was announced; nothing for a chunked body. 0: there is no body.
  virtual std::optional<uint64_t> content_length() const = 0;

  // The request's body. "100 Continue" is sent at the first read if the client waits for it.
  // read_body: the whole of it; `invalid` when it is longer than `limit` bytes or malformed.
  virtual Result<std::string> read_body(size_t limit = 16u << 20) = 0;
  // read_some: at most buffer.size() bytes, 0 at the end.
  virtual Result<size_t> read_some(std::span<char> buffer) = 0;

  // The answer, in one piece; Content-Length is added. For HEAD the body is left out.
  virtual Status respond(int status, Headers headers, std::string_view body) = 0;
  // The answer, in pieces (chunked for HTTP/1.1, until the end of the connection for 1.0). The head
  // is sent at once. write() returns when the kernel has taken the bytes: a slow client slows the
  // handler. With a `length` it is announced, exactly so many bytes must follow (none for HEAD),
  // and a stream that ends before is a truncated one.
  virtual Status start_stream(int status, Headers headers,
                              std::optional<uint64_t> length = std::nullopt) = 0;
  virtual Status write(std::string_view bytes) = 0;
  // Writes `length` bytes of a regular file. The file is read on the I/O pool, and goes to the
  // socket without being copied where that can be. An error when the file ends before.
  virtual Status write_file(int fd, uint64_t offset, uint64_t length) = 0;
  virtual Status finish() = 0;
  // Ends the connection without finish(), so that the client sees a truncated body: an error after
  // the head.
  virtual void abort() = 0;
  // The head was sent (or the connection handed over): no other answer is possible.
  virtual bool started() const = 0;

  // Leaves HTTP: answers "101 UPGRADED" when the client asked to upgrade, else "200 OK" without a
  // length, with this content type, then gives the socket away.
  // A connection over TLS is relayed: the socket is one end of a pair, whose other end the server
  // goes on to serve when the handler has returned.
  virtual Result<Hijacked> hijack(std::string_view content_type) = 0;
  // The same for a WebSocket, whose messages are the bytes; `invalid` when none was asked for.
  virtual Result<Hijacked> accept_websocket() = 0;

  // A function that makes wait() return `notified` (once, however often it is called before). It
  // may be called from any thread, and after the exchange is gone, when it does nothing.
  virtual std::function<void()> waker() = 0;
  // Suspends until a waker is called, the deadline passes, the client goes away, or the server
  // stops.
  virtual Wake wait(std::optional<Clock::time_point> deadline = std::nullopt) = 0;

  // The next item of a channel: nothing when it is finished, `cancelled` when the client has gone
  // or the server stops. The channel's waker is taken for the purpose and given up again.
  template <typename T>
  Result<std::optional<T>> next(Channel<T>& channel) {
    auto item = channel.try_pop();
    if (item) return item;
    channel.set_waker(waker());
    Result<std::optional<T>> result = wait_for(channel);
    channel.set_waker(nullptr);
    return result;
  }

  // Runs `task` on the I/O pool and goes on; it may outlive the exchange, and must not throw.
  virtual void start_blocking(std::function<void()> task) = 0;
  // Runs `task` on the I/O pool while the handler goes on, until join_blocking(). One at a time; it
  // is joined at the latest when the handler returns, and must not throw.
  virtual void begin_blocking(std::function<void()> task) = 0;
  virtual void join_blocking() = 0;
  // Runs `function` on the I/O pool and gives what it returns: for short tasks that block on files.
  // Not interrupted by the client's going away.
  template <typename F>
  auto run_blocking(F&& function) {
    using R = std::invoke_result_t<F>;
    if constexpr (std::is_void_v<R>) {
      run_in_pool([&] { function(); });
    } else {
      std::optional<R> result;
      run_in_pool([&] { result.emplace(function()); });
      return std::move(*result);
    }
  }

 protected:
  Exchange() = default;
  virtual void run_in_pool(std::function<void()> task) = 0;

  std::string method_, target_, path_;
  Query query_;
  Headers headers_;
  Peer peer_;

 private:
  template <typename T>
  Result<std::optional<T>> wait_for(Channel<T>& channel) {
    while (true) {
      auto item = channel.try_pop();
      if (item) return item;
      if (channel.finished()) return std::optional<T>();
      Wake wake = wait();
      if (wake == Wake::client_gone)
        return make_error(ErrorKind::cancelled, "the client closed the connection");
      if (wake == Wake::stopping) return make_error(ErrorKind::cancelled, "the server is stopping");
    }
  }
};

using Handler = std::function<void(Exchange&)>;

struct ServerOptions {
  size_t header_limit = 64u << 10;          // request line and header fields together
  std::chrono::seconds header_timeout{60};  // from a request's first byte to the end of its head,
                                            // and for the TLS handshake
  std::chrono::seconds body_timeout{300};   // between two reads of read_body()
  // How long read_some(), write() and write_file() wait for a client that moves nothing; 0: for
  // ever.
  std::chrono::seconds stall_timeout{0};
  std::chrono::seconds drain_timeout{
      5};                      // how long run() goes on for requests under way after stop()
  size_t max_connections = 0;  // 0: three quarters of the soft limit of open files
  size_t pool_threads = 1024;  // of run_blocking(), made on demand, gone when idle
};

// Not thread-safe but for post() and stop(). listen() before or during run(), on run()'s thread.
class Server {
 public:
  Server(ServerOptions options, Handler handler);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Takes a listening stream socket, Unix or TCP. With `tls` its connections speak TLS.
  Status listen(UniqueFd socket, std::shared_ptr<const TlsContext> tls = nullptr);
  // Connections that come from now on to a listener that has TLS use this. On run()'s thread.
  void replace_tls(std::shared_ptr<const TlsContext> tls);
  // Calls `handler` on the I/O thread when one of `signals` arrives.
  Status handle_signals(std::vector<int> signals, std::function<void(int)> handler);

  // Calls `ready` on the I/O thread whenever `fd` is readable, until stop(); it must not block, and
  // is called again when something is left. A copy of the descriptor is watched. Before run(), on
  // its thread.
  Status watch(int fd, std::function<void()> ready);

  // Runs on the calling thread until stop() was called and requests under way have ended.
  void run();
  // Runs `function` on the I/O thread. From any thread.
  void post(std::function<void()> function);
  // Closes the listeners and idle connections, wakes waiting handlers with Wake::stopping, cuts
  // what is left after drain_timeout. From any thread; idempotent.
  void stop();

  size_t connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gantry::http

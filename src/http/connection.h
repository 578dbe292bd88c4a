// Inside of the server: what a connection and the server core know of each other. Included by the
// two units that include Asio; everything here belongs to the I/O thread unless said otherwise.
//
// Asio is used as a reactor, for timers and for coroutines. Bytes move by recv(2) and send(2),
// always tried first; only when the kernel has nothing (or no room) does a coroutine wait for the
// descriptor.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/spawn.hpp>
#include <boost/asio/steady_timer.hpp>

#include "http/blocking_pool.h"
#include "http/parser.h"
#include "http/server.h"
#include "http/stack_pool.h"
#include "http/websocket.h"

namespace gantry::http {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;
using Executor = asio::io_context::executor_type;
using Descriptor = asio::posix::basic_stream_descriptor<Executor>;
using Timer = asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, Executor>;
using Yield = asio::basic_yield_context<Executor>;

class Connection;
class RequestExchange;

// State that all connections of a server share.
struct Core {
  Core(ServerOptions server_options, Handler request_handler)
      : options(server_options),
        handler(std::move(request_handler)),
        pool(server_options.pool_threads) {}

  const ServerOptions options;
  const Handler handler;
  StackPool stacks;  // outlives the coroutines that io destroys
  std::string scratch =
      std::string(64u << 10, '\0');  // of one recv(); never held across a suspension
  std::list<std::shared_ptr<Connection>> connections;
  std::list<Connection*> idle;  // longest idle first
  bool stopping = false;
  std::function<void()> on_closed;  // a connection has gone
  asio::io_context io{1};
  BlockingPool pool;  // joined before io is destroyed: a task may use the stack of a coroutine
};

// What waker() hands out: outlives the exchange, which detaches itself. notify() from any thread.
class WakeState : public std::enable_shared_from_this<WakeState> {
 public:
  WakeState(asio::io_context& io, RequestExchange& exchange) : io_(&io), exchange_(&exchange) {}
  void notify();
  void detach();

 private:
  std::mutex mutex_;
  asio::io_context* io_;  // null once detached
  bool posted_ = false;
  RequestExchange* exchange_;  // used on the I/O thread
};

enum class Got { bytes, nothing_now, end, too_much };

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Core& core, UniqueFd fd, Peer peer, std::unique_ptr<TlsStream> tls);
  ~Connection();

  void start();
  // Ends it from outside: an idle one at once, one with a request by failing its I/O.
  void close();
  // The server is stopping: idle connections close, waiting handlers wake.
  void stop();
  bool idle() const { return state_ == State::idle; }

  // ---- for the exchange, on its coroutine
  Descriptor& descriptor() { return descriptor_; }
  Core& core() { return core_; }
  Parser& parser() { return *parser_; }
  std::string& input() { return in_; }
  const Peer& peer() const { return peer_; }
  // recv() into in_ until the kernel has nothing more or `limit` bytes are there.
  Got receive_now(size_t limit);
  // Waits until there is new input. `cancelled` at the end of the connection.
  Status receive(Yield& yield, std::optional<Clock::duration> timeout = std::nullopt);
  // Sends all pieces, at most four.
  Status send(Yield& yield, std::initializer_list<std::string_view> pieces);
  // Calls `wake` when there may be input.
  void wait_input(std::function<void(const ErrorCode&)> wake);
  // Waits until the socket takes more.
  Status wait_writable(Yield& yield);
  // Takes note of the client's going while a handler waits.
  void watch(bool on);
  bool gone() const { return gone_; }
  bool tls() const { return tls_ != nullptr; }
  UniqueFd release();  // plain connections only

 private:
  enum class State { idle, head, handling, closed };

  // recv(2) and sendmsg(2), through TLS where there is TLS. After EAGAIN wait for direction().
  ssize_t receive_bytes(void* buffer, size_t size);
  ssize_t send_bytes(const iovec* pieces, size_t count);
  Descriptor::wait_type direction(Descriptor::wait_type plain) const;
  void end_output();
  void bound_handshake();
  void arm();
  void on_readable(const ErrorCode& code);
  void on_watched();
  void on_end();
  void receive_head();
  // Parses in_; false when the connection has nothing to serve now (waits, or is closed).
  bool parse_head();
  void refuse(int status, std::string_view message);
  void spawn();
  void serve(Yield yield);
  bool serve_one(Yield& yield);
  void become_idle();
  void finish_close();
  void leave_idle();

  Core& core_;
  Descriptor descriptor_;
  Peer peer_;
  std::unique_ptr<TlsStream> tls_;  // null: plain
  State state_ = State::closed;
  bool armed_ = false;     // a wait for readability is under way
  bool watching_ = false;  // the handler waits and wants to know of the client's end
  bool eof_ = false;       // the client sends no more
  bool gone_ = false;      // the client receives no more
  bool released_ = false;
  std::string in_;  // received, not parsed
  std::unique_ptr<Parser> parser_;
  std::unique_ptr<Timer> head_timer_;
  RequestExchange* exchange_ = nullptr;
  std::list<std::shared_ptr<Connection>>::iterator self_;
  std::list<Connection*>::iterator idle_position_;
  bool in_idle_list_ = false;
};

class RequestExchange final : public Exchange {
 public:
  // Takes the head out of the connection's parser. Fails on a malformed target.
  RequestExchange(Connection& connection, Yield& yield);
  ~RequestExchange() override;
  Status prepare();

  std::optional<uint64_t> content_length() const override;
  Result<std::string> read_body(size_t limit) override;
  Result<size_t> read_some(std::span<char> buffer) override;
  Status respond(int status, Headers headers, std::string_view body) override;
  Status start_stream(int status, Headers headers, std::optional<uint64_t> length) override;
  Status write(std::string_view bytes) override;
  Status write_file(int fd, uint64_t offset, uint64_t length) override;
  Status finish() override;
  void abort() override { keep_alive_ = false, state_ = Progress::finished; }
  bool started() const override { return state_ != Progress::nothing; }
  Result<Hijacked> hijack(std::string_view content_type) override;
  Result<Hijacked> accept_websocket() override;
  std::function<void()> waker() override;
  Wake wait(std::optional<Clock::time_point> deadline) override;
  void start_blocking(std::function<void()> task) override;
  void begin_blocking(std::function<void()> task) override;
  void join_blocking() override;

  // Called on the I/O thread.
  void on_notified();
  void interrupt();  // gone or stopping: look again

  // After the handler: what it hijacked of a connection that is no plain socket, until it ends.
  void relay();
  // After the handler: whether the connection can serve another request.
  bool conclude();

 protected:
  void run_in_pool(std::function<void()> task) override;

 private:
  enum class Progress { nothing, streaming, finished };

  struct RelayState {
    std::string inward, outward;  // to the container, to the client
    bool client_done = false, told_end = false, container_done = false;
    // Waits that are under way.
    std::shared_ptr<bool> reading = std::make_shared<bool>(false),
                          writing = std::make_shared<bool>(false),
                          input = std::make_shared<bool>(false);
  };
  Result<Hijacked> begin_relay(std::string_view head, bool websocket);
  bool relay_in(RelayState& state);
  Status relay_out(RelayState& state, bool& moved);

  Status fill(std::optional<Clock::duration> timeout);
  std::string format_head(int status, Headers headers, std::optional<uint64_t> length);
  Status count(uint64_t size);
  Status splice_file(int fd, uint64_t offset, uint64_t length);
  Status copy_file(int fd, uint64_t offset, uint64_t length);
  // Reads what is left of the body if it is short; false when it is not.
  bool conclude_body();
  // After an error of the connection it serves no other request.
  Status checked(Status status);

  Connection& connection_;
  Yield& yield_;
  MessageHead head_;
  Timer timer_;
  std::shared_ptr<WakeState> wake_;
  Progress state_ = Progress::nothing;
  bool keep_alive_ = false;
  bool chunked_ = false;
  std::optional<uint64_t> left_;  // of a stream whose length was announced
  bool hijacked_ = false;
  bool relayed_ = false;
  std::unique_ptr<Descriptor> relay_;  // our end of what was handed over in place of the socket
  std::unique_ptr<WebSocketReader> websocket_;  // null: the bytes as they are
  bool notified_ = false;
  bool task_begun_ = false;  // begin_blocking()'s, not joined
  bool task_done_ = false;
  bool continue_expected_ = false;
  std::string body_;  // parsed, not read
  size_t body_used_ = 0;
};

}  // namespace gantry::http

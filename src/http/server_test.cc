#include "http/server.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/un.h>

#include <atomic>
#include <future>
#include <thread>

#include "base/fs.h"
#include "base/id.h"
#include "http/client.h"

namespace gantry::http {
namespace {

using namespace std::chrono_literals;

// A server on a socket of its own, run on a thread, with a handler per path.
class ServerTest : public testing::Test {
 protected:
  void SetUp() override { path_ = "/tmp/gantry-http-test-" + random_hex(8); }
  void TearDown() override {
    stop();
    (void)::unlink(path_.c_str());
  }

  void serve(Handler handler, ServerOptions options = {}) {
    auto socket = sys::listen_unix(path_, 0600, 4096);
    ASSERT_TRUE(socket) << socket.error().message();
    server_ = std::make_unique<Server>(options, std::move(handler));
    ASSERT_TRUE(server_->listen(std::move(*socket)));
    thread_ = std::thread([this] { server_->run(); });
  }
  void stop() {
    if (!server_) return;
    server_->stop();
    thread_.join();
    server_.reset();
  }

  UniqueFd connect() {
    auto fd = sys::connect_unix(path_);
    EXPECT_TRUE(fd);
    return fd ? std::move(*fd) : UniqueFd();
  }
  Client client() {
    auto opened = Client::open("unix://" + path_);
    return opened.release();
  }
  // Sends `text`, then reads until `end` was seen or the peer closes; at most ten seconds.
  static std::string talk(int fd, std::string_view text, std::string_view end = "\r\n\r\n") {
    EXPECT_TRUE(text.empty() || sys::write_all(fd, text));
    std::string out;
    char buffer[4096];
    while (out.find(end) == std::string::npos) {
      auto ready = sys::poll_one(fd, POLLIN, 10000);
      if (!ready || !*ready) return out + "[timeout]";
      auto got = sys::read(fd, buffer, sizeof buffer);
      if (!got || *got == 0) break;
      out.append(buffer, *got);
    }
    return out;
  }
  static std::string read_to_end(int fd) { return talk(fd, "", std::string_view("\0never", 6)); }
  template <typename F>
  static bool eventually(F&& condition) {
    for (int i = 0; i < 1000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(10ms);
    }
    return false;
  }

  std::string path_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

void echo(Exchange& x) {
  auto body = x.read_body();
  if (!body)
    (void)x.respond(400, {}, body.error().message());
  else
    (void)x.respond(200, {{"X-Path", x.path()}}, x.method() + " " + *body);
}

TEST_F(ServerTest, a_request_is_answered) {
  serve(echo);
  auto response = client().request({.method = "POST", .target = "/a%20b?q=1", .body = "hello"});
  ASSERT_TRUE(response) << response.error().message();
  EXPECT_EQ(response->status(), 200);
  EXPECT_EQ(response->headers().get("x-path"), "/a b");
  EXPECT_EQ(*response->read_all(), "POST hello");
}

TEST_F(ServerTest, another_descriptor_is_watched_until_stop) {
  auto socket = sys::listen_unix(path_, 0600, 16);
  ASSERT_TRUE(socket);
  server_ = std::make_unique<Server>(ServerOptions{},
                                     [](Exchange& x) { (void)x.respond(200, {}, "hello"); });
  ASSERT_TRUE(server_->listen(std::move(*socket)));
  UniqueFd events = *sys::eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK);
  std::atomic<int> calls{0};
  // One at a time, so that it is called again for what is left.
  ASSERT_TRUE(server_->watch(events.get(), [&] {
    uint64_t one;
    if (sys::read(events.get(), &one, sizeof one)) ++calls;
  }));
  thread_ = std::thread([this] { server_->run(); });
  EXPECT_TRUE(eventually([&] { return calls == 3; }));
  const uint64_t two = 2;
  ASSERT_TRUE(sys::write(events.get(), &two, sizeof two));
  EXPECT_TRUE(eventually([&] { return calls == 5; }));
  EXPECT_EQ(client().request({.target = "/"}).value().status(), 200);
  stop();
  ASSERT_TRUE(sys::write(events.get(), &two, sizeof two));
  EXPECT_EQ(calls, 5);
}

TEST_F(ServerTest, the_connection_is_kept_and_pipelined_requests_are_answered_in_order) {
  serve(echo);
  UniqueFd fd = connect();
  std::string out = talk(fd.get(),
                         "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
                         "POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                         "GET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                         "\r\n\r\nnever");
  EXPECT_LT(out.find("X-Path: /1"), out.find("POST abc"));
  EXPECT_LT(out.find("POST abc"), out.find("X-Path: /3"));
  EXPECT_NE(out.find("Connection: close"), std::string::npos);
  EXPECT_EQ(out.find("[timeout]"), std::string::npos);
}

TEST_F(ServerTest, a_chunked_body_is_read_and_a_stream_is_sent_chunked) {
  serve([](Exchange& x) {
    char buffer[3];
    (void)x.start_stream(200, {{"Content-Type", "text/plain"}});
    while (true) {
      auto size = x.read_some(buffer);
      if (!size || *size == 0) break;
      (void)x.write(std::string_view(buffer, *size));
    }
    (void)x.finish();
  });
  int round = 0;
  Request request{.method = "POST", .target = "/"};
  request.body_stream = [&](std::span<char> into) -> Result<size_t> {
    if (round == 100) return size_t{0};
    std::string piece = std::to_string(round++) + ";";
    piece.copy(into.data(), piece.size());
    return piece.size();
  };
  auto response = client().request(request);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->headers().get("transfer-encoding"), "chunked");
  std::string expected;
  for (int i = 0; i < 100; ++i) expected += std::to_string(i) + ";";
  EXPECT_EQ(*response->read_all(), expected);
}

TEST_F(ServerTest, a_large_answer_waits_for_a_slow_reader) {
  std::string big(8u << 20, 'x');
  serve([&](Exchange& x) { (void)x.respond(200, {}, big); });
  auto response = client().request({});
  ASSERT_TRUE(response);
  EXPECT_EQ(response->read_all()->size(), big.size());
}

TEST_F(ServerTest, head_has_the_length_and_no_body) {
  serve([](Exchange& x) { (void)x.respond(200, {}, "12345"); });
  UniqueFd fd = connect();
  std::string out =
      talk(fd.get(), "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "never");
  EXPECT_NE(out.find("Content-Length: 5\r\n"), std::string::npos);
  EXPECT_TRUE(out.ends_with("\r\n\r\n"));
}

TEST_F(ServerTest, continue_is_sent_when_the_body_is_read) {
  serve(echo);
  UniqueFd fd = connect();
  std::string out = talk(
      fd.get(), "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(out, "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_NE(talk(fd.get(), "ok", "POST ok").find("200 OK"), std::string::npos);
}

TEST_F(ServerTest, a_body_over_the_limit_is_refused_and_the_answer_arrives) {
  serve([](Exchange& x) {
    auto body = x.read_body(1000);
    (void)x.respond(body ? 200 : 400, {}, body ? "fine" : body.error().message());
  });
  auto response = client().request({.method = "POST", .body = std::string(5u << 20, 'x')});
  ASSERT_TRUE(response) << response.error().message();
  EXPECT_EQ(response->status(), 400);
  EXPECT_EQ(*response->read_all(), "http: request body too large");
}

TEST_F(ServerTest, an_http_1_0_client_gets_an_end_of_connection) {
  serve([](Exchange& x) {
    (void)x.start_stream(200, {});
    (void)x.write("abc");
    (void)x.finish();
  });
  UniqueFd fd = connect();
  std::string out = talk(fd.get(), "GET / HTTP/1.0\r\n\r\n", "never");
  EXPECT_TRUE(out.ends_with("\r\n\r\nabc")) << out;
  EXPECT_EQ(out.find("chunked"), std::string::npos);
}

TEST_F(ServerTest, malformed_requests_get_an_answer_and_the_server_lives) {
  serve(echo);
  struct {
    std::string text, status;
  } cases[] = {{"\x16\x03\x01\x02garbage\r\n\r\n", "400"},
               {"GET  HTTP/1.1\r\n\r\n", "400"},
               {"GET / HTTP/1.1\r\n\r\n", "400"},  // no Host
               {"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
               {"GET / HTTP/3.0\r\n\r\n", "505"},
               {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
               {"GET / HTTP/1.1\r\nX: " + std::string(70000, 'a') + "\r\n\r\n", "431"}};
  for (auto& c : cases) {
    UniqueFd fd = connect();
    std::string out = talk(fd.get(), c.text);
    EXPECT_TRUE(out.starts_with("HTTP/1.1 " + c.status)) << c.text.substr(0, 40) << " -> " << out;
  }
  EXPECT_EQ(client().request({})->status(), 200);
}

TEST_F(ServerTest, a_head_that_never_ends_times_out) {
  ServerOptions options;
  options.header_timeout = 1s;
  serve(echo, options);
  UniqueFd fd = connect();
  EXPECT_TRUE(talk(fd.get(), "GET / HT").starts_with("HTTP/1.1 408"));
}

TEST_F(ServerTest, a_half_closed_client_still_gets_its_answer) {
  serve([](Exchange& x) {
    EXPECT_EQ(x.wait(Clock::now() + 50ms), Wake::timeout);
    (void)x.respond(200, {}, "late");
  });
  UniqueFd fd = connect();
  ASSERT_TRUE(sys::write_all(fd.get(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  ::shutdown(fd.get(), SHUT_WR);
  EXPECT_TRUE(read_to_end(fd.get()).ends_with("late"));
}

TEST_F(ServerTest, hijacking_hands_over_the_socket_with_what_was_read_too_far) {
  std::atomic<int> handed{-1};
  std::string leftover;
  serve([&](Exchange& x) {
    auto stream = x.hijack("application/vnd.docker.raw-stream");
    ASSERT_TRUE(stream);
    leftover = stream->leftover;
    handed = stream->fd.release();
  });
  for (bool upgrade : {true, false}) {
    UniqueFd fd = connect();
    std::string request = "POST /attach HTTP/1.1\r\nHost: x\r\n";
    if (upgrade) request += "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    std::string out = talk(fd.get(), request + "Content-Length: 2\r\n\r\n{}early");
    EXPECT_TRUE(out.starts_with(upgrade ? "HTTP/1.1 101 UPGRADED\r\n" : "HTTP/1.1 200 OK\r\n"))
        << out;
    EXPECT_NE(out.find("Content-Type: application/vnd.docker.raw-stream"), std::string::npos);
    ASSERT_TRUE(eventually([&] { return handed >= 0; }));
    UniqueFd other(handed.exchange(-1));
    EXPECT_EQ(leftover, "early");
    EXPECT_EQ(::fcntl(other.get(), F_GETFL) & O_NONBLOCK, 0);
    ASSERT_TRUE(sys::write_all(fd.get(), "ping"));
    char buffer[4];
    EXPECT_EQ(*sys::read(other.get(), buffer, 4), 4u);
    ASSERT_TRUE(sys::write_all(other.get(), "pong"));
    EXPECT_EQ(talk(fd.get(), "", "pong"), "pong");
  }
}

TEST_F(ServerTest, the_client_upgrades) {
  serve([](Exchange& x) {
    if (x.path() == "/no") return (void)x.respond(409, {}, "no");
    auto stream = x.hijack("a/b");
    ASSERT_TRUE(stream);
    ASSERT_TRUE(sys::write_all(stream->fd.get(), "hello"));
  });
  auto upgraded = client().upgrade({.method = "POST", .target = "/yes"});
  ASSERT_TRUE(upgraded);
  ASSERT_TRUE(upgraded->fd);
  EXPECT_EQ(upgraded->leftover + read_to_end(upgraded->fd.get()), "hello");
  auto refused = client().upgrade({.method = "POST", .target = "/no"});
  ASSERT_TRUE(refused);
  ASSERT_FALSE(refused->fd);
  EXPECT_EQ(refused->response->status(), 409);
  EXPECT_EQ(*refused->response->read_all(), "no");
}

TEST_F(ServerTest, a_waiting_handler_is_woken_from_another_thread) {
  std::vector<std::thread> threads;
  serve([&](Exchange& x) {
    int count = 0;
    auto wake = x.waker();
    threads.emplace_back([wake, &count] {
      count = 1;
      wake();
    });
    EXPECT_EQ(x.wait(), Wake::notified);
    EXPECT_EQ(count, 1);
    (void)x.respond(200, {}, "woken");
  });
  for (int i = 0; i < 20; ++i) EXPECT_EQ(*client().request({})->read_all(), "woken");
  for (auto& thread : threads) thread.join();
}

TEST_F(ServerTest, a_waker_may_be_called_after_the_exchange_and_the_server_are_gone) {
  std::function<void()> late;
  serve([&](Exchange& x) {
    late = x.waker();
    (void)x.respond(200, {}, "");
  });
  ASSERT_TRUE(client().request({}));
  ASSERT_TRUE(client().request({}));
  std::thread([&] { late(); }).join();
  stop();
  late();
}

TEST_F(ServerTest, a_channel_is_streamed) {
  auto channel = std::make_shared<Channel<std::string>>(2);
  std::thread producer([channel] {
    for (int i = 0; i < 100; ++i) channel->push(std::to_string(i));
    channel->close();
  });
  serve([channel](Exchange& x) {
    (void)x.start_stream(200, {});
    while (true) {
      auto item = x.next(*channel);
      if (!item || !*item) break;
      (void)x.write(**item + "\n");
    }
    (void)x.finish();
  });
  std::string body = *client().request({})->read_all();
  EXPECT_TRUE(body.starts_with("0\n1\n"));
  EXPECT_TRUE(body.ends_with("98\n99\n"));
  producer.join();
}

TEST_F(ServerTest, the_end_of_a_client_wakes_its_handler) {
  std::atomic<int> gone{0}, waiting{0};
  serve([&](Exchange& x) {
    ++waiting;
    if (x.wait() == Wake::client_gone) ++gone;
    EXPECT_FALSE(x.respond(200, {}, "x"));
  });
  {
    UniqueFd fd = connect();
    ASSERT_TRUE(sys::write_all(fd.get(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    ASSERT_TRUE(eventually([&] { return waiting == 1; }));
    // Bytes of a next request are no end.
    ASSERT_TRUE(sys::write_all(fd.get(), "GET / HTTP"));
    EXPECT_EQ(gone, 0);
  }
  EXPECT_TRUE(eventually([&] { return gone == 1; }));
}

TEST_F(ServerTest, blocking_work_does_not_stop_others) {
  std::mutex gate;
  gate.lock();
  serve([&](Exchange& x) {
    if (x.path() == "/blocked") x.run_blocking([&] { std::lock_guard lock(gate); });
    std::string text = x.run_blocking([] { return std::string("done"); });
    (void)x.respond(200, {}, text);
  });
  Client http = client();
  auto blocked = http.send({.target = "/blocked"});
  ASSERT_TRUE(blocked);
  EXPECT_EQ(*http.request({})->read_all(), "done");
  gate.unlock();
  EXPECT_EQ(*blocked->response()->read_all(), "done");
}

TEST_F(ServerTest, an_exception_becomes_an_answer) {
  serve([](Exchange& x) {
    if (x.path() == "/silent") return;
    if (x.path() == "/pool") x.run_blocking([] { throw std::runtime_error("broken"); });
    throw std::runtime_error("broken");
  });
  for (const char* path : {"/throw", "/pool", "/silent"}) {
    auto response = client().request({.target = path});
    ASSERT_TRUE(response);
    EXPECT_EQ(response->status(), 500);
    EXPECT_NE(response->read_all()->find("\"message\""), std::string::npos);
  }
}

TEST_F(ServerTest, a_stream_that_breaks_off_is_seen_as_broken) {
  serve([](Exchange& x) {
    (void)x.start_stream(200, {});
    (void)x.write("abc");
  });
  auto response = client().request({});
  ASSERT_TRUE(response);
  EXPECT_FALSE(response->read_all());
}

TEST_F(ServerTest, stopping_ends_waits_and_closes_idle_connections) {
  serve([](Exchange& x) {
    EXPECT_EQ(x.wait(), Wake::stopping);
    (void)x.respond(200, {}, "bye");
  });
  UniqueFd idle = connect();
  auto call = client().send({});
  ASSERT_TRUE(call);
  ASSERT_TRUE(eventually([&] {
    std::atomic<size_t> count{0};
    std::atomic<bool> done{false};
    server_->post([&] { count = server_->connections(), done = true; });
    while (!done) std::this_thread::yield();
    return count == 2;
  }));
  server_->stop();
  EXPECT_EQ(*call->response()->read_all(), "bye");
  EXPECT_EQ(read_to_end(idle.get()), "");
}

TEST_F(ServerTest, what_does_not_end_is_cut_off_after_the_drain_timeout) {
  ServerOptions options;
  options.drain_timeout = 1s;
  serve(
      [](Exchange& x) {
        (void)x.start_stream(200, {});
        while (x.write(std::string(65536, 'x'))) {
        }
      },
      options);
  auto response = client().request({});
  ASSERT_TRUE(response);
  stop();  // returns although nobody reads
}

TEST_F(ServerTest, a_thousand_connections_are_served_and_idle_ones_cost_little) {
#if defined(__SANITIZE_THREAD__)
  constexpr int kCount = 200;
#else
  constexpr int kCount = 1000;
#endif
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < 3 * kCount) GTEST_SKIP() << "needs " << 3 * kCount << " open files";
  serve(echo);
  std::vector<UniqueFd> sockets;
  for (int i = 0; i < kCount; ++i) sockets.push_back(connect());
  for (int round = 0; round < 2; ++round)
    for (UniqueFd& fd : sockets)
      ASSERT_TRUE(
          talk(fd.get(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET ").starts_with("HTTP/1.1 200"));
}

TEST_F(ServerTest, the_longest_idle_connection_makes_room) {
  ServerOptions options;
  options.max_connections = 2;
  serve(echo, options);
  UniqueFd first = connect(), second = connect();
  constexpr std::string_view kRequest = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  ASSERT_NE(talk(first.get(), kRequest, "GET ").find("200"), std::string::npos);
  ASSERT_NE(talk(second.get(), kRequest, "GET ").find("200"), std::string::npos);
  UniqueFd third = connect();
  EXPECT_NE(talk(third.get(), kRequest, "GET ").find("200"), std::string::npos);
  EXPECT_EQ(read_to_end(first.get()), "");
  EXPECT_NE(talk(second.get(), kRequest, "GET ").find("200"), std::string::npos);
}

TEST_F(ServerTest, the_client_keeps_its_connection_and_notices_when_it_was_closed) {
  serve(echo);
  Client http = client();
  auto accepted = [&] {
    std::promise<size_t> count;
    server_->post([&] { count.set_value(server_->connections()); });
    return count.get_future().get();
  };
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(*http.request({.method = "POST", .body = "x"})->read_all(), "POST x");
  EXPECT_EQ(accepted(), 1u);
  {
    auto first = http.send({});
    auto second = http.send({});
    EXPECT_EQ(*second->response()->read_all(), "GET ");
    EXPECT_EQ(*first->response()->read_all(), "GET ");
  }
  stop();
  serve(echo);
  EXPECT_EQ(*http.request({})->read_all(), "GET ");
}

// A file of `size` bytes that is gone when it is closed.
UniqueFd file_of(const std::string& text) {
  auto fd = sys::memfd_create("test", 0);
  EXPECT_TRUE(fd && sys::write_all(fd->get(), text));
  return fd ? std::move(*fd) : UniqueFd();
}

TEST_F(ServerTest, a_stream_of_known_length_is_announced_and_keeps_the_connection) {
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += std::to_string(i);
  UniqueFd file = file_of(text);
  serve([&](Exchange& x) {
    ASSERT_TRUE(x.start_stream(200, {}, 5 + text.size() - 10));
    EXPECT_TRUE(x.write("head:"));
    EXPECT_TRUE(x.write_file(file.get(), 10, text.size() - 10));
    EXPECT_TRUE(x.finish());
  });
  UniqueFd fd = connect();
  auto wanted = fmt::format("Content-Length: {}\r\n", text.size() - 5);
  std::string head = talk(fd.get(), "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(head.find(wanted), std::string::npos) << head;
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
  std::string whole =
      talk(fd.get(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "never");
  EXPECT_NE(whole.find(wanted), std::string::npos);
  EXPECT_TRUE(whole.ends_with("\r\n\r\nhead:" + text.substr(10)));
}

TEST_F(ServerTest, a_file_is_written_into_a_chunked_stream_too) {
  UniqueFd file = file_of("0123456789");
  serve([&](Exchange& x) {
    ASSERT_TRUE(x.start_stream(200, {}));
    EXPECT_TRUE(x.write_file(file.get(), 2, 5));
    EXPECT_TRUE(x.finish());
  });
  std::string whole = talk(connect().get(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "0\r\n\r\n");
  EXPECT_NE(whole.find("\r\n5\r\n23456\r\n0\r\n\r\n"), std::string::npos) << whole;
}

TEST_F(ServerTest, a_stream_that_is_shorter_or_longer_than_announced_is_an_error) {
  UniqueFd file = file_of("0123456789");
  std::string path;
  serve([&](Exchange& x) {
    ASSERT_TRUE(x.start_stream(200, {}, 20));
    if (x.path() == "/long") {
      EXPECT_FALSE(x.write(std::string(21, 'x')));
    }
    if (x.path() == "/file") {
      EXPECT_FALSE(x.write_file(file.get(), 0, 20));  // it ends before
    }
    EXPECT_FALSE(x.finish());
  });
  for (const char* target : {"/short", "/long", "/file"}) {
    std::string whole =
        talk(connect().get(), fmt::format("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", target), "never");
    EXPECT_EQ(whole.find("[timeout]"), std::string::npos) << target;  // the connection was closed
  }
}

TEST_F(ServerTest, a_client_that_moves_nothing_is_cut_off) {
  std::promise<ErrorKind> reading, writing;
  serve(
      [&](Exchange& x) {
        if (x.path() == "/read") {
          char buffer[10];
          auto got = x.read_some(buffer);
          reading.set_value(got ? ErrorKind::internal : got.error().kind());
          return;
        }
        ASSERT_TRUE(x.start_stream(200, {}));
        Status written;
        while (written) written = x.write(std::string(1 << 20, 'x'));
        writing.set_value(written.error().kind());
      },
      {.stall_timeout = 1s});
  UniqueFd reader = connect(), writer = connect();
  ASSERT_TRUE(
      sys::write_all(reader.get(), "PUT /read HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"));
  ASSERT_TRUE(sys::write_all(writer.get(), "GET /write HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_EQ(reading.get_future().get(), ErrorKind::unavailable);
  EXPECT_EQ(writing.get_future().get(), ErrorKind::cancelled);
}

TEST_F(ServerTest, a_task_runs_beside_its_handler_and_is_joined) {
  std::promise<void> go;
  std::atomic<int> done{0};
  serve([&](Exchange& x) {
    x.begin_blocking([&] {
      go.get_future().wait();
      ++done;
    });
    auto body = x.read_body();  // comes while the task runs
    EXPECT_EQ(done, 0);
    go.set_value();
    x.join_blocking();
    EXPECT_EQ(done, 1);
    x.begin_blocking([&] { ++done; });
    x.begin_blocking([&] { ++done; });  // joins the first
    (void)x.respond(200, {}, body ? *body : "");
  });
  std::string answer = talk(connect().get(),
                            "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
                            "Connection: close\r\n\r\nbody",
                            "never");
  EXPECT_TRUE(answer.ends_with("body"));
  stop();
  EXPECT_EQ(done, 3);
}

TEST_F(ServerTest, unix_peers_are_known) {
  sys::PeerCredentials seen;
  serve([&](Exchange& x) {
    seen = x.peer().credentials;
    (void)x.respond(x.peer().unix_socket ? 200 : 500, {}, "");
  });
  EXPECT_EQ(client().request({})->status(), 200);
  EXPECT_EQ(seen.pid, ::getpid());
  EXPECT_EQ(seen.uid, ::getuid());
}

TEST(Client, hosts_are_parsed) {
  auto host = Host::parse("unix:///run/x.sock");
  ASSERT_TRUE(host);
  EXPECT_EQ(host->path, "/run/x.sock");
  host = Host::parse("tcp://[::1]:99");
  ASSERT_TRUE(host);
  EXPECT_EQ(host->name, "::1");
  EXPECT_EQ(host->port, "99");
  host = Host::parse("tcp://box");
  ASSERT_TRUE(host);
  EXPECT_EQ(host->port, "2375");
  for (const char* bad : {"", "unix://", "unix://rel", "tcp://", "tcp://a:x", "tcp://a:0",
                          "tcp://a:99999", "tcp://[::1", "ssh://x", "tcp://a/b:1"})
    EXPECT_FALSE(Host::parse(bad)) << bad;
}

TEST(Client, a_missing_daemon_is_unavailable) {
  auto client = Client::open("unix:///nonexistent/gantry.sock");
  ASSERT_TRUE(client);
  auto response = client->request({});
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().kind(), ErrorKind::unavailable);
  EXPECT_EQ(response.error().code(), ENOENT);
}

TEST(Client, line_ends_do_not_get_into_a_head) {
  auto client = Client::open("unix:///nonexistent/gantry.sock");
  ASSERT_TRUE(client);
  EXPECT_EQ(client->request({.target = "/a\r\nX: y"}).error().kind(), ErrorKind::invalid);
  EXPECT_EQ(client->request({.headers = {{"A", "b\nc"}}}).error().kind(), ErrorKind::invalid);
}

}  // namespace
}  // namespace gantry::http

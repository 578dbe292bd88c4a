// The parts of the DNS server. Private to dns/: everything here is used with Server::Impl's lock
// held.
#pragma once

#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <map>
#include <mutex>
#include <random>

#include "drivers/network/dns/loop.h"
#include "drivers/network/dns/server.h"

namespace gantry::drivers::dns {

class Asker;
class Connection;
class Forward;

// Of a call on a socket that failed: it may be tried later.
inline bool again() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

// Where an answer goes.
struct ReplyTo {
  sockaddr_in peer{};
  uint64_t connection = 0;  // 0: a datagram to `peer`
  size_t limit = kPlainLimit;
  bool forwarded = false;  // the connection counts it as expected
};

struct Server::Impl {
  explicit Impl(ServerOptions given) : options(given) {}

  // What is not asked for in the next `options.suspect`, if there is another.
  bool is_suspect(const Upstream& upstream);
  void suspect(const Upstream& upstream);
  uint64_t random() { return generator(); }
  // Unpredictable, unlike random().
  uint16_t random_id();

  const ServerOptions options;
  mutable std::mutex mutex;
  Loop loop;  // before whatever is in it
  std::map<std::string, std::unique_ptr<Asker>> askers;
  std::map<Upstream, int64_t> suspects;  // until when
  size_t queries = 0, connections = 0;
  std::minstd_rand generator{std::random_device()()};
  std::array<uint16_t, 128> ids{};
  size_t ids_left = 0;
  std::array<char, kLargest + 1> buffer;
};

// A container that is served.
class Asker {
 public:
  Asker(Server::Impl& given, std::shared_ptr<const View> seen);
  ~Asker();
  Status open(Sockets sockets);

  // A query that came in, by either way. `bytes` only for the length of the call.
  void handle(std::string_view bytes, const ReplyTo& to);
  void reply(const ReplyTo& to, std::string_view answer);
  void close(Connection& connection);
  void finished(Forward& forward);

  Server::Impl& server;
  std::shared_ptr<const View> view;
  int udp() const;

 private:
  class Datagrams;
  class Listener;
  friend class Connection;

  std::unique_ptr<Datagrams> datagrams_;
  std::unique_ptr<Listener> listener_;
  uint64_t next_ = 1;
  std::map<uint64_t, std::unique_ptr<Connection>> connections_;
  std::map<uint64_t, std::unique_ptr<Forward>> forwards_;
};

// A client's connection.
class Connection final : public Source {
 public:
  Connection(Asker& asker, uint64_t number)
      : Source(asker.server.loop), asker_(asker), number_(number) {
    ++asker.server.connections;
  }
  ~Connection() override { --asker_.server.connections; }
  Status open(UniqueFd socket);
  void ready(uint32_t events) override;
  void expired() override { asker_.close(*this); }
  enum class Expected { no, yes };
  void send(std::string_view answer, Expected expected);
  uint64_t number() const { return number_; }
  // Nobody waits for anything on it.
  bool idle() const { return waiting_ == 0 && out_.empty(); }
  void expect_answer() { ++waiting_; }

 private:
  bool receive();  // false: the connection is closed
  bool flush();
  void settle();

  Asker& asker_;
  const uint64_t number_;
  std::string in_, out_;
  size_t waiting_ = 0;  // queries that have been forwarded
  bool ended_ = false;  // the client sends nothing more
};

// A query that others are asked.
class Forward final : public Source {
 public:
  Forward(Asker& asker, uint64_t number, std::string_view query, const Message& message,
          const ReplyTo& to);
  ~Forward() override { --asker_.server.queries; }
  void begin() { next(); }
  void ready(uint32_t events) override;
  void expired() override;
  uint64_t number() const { return number_; }

 private:
  enum class Way { datagram, stream };
  void next();
  bool ask(Way way);
  Result<UniqueFd> connect(Way way);
  void read_datagrams();
  void write_stream();
  void read_stream();
  void failed();  // this attempt
  bool is_answer(std::string_view bytes, Message& message) const;
  void take(std::string_view bytes, const Message& message);
  void finish(std::string answer);
  const Upstream& upstream() const { return tries_[attempt_ - 1]; }

  Asker& asker_;
  const uint64_t number_;
  std::shared_ptr<const View> view_;
  std::string query_;  // with this attempt's id
  Message question_;   // as the client asked it
  ReplyTo to_;
  std::vector<Upstream> tries_;
  size_t attempt_ = 0;
  int64_t each_ns_ = 0;
  Way way_ = Way::datagram;
  std::string in_, out_;
  std::string kept_;        // an answer that is used if no better one comes
  bool truncated_ = false;  // it is this server's, cut
};

}  // namespace gantry::drivers::dns

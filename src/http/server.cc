#include "http/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>

#include "base/log.h"
#include "http/connection.h"

namespace gantry::http {
namespace {

constexpr auto kRetryTime = std::chrono::milliseconds(100);

size_t default_max_connections() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return 1u << 16;
  return static_cast<size_t>(limit.rlim_cur) / 4 * 3;
}

std::string address_text(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
    return fmt::format("{}:{}", text, ntohs(in.sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof text);
    return fmt::format("[{}]:{}", text, ntohs(in.sin6_port));
  }
  return "@";
}

}  // namespace

struct Server::Impl {
  struct Listener {
    Listener(Core& core, UniqueFd fd, std::shared_ptr<const TlsContext> context)
        : descriptor(core.io.get_executor(), fd.release()), tls(std::move(context)) {}
    Descriptor descriptor;
    std::shared_ptr<const TlsContext> tls;  // null: plain
    bool paused = false;                    // no room for another connection
  };

  Impl(ServerOptions options, Handler handler)
      : core(options, std::move(handler)),
        max_connections(options.max_connections ? options.max_connections
                                                : default_max_connections()),
        work(asio::make_work_guard(core.io)),
        timer(core.io.get_executor()) {
    core.on_closed = [this] { on_closed(); };
  }

  // Somebody else's descriptor.
  struct Watched {
    Watched(Core& core, UniqueFd fd, std::function<void()> call)
        : descriptor(core.io.get_executor(), fd.release()), ready(std::move(call)) {}
    Descriptor descriptor;
    std::function<void()> ready;
  };

  Core core;
  const size_t max_connections;
  std::list<std::shared_ptr<Listener>> listeners;
  std::list<std::shared_ptr<Watched>> watched;
  asio::executor_work_guard<Executor> work;
  Timer timer;      // retries accept; after stop(), bounds the draining
  int refused = 0;  // errno of the accept that is being retried
  std::unique_ptr<asio::signal_set> signals;
  std::function<void(int)> on_signal;

  void wait_ready(const std::shared_ptr<Watched>& watch) {
    watch->descriptor.async_wait(Descriptor::wait_read, [this, watch](const ErrorCode& code) {
      if (code || core.stopping) return;
      watch->ready();
      wait_ready(watch);
    });
  }

  void wait_accept(const std::shared_ptr<Listener>& listener) {
    listener->descriptor.async_wait(Descriptor::wait_read, [this, listener](const ErrorCode& code) {
      if (!code && !core.stopping) accept(listener);
    });
  }

  void accept(const std::shared_ptr<Listener>& listener) {
    while (true) {
      if (core.connections.size() >= max_connections) {
        pollfd waiting{listener->descriptor.native_handle(), POLLIN, 0};
        if (::poll(&waiting, 1, 0) == 0) return wait_accept(listener);
        if (!make_room()) {
          listener->paused = true;  // on_closed() goes on
          return;
        }
      }
      sockaddr_storage address{};
      socklen_t size = sizeof address;
      int fd =
          ::accept4(listener->descriptor.native_handle(), reinterpret_cast<sockaddr*>(&address),
                    &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd >= 0) {
        if (std::exchange(refused, 0) != 0) log::info("accept: serving new connections again");
        serve(UniqueFd(fd), address, listener->tls.get());
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return wait_accept(listener);
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        if (make_room()) continue;
        return retry_later(listener, errno);
      } else if (errno != EINTR && errno != ECONNABORTED) {
        return retry_later(listener, errno);
      }
    }
  }

  // Others hold the descriptors: no event tells when there is one again.
  void retry_later(const std::shared_ptr<Listener>& listener, int error) {
    // Said once, not ten times a second for as long as it lasts.
    if (std::exchange(refused, error) != error)
      log::warn("accept: {}; new connections wait", strerror(error));
    listener->paused = true;
    timer.expires_after(kRetryTime);
    timer.async_wait([this](const ErrorCode& code) {
      if (!code) resume_accepting();
    });
  }

  // Closes the connection that has been idle longest.
  bool make_room() {
    if (core.idle.empty()) return false;
    core.idle.front()->close();
    return true;
  }

  void resume_accepting() {
    if (core.stopping) return;
    for (auto& listener : listeners)
      if (std::exchange(listener->paused, false)) wait_accept(listener);
  }

  void on_closed() {
    if (core.stopping) {
      if (core.connections.empty()) timer.cancel();
      return;
    }
    resume_accepting();
  }

  void serve(UniqueFd fd, const sockaddr_storage& address, const TlsContext* tls) {
    Peer peer;
    peer.address = address_text(address);
    peer.unix_socket = address.ss_family == AF_UNIX;
    if (peer.unix_socket) {
      if (auto credentials = sys::peer_credentials(fd.get())) peer.credentials = *credentials;
    } else {
      int on = 1;
      (void)::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      (void)::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
    std::unique_ptr<TlsStream> stream;
    if (tls != nullptr) {
      auto made = TlsStream::accept(*tls, fd.get());
      if (!made) return log::warn("accept: {}", made.error().message());
      stream = made.release();
      peer.tls = true;
    }
    try {
      std::make_shared<Connection>(core, std::move(fd), std::move(peer), std::move(stream))
          ->start();
    } catch (const std::bad_alloc&) {  // the others go on, and so does accepting
      log::warn("accept: out of memory");
    }
  }

  void wait_signal() {
    signals->async_wait([this](const ErrorCode& code, int signal) {
      if (code) return;
      on_signal(signal);
      if (!core.stopping) wait_signal();
    });
  }

  void stop() {
    if (std::exchange(core.stopping, true)) return;
    ErrorCode ignored;
    for (auto& listener : listeners) listener->descriptor.close(ignored);
    listeners.clear();
    for (auto& watch : watched) watch->descriptor.close(ignored);
    watched.clear();
    if (signals) signals->cancel(ignored);
    work.reset();
    auto connections = core.connections;  // stop() takes idle ones out of the list
    for (auto& connection : connections) connection->stop();
    if (core.connections.empty()) {
      timer.cancel();
      return;
    }
    timer.expires_after(core.options.drain_timeout);
    timer.async_wait([this](const ErrorCode& code) {
      if (code) return;
      auto left = core.connections;
      for (auto& connection : left) connection->close();
    });
  }
};

Server::Server(ServerOptions options, Handler handler)
    : impl_(std::make_unique<Impl>(options, std::move(handler))) {}

Server::~Server() {
  impl_->core.on_closed = nullptr;
  auto connections = impl_->core.connections;
  for (auto& connection : connections) connection->close();
  impl_->core.connections.clear();  // their descriptors go before the reactor does
}

Status Server::listen(UniqueFd socket, std::shared_ptr<const TlsContext> tls) {
  TRY(sys::set_nonblocking(socket.get(), true));
  auto listener = std::make_shared<Impl::Listener>(impl_->core, std::move(socket), std::move(tls));
  impl_->listeners.push_back(listener);
  impl_->wait_accept(listener);
  return {};
}

void Server::replace_tls(std::shared_ptr<const TlsContext> tls) {
  for (auto& listener : impl_->listeners)
    if (listener->tls) listener->tls = tls;
}

Status Server::watch(int fd, std::function<void()> ready) {
  UniqueFd copy = TRY(sys::dup(fd));
  impl_->watched.push_back(
      std::make_shared<Impl::Watched>(impl_->core, std::move(copy), std::move(ready)));
  impl_->wait_ready(impl_->watched.back());
  return {};
}

Status Server::handle_signals(std::vector<int> signals, std::function<void(int)> handler) {
  impl_->signals = std::make_unique<asio::signal_set>(impl_->core.io);
  impl_->on_signal = std::move(handler);
  for (int signal : signals) {
    ErrorCode code;
    impl_->signals->add(signal, code);
    if (code) return internal("signal {}: {}", signal, code.message());
  }
  impl_->wait_signal();
  return {};
}

void Server::run() {
  while (true) {
    try {
      impl_->core.io.run();
      return;
    } catch (const std::bad_alloc&) {  // what one handler lacked; those that wait are still there
      log::warn("out of memory");
    }
  }
}
void Server::post(std::function<void()> function) {
  asio::post(impl_->core.io, std::move(function));
}
void Server::stop() {
  post([impl = impl_.get()] { impl->stop(); });
}
size_t Server::connections() const { return impl_->core.connections.size(); }

}  // namespace gantry::http

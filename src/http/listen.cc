#include "http/listen.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/sys.h"

namespace gantry::http {
namespace {

constexpr int kFirstPassed = 3;  // SD_LISTEN_FDS_START

int number_of_environment(const char* name) {
  const char* text = ::getenv(name);
  int value = 0;
  if (text != nullptr) std::from_chars(text, text + std::strlen(text), value);
  return value;
}

Result<UniqueFd> listen_at(const addrinfo& at, const std::string& what) {
  UniqueFd socket(::socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return errno_error(errno, "{}: socket", what);
  int on = 1;
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (at.ai_family == AF_INET6)
    (void)::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(socket.get(), at.ai_addr, at.ai_addrlen) != 0)
    return errno_error(errno, "{}: bind", what);
  if (::listen(socket.get(), kListenBacklog) != 0) return errno_error(errno, "{}: listen", what);
  return socket;
}

}  // namespace

Result<std::vector<UniqueFd>> listen_tcp(const std::string& host, const std::string& port,
                                         const std::string& what) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* list = nullptr;
  int failure = ::getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &list);
  if (failure != 0) return invalid("{}: {}", what, gai_strerror(failure));
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, freeaddrinfo);
  std::vector<UniqueFd> out;
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    Result<UniqueFd> socket = listen_at(*at, what);
    // A kernel without IPv6 has names with such addresses all the same.
    if (!socket && socket.error().code() == EAFNOSUPPORT) continue;
    out.push_back(TRY(std::move(socket)));
  }
  if (out.empty()) return invalid("{}: it cannot be listened on", what);
  return out;
}

Result<std::vector<UniqueFd>> passed_sockets() {
  int count = number_of_environment("LISTEN_FDS");
  if (number_of_environment("LISTEN_PID") != ::getpid() || count < 1)
    return invalid("fd://: no sockets were passed by the service manager (LISTEN_FDS)");
  std::vector<UniqueFd> out;
  for (int fd = kFirstPassed; fd < kFirstPassed + count; ++fd) {
    TRY(sys::set_cloexec(fd, true));
    int listening = 0;
    socklen_t size = sizeof listening;
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening == 0)
      return invalid("fd://: descriptor {} is not a listening socket", fd);
    out.emplace_back(fd);
  }
  ::unsetenv("LISTEN_FDS");
  ::unsetenv("LISTEN_PID");
  return out;
}

void notify_service_manager(std::string_view state) {
  const char* path = ::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  size_t size = std::strlen(path);
  if (size >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, size);
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  (void)::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL,
                 reinterpret_cast<sockaddr*>(&address),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size));
}

}  // namespace gantry::http

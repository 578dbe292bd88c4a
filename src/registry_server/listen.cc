#include "registry_server/listen.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <charconv>
#include <cstdlib>
#include <memory>

#include "base/sys.h"

namespace gantry::registry_server {
namespace {

constexpr int kBacklog = 4096;
constexpr int kFirstPassed = 3;  // SD_LISTEN_FDS_START

Result<std::vector<UniqueFd>> listen_passed() {
  auto number = [](const char* name) {
    const char* text = ::getenv(name);
    int value = 0;
    if (text != nullptr) std::from_chars(text, text + strlen(text), value);
    return value;
  };
  int count = number("LISTEN_FDS");
  if (number("LISTEN_PID") != ::getpid() || count < 1)
    return invalid("fd://: no sockets were passed by the service manager (LISTEN_FDS)");
  std::vector<UniqueFd> out;
  for (int fd = kFirstPassed; fd < kFirstPassed + count; ++fd) {
    TRY(sys::set_cloexec(fd, true));
    out.emplace_back(fd);
  }
  return out;
}

}  // namespace

Result<std::vector<UniqueFd>> listen_on(const std::string& address) {
  if (address.starts_with("fd://")) return listen_passed();
  std::vector<UniqueFd> out;
  if (address.starts_with("unix://")) {
    out.push_back(TRY(sys::listen_unix(address.substr(7), 0660, kBacklog)));
    return out;
  }
  size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon + 1 == address.size())
    return invalid("address '{}' is not of the form HOST:PORT", address);
  std::string host = address.substr(0, colon), port = address.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* list = nullptr;
  int failure = ::getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &list);
  if (failure != 0) return invalid("address '{}': {}", address, gai_strerror(failure));
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, freeaddrinfo);
  for (addrinfo* at = list; at != nullptr; at = at->ai_next) {
    UniqueFd socket(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket && errno == EAFNOSUPPORT) continue;
    if (!socket) return errno_error(errno, "{}: socket", address);
    int on = 1;
    (void)::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at->ai_family == AF_INET6)
      (void)::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (::bind(socket.get(), at->ai_addr, at->ai_addrlen) != 0)
      return errno_error(errno, "{}: bind", address);
    if (::listen(socket.get(), kBacklog) != 0) return errno_error(errno, "{}: listen", address);
    out.push_back(std::move(socket));
  }
  if (out.empty()) return invalid("address '{}' cannot be listened on", address);
  return out;
}

std::string address_of(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "?";
  char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "";
  if (address.ss_family == AF_UNIX)
    return std::string("unix://") + reinterpret_cast<sockaddr_un*>(&address)->sun_path;
  if (::getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host, sizeof host, port,
                    sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return "?";
  return address.ss_family == AF_INET6 ? fmt::format("[{}]:{}", host, port)
                                       : fmt::format("{}:{}", host, port);
}

void notify_service_manager(std::string_view state) {
  const char* path = ::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  size_t size = strlen(path);
  if (size >= sizeof address.sun_path) return;
  memcpy(address.sun_path, path, size);
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  (void)::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL,
                 reinterpret_cast<sockaddr*>(&address),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size));
}

}  // namespace gantry::registry_server

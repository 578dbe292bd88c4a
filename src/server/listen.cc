#include "server/listen.h"

#include <netdb.h>
#include <signal.h>
#include <sys/un.h>

#include <charconv>
#include <cstdlib>
#include <memory>

#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"
#include "http/client.h"

namespace gantry::server {
namespace {

constexpr int kBacklog = 4096;
constexpr int kFirstPassedFd = 3;  // SD_LISTEN_FDS_START
constexpr std::string_view kDefaultGroup = "gantry";

// The gid of a group in /etc/group; nothing when it is not there. Without NSS, which loads
// libraries.
std::optional<gid_t> find_group(const std::string& name) {
  auto text = fs::read_file("/etc/group");
  if (!text) return std::nullopt;
  std::string_view rest = *text;
  while (!rest.empty()) {
    size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (!line.starts_with(name + ":")) continue;
    size_t second = line.find(':', name.size() + 1);
    if (second == std::string_view::npos) continue;
    gid_t gid = 0;
    auto [stop, error] = std::from_chars(line.data() + second + 1, line.data() + line.size(), gid);
    if (error == std::errc()) return gid;
  }
  return std::nullopt;
}

// Whether somebody who lives listens there. A daemon that was killed while it spawned a program
// left its sockets to that for the moment before the program's exec; the credentials are of whoever
// called listen(2) (unix(7), SO_PEERCRED), 0 for one in another process namespace.
bool is_served(const std::string& path) {
  auto other = sys::connect_unix(path);
  if (!other) return false;
  auto who = sys::peer_credentials(other->get());
  return !who || who->pid <= 0 || ::kill(static_cast<pid_t>(who->pid), 0) == 0 || errno != ESRCH;
}

Result<std::vector<Listener>> listen_unix(const std::string& path, const std::string& group) {
  if (is_served(path)) return conflict("{}: another daemon listens on this socket", path);
  if (size_t slash = path.rfind('/'); slash > 0)
    TRY(fs::make_directories(path.substr(0, slash), 0711));
  Listener listener;
  listener.socket = TRY(sys::listen_unix(path, 0660, kBacklog));
  listener.file = SocketFile(path);
  auto gid = find_group(group);
  if (!gid && group != kDefaultGroup && !group.empty())
    return not_found("group {} of socket {} does not exist", group, path);
  if (gid) TRY(sys::fchownat(AT_FDCWD, path, 0, *gid));
  std::vector<Listener> out;
  out.push_back(std::move(listener));
  return out;
}

Result<std::vector<Listener>> listen_tcp(const http::Host& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* list = nullptr;
  int failure = ::getaddrinfo(host.name.c_str(), host.port.c_str(), &hints, &list);
  if (failure != 0) return invalid("{}: {}", host.text, gai_strerror(failure));
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, freeaddrinfo);
  std::vector<Listener> out;
  for (addrinfo* at = list; at != nullptr; at = at->ai_next) {
    UniqueFd socket(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) return errno_error(errno, "{}: socket", host.text);
    int on = 1;
    (void)::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at->ai_family == AF_INET6)
      (void)::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (::bind(socket.get(), at->ai_addr, at->ai_addrlen) != 0)
      return errno_error(errno, "{}: bind", host.text);
    if (::listen(socket.get(), kBacklog) != 0) return errno_error(errno, "{}: listen", host.text);
    out.push_back({std::move(socket), {}});
  }
  log::warn("{}: everyone who can connect to this port is root on this machine", host.text);
  return out;
}

Result<std::vector<Listener>> listen_passed() {
  auto number = [](const char* name) {
    const char* text = ::getenv(name);
    int value = 0;
    if (text != nullptr) std::from_chars(text, text + strlen(text), value);
    return value;
  };
  int count = number("LISTEN_FDS");
  if (number("LISTEN_PID") != ::getpid() || count < 1)
    return invalid("fd://: no sockets were passed by the service manager (LISTEN_FDS)");
  std::vector<Listener> out;
  for (int fd = kFirstPassedFd; fd < kFirstPassedFd + count; ++fd) {
    TRY(sys::set_cloexec(fd, true));
    int listening = 0;
    socklen_t size = sizeof listening;
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening == 0)
      return invalid("fd://: descriptor {} is not a listening socket", fd);
    out.push_back({UniqueFd(fd), {}});
  }
  ::unsetenv("LISTEN_FDS");
  ::unsetenv("LISTEN_PID");
  return out;
}

}  // namespace

Result<std::vector<Listener>> listen_on(const std::string& host, const std::string& group) {
  if (host.starts_with("fd://")) return listen_passed();
  http::Host parsed = TRY(http::Host::parse(host));
  if (parsed.kind == http::Host::Kind::tcp) return listen_tcp(parsed);
  return listen_unix(parsed.path, group);
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

}  // namespace gantry::server

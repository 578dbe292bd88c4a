#include "registry_server/listen.h"

#include <netdb.h>
#include <sys/un.h>

#include "base/sys.h"
#include "http/listen.h"

namespace gantry::registry_server {

Result<std::vector<UniqueFd>> listen_on(const std::string& address) {
  if (address.starts_with("fd://")) return http::passed_sockets();
  std::vector<UniqueFd> out;
  if (address.starts_with("unix://")) {
    out.push_back(TRY(sys::listen_unix(address.substr(7), 0660, http::kListenBacklog)));
    return out;
  }
  size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon + 1 == address.size())
    return invalid("address '{}' is not of the form HOST:PORT", address);
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return http::listen_tcp(host, address.substr(colon + 1), fmt::format("address '{}'", address));
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

}  // namespace gantry::registry_server

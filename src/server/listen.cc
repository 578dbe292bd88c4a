#include "server/listen.h"

#include <signal.h>

#include <charconv>

#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"
#include "http/client.h"
#include "http/listen.h"

namespace gantry::server {
namespace {

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
  listener.socket = TRY(sys::listen_unix(path, 0660, http::kListenBacklog));
  listener.file = SocketFile(path);
  auto gid = find_group(group);
  if (!gid && group != kDefaultGroup && !group.empty())
    return not_found("group {} of socket {} does not exist", group, path);
  if (gid) TRY(sys::fchownat(AT_FDCWD, path, 0, *gid));
  std::vector<Listener> out;
  out.push_back(std::move(listener));
  return out;
}

std::vector<Listener> listeners_of(std::vector<UniqueFd> sockets) {
  std::vector<Listener> out;
  for (UniqueFd& socket : sockets) out.push_back({std::move(socket), {}});
  return out;
}

}  // namespace

Result<std::vector<Listener>> listen_on(const std::string& host, const std::string& group) {
  if (host.starts_with("fd://")) return listeners_of(TRY(http::passed_sockets()));
  http::Host parsed = TRY(http::Host::parse(host));
  if (parsed.kind != http::Host::Kind::tcp) return listen_unix(parsed.path, group);
  std::vector<UniqueFd> sockets = TRY(http::listen_tcp(parsed.name, parsed.port, parsed.text));
  return listeners_of(std::move(sockets));
}

}  // namespace gantry::server

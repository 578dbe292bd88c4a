#include "registry_server/upstream_url.h"

namespace gantry::registry_server {

Result<Url> Url::parse(std::string_view text) {
  Url url;
  std::string_view rest = text;
  if (rest.starts_with("https://")) {
    url.tls = true;
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    return invalid("'{}' is no URL (http:// or https://)", text.substr(0, 200));
  }
  size_t slash = std::min(rest.find_first_of("/?#"), rest.size());
  url.host = rest.substr(0, slash);
  url.path = rest.substr(slash);
  url.path.resize(std::min(url.path.find('#'), url.path.size()));
  if (!url.path.starts_with('/')) url.path.insert(0, "/");
  for (char c : url.path)
    if (c <= ' ' || c == 0x7f)
      return invalid("URL '{}' holds a space or control", text.substr(0, 200));
  std::string_view host = url.host;
  if (host.empty() || host.find_first_of("@\\ \t\r\n%") != std::string_view::npos)
    return invalid("'{}' is no URL: its host is malformed", text.substr(0, 200));
  size_t port = std::string_view::npos;
  if (host.starts_with('[')) {
    size_t end = host.find(']');
    if (end == std::string_view::npos) return invalid("'{}' is no URL", text.substr(0, 200));
    url.name = host.substr(1, end - 1);
    if (end + 1 < host.size()) port = end + 1;
  } else {
    port = host.find(':');
    url.name = host.substr(0, port);
  }
  url.port = url.tls ? "443" : "80";
  if (port != std::string_view::npos) {
    url.port = host.substr(port + 1);
    if (host[port] != ':' || url.port.empty() || url.port.size() > 5 ||
        url.port.find_first_not_of("0123456789") != std::string::npos)
      return invalid("'{}' is no URL: its port is malformed", text.substr(0, 200));
  }
  if (url.name.empty()) return invalid("'{}' is no URL: it names no host", text.substr(0, 200));
  return url;
}

}  // namespace gantry::registry_server

#include "http/url.h"

#include <algorithm>
#include <charconv>

#include "http/message.h"

namespace gantry::http {
namespace {

bool valid_port(std::string_view text) {
  unsigned port = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port > 0 && port <= 65535;
}

std::string bracketed(const std::string& host) {
  return host.find(':') == std::string::npos ? host : "[" + host + "]";
}

// Dot segments are taken out, so that what is asked for is what was checked (RFC 3986, 5.2.4).
std::string normalized(std::string_view target) {
  size_t query = std::min(target.find('?'), target.size());
  std::string_view path = target.substr(0, query);
  std::string out;
  size_t at = 0;
  while (at < path.size()) {
    size_t end = std::min(path.find('/', at + 1), path.size());
    std::string_view segment = path.substr(at, end - at);
    if (segment == "/..") {
      out.erase(std::min(out.rfind('/'), out.size()));
      if (end == path.size()) out += '/';
    } else if (segment == "/.") {
      if (end == path.size()) out += '/';
    } else {
      out += segment;
    }
    at = end;
  }
  if (out.empty()) out = "/";
  return out.append(target.substr(query));
}

}  // namespace

Result<Url> Url::parse(std::string_view text) {
  const std::string whole(text);
  auto wrong = [&](std::string_view why) { return invalid("parse {:?}: {}", whole, why); };
  bool printable = std::all_of(text.begin(), text.end(), [](char c) {
    auto byte = static_cast<unsigned char>(c);
    return byte > 0x20 && byte != 0x7f;
  });
  if (!printable) return wrong("invalid character in URL");
  Url url;
  size_t scheme = text.find("://");
  if (scheme == std::string_view::npos) return wrong("missing protocol scheme");
  url.scheme = text.substr(0, scheme);
  std::transform(url.scheme.begin(), url.scheme.end(), url.scheme.begin(), ::tolower);
  if (url.scheme != "http" && url.scheme != "https") return wrong("unsupported protocol scheme");
  text.remove_prefix(scheme + 3);
  text = text.substr(0, text.find('#'));
  size_t slash = std::min(text.find_first_of("/?"), text.size());
  std::string_view authority = text.substr(0, slash);
  url.target = text.substr(slash);
  if (!url.target.starts_with('/')) url.target.insert(0, "/");
  url.target = normalized(url.target);
  if (size_t at = authority.rfind('@'); at != std::string_view::npos) {
    url.user_password = TRY(percent_decode(authority.substr(0, at)));
    authority.remove_prefix(at + 1);
  }
  std::string_view port;
  if (authority.starts_with('[')) {
    size_t end = authority.find(']');
    if (end == std::string_view::npos) return wrong("missing ']' in host");
    url.host = authority.substr(1, end - 1);
    port = authority.substr(end + 1);
  } else {
    size_t colon = std::min(authority.find(':'), authority.size());
    url.host = authority.substr(0, colon);
    port = authority.substr(colon);
  }
  if (!port.empty() && port.front() != ':') return wrong("invalid host");
  if (!port.empty()) port.remove_prefix(1);
  url.port = port.empty() ? (url.tls() ? "443" : "80") : std::string(port);
  if (!valid_port(url.port)) return wrong("invalid port");
  if (url.host.empty()) return wrong("no host");
  std::transform(url.host.begin(), url.host.end(), url.host.begin(), ::tolower);
  return url;
}

Result<Url> Url::resolve(std::string_view location) const {
  if (location.find("://") < location.find_first_of("/?#")) return parse(location);
  if (location.starts_with("//")) return parse(scheme + ":" + std::string(location));
  std::string base = origin();
  if (location.starts_with('/')) return parse(base + std::string(location));
  std::string path = target.substr(0, target.find('?'));
  if (location.starts_with('?')) return parse(base + path + std::string(location));
  return parse(base + path.substr(0, path.rfind('/') + 1) + std::string(location));
}

std::string Url::authority() const {
  bool usual = port == (tls() ? "443" : "80");
  return usual ? bracketed(host) : bracketed(host) + ":" + port;
}
std::string Url::endpoint() const { return bracketed(host) + ":" + port; }
std::string Url::origin() const { return scheme + "://" + authority(); }
std::string Url::text() const { return origin() + target; }

}  // namespace gantry::http

#include <arpa/inet.h>
#include <stdlib.h>

#include <charconv>

#include "http/agent.h"

namespace gantry::http {
namespace {

std::string environment(const char* upper, const char* lower) {
  const char* value = ::getenv(upper);
  if (value == nullptr || *value == '\0') value = ::getenv(lower);
  return value == nullptr ? "" : value;
}

// An address as sixteen bytes; false when it is none.
bool parse_address(const std::string& text, in6_addr& out) {
  in_addr four{};
  if (::inet_pton(AF_INET, text.c_str(), &four) == 1) {
    out = {};
    out.s6_addr[10] = out.s6_addr[11] = 0xff;
    memcpy(out.s6_addr + 12, &four, 4);
    return true;
  }
  return ::inet_pton(AF_INET6, text.c_str(), &out) == 1;
}

bool is_loopback(const std::string& host) {
  if (host == "localhost") return true;
  in6_addr address{};
  if (!parse_address(host, address)) return false;
  return IN6_IS_ADDR_LOOPBACK(&address) ||
         (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127);
}

bool in_network(const std::string& host, const std::string& network, std::string_view bits_text) {
  in6_addr address{};
  in6_addr base{};
  unsigned bits = 0;
  auto [end, error] = std::from_chars(bits_text.data(), bits_text.data() + bits_text.size(), bits);
  if (error != std::errc() || !parse_address(host, address) || !parse_address(network, base))
    return false;
  if (network.find(':') == std::string::npos) bits += 96;
  if (bits > 128) return false;
  for (unsigned i = 0; i < bits; ++i) {
    unsigned mask = 0x80u >> (i % 8);
    if (((address.s6_addr[i / 8] ^ base.s6_addr[i / 8]) & mask) != 0) return false;
  }
  return true;
}

bool excepts(std::string pattern, const Url& url) {
  if (pattern == "*") return true;
  if (size_t slash = pattern.find('/'); slash != std::string::npos)
    return in_network(url.host, pattern.substr(0, slash),
                      std::string_view(pattern).substr(slash + 1));
  size_t colon = pattern.rfind(':');
  if (colon != std::string::npos && pattern.find(':') == colon) {
    if (pattern.substr(colon + 1) != url.port) return false;
    pattern.resize(colon);
  }
  if (pattern.starts_with("*.")) pattern.erase(0, 1);
  if (pattern.starts_with('.')) return url.host.ends_with(pattern);
  return url.host == pattern || url.host.ends_with("." + pattern);
}

}  // namespace

Proxies Proxies::from_environment() {
  Proxies out;
  // A CGI's HTTP_PROXY is a header of its request; nothing here runs as one.
  out.http = environment("HTTP_PROXY", "http_proxy");
  out.https = environment("HTTPS_PROXY", "https_proxy");
  std::string list = environment("NO_PROXY", "no_proxy");
  size_t at = 0;
  while (at <= list.size()) {
    size_t end = std::min(list.find(',', at), list.size());
    std::string item = list.substr(at, end - at);
    item.erase(0, item.find_first_not_of(" \t"));
    item.erase(item.find_last_not_of(" \t") + 1);
    if (!item.empty()) out.except.push_back(std::move(item));
    at = end + 1;
  }
  return out;
}

std::string Proxies::for_url(const Url& url) const {
  const std::string& proxy = url.tls() ? https : http;
  if (proxy.empty() || is_loopback(url.host)) return {};
  for (const std::string& pattern : except)
    if (excepts(pattern, url)) return {};
  return proxy.find("://") == std::string::npos ? "http://" + proxy : proxy;
}

}  // namespace gantry::http

#include "registry/hosts.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/fs.h"

namespace gantry::registry {
namespace {

constexpr std::string_view kHub = "docker.io";

struct Network {
  unsigned char base[16] = {};
  unsigned bits = 0;
};

bool parse_address(const std::string& text, unsigned char* out) {
  unsigned char four[4];
  if (::inet_pton(AF_INET, text.c_str(), four) == 1) {
    std::memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    std::memcpy(out + 12, four, 4);
    return true;
  }
  return ::inet_pton(AF_INET6, text.c_str(), out) == 1;
}

bool parse_network(const std::string& text, Network& out) {
  size_t slash = text.find('/');
  if (slash == std::string::npos) return false;
  std::string address = text.substr(0, slash);
  const char* begin = text.data() + slash + 1;
  const char* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(begin, end, out.bits);
  if (error != std::errc() || stop != end || !parse_address(address, out.base)) return false;
  if (address.find(':') == std::string::npos) out.bits += 96;
  return out.bits <= 128;
}

bool contains(const Network& network, const unsigned char* address) {
  for (unsigned i = 0; i < network.bits; ++i)
    if (((address[i / 8] ^ network.base[i / 8]) & (0x80u >> (i % 8))) != 0) return false;
  return true;
}

// "host:port" and "[::1]:port" without the port.
std::string host_of(const std::string& domain) {
  if (domain.starts_with('[')) return domain.substr(1, domain.find(']') - 1);
  return domain.substr(0, domain.rfind(':'));
}

Result<http::Url> mirror_url(const std::string& text) {
  http::Url url = TRY(http::Url::parse(text).context("invalid mirror: unable to parse {:?}", text));
  if (!url.user_password.empty() || url.target.find('?') != std::string::npos)
    return invalid("invalid mirror: {:?} must have neither credentials nor a query", text);
  if (!url.target.ends_with('/')) url.target += '/';
  return url;
}

}  // namespace

Result<std::unique_ptr<Hosts>> Hosts::create(HostOptions options) {
  for (const std::string& entry : options.insecure) {
    Network network;
    bool url = entry.find("://") != std::string::npos;
    if (url || entry.empty() ||
        (entry.find('/') != std::string::npos && !parse_network(entry, network)))
      return invalid("insecure registry {} is not valid: give a host, host:port or CIDR", entry);
  }
  for (const std::string& mirror : options.mirrors) TRY(mirror_url(mirror));
  for (const auto& [domain, mirrors] : options.mirrors_of)
    for (const std::string& mirror : mirrors) TRY(mirror_url(mirror));
  std::unique_ptr<Hosts> hosts(new Hosts(std::move(options)));
  http::AgentOptions agent;
  agent.user_agent = "docker/28.3 gantry/" GANTRY_VERSION;
  agent.connect_timeout = hosts->options_.connect_timeout;
  agent.idle_timeout = hosts->options_.idle_timeout;
  agent.proxies = http::Proxies::from_environment();
  agent.tls = [raw = hosts.get()](const http::Url& url) { return raw->tls_for(url); };
  hosts->agent_ = std::make_unique<http::Agent>(std::move(agent));
  return hosts;
}

bool Hosts::insecure(const std::string& domain) const {
  std::string host = host_of(domain);
  if (host == "localhost") return true;
  unsigned char address[16];
  bool literal = parse_address(host, address);
  if (literal) {
    Network loopback;
    Network six;
    (void)parse_network("127.0.0.0/8", loopback);
    (void)parse_network("::1/128", six);
    if (contains(loopback, address) || contains(six, address)) return true;
  }
  return std::any_of(options_.insecure.begin(), options_.insecure.end(), [&](const auto& entry) {
    if (entry == domain || entry == host) return true;
    Network network;
    return literal && parse_network(entry, network) && contains(network, address);
  });
}

Result<std::vector<Endpoint>> Hosts::endpoints(const std::string& domain, Use use) const {
  std::vector<Endpoint> out;
  if (use == Use::pull) {
    auto own = options_.mirrors_of.find(domain);
    const std::vector<std::string>* mirrors = own != options_.mirrors_of.end() ? &own->second
                                              : domain == kHub                 ? &options_.mirrors
                                                                               : nullptr;
    for (size_t i = 0; mirrors != nullptr && i < mirrors->size(); ++i) {
      http::Url url = TRY(mirror_url((*mirrors)[i]));
      out.push_back({std::move(url), true});
    }
  }
  if (domain == kHub) {
    http::Url url = TRY(http::Url::parse(options_.hub));
    out.push_back({std::move(url), false});
    return out;
  }
  http::Url secure = TRY(http::Url::parse("https://" + domain));
  if (!insecure(domain)) {
    out.push_back({std::move(secure), false});
    return out;
  }
  http::Url plain = TRY(http::Url::parse("http://" + domain));
  std::string known;
  {
    std::lock_guard lock(mutex_);
    if (auto found = answered_.find(domain); found != answered_.end()) known = found->second;
  }
  bool plain_first = known == "http";
  out.push_back({plain_first ? plain : secure, false});
  out.push_back({plain_first ? secure : plain, false});
  return out;
}

void Hosts::worked(const std::string& domain, const Endpoint& endpoint) {
  if (endpoint.mirror) return;
  std::lock_guard lock(mutex_);
  answered_[domain] = endpoint.base.scheme;
}

Result<std::shared_ptr<const http::TlsContext>> Hosts::tls_for(const http::Url& url) {
  const std::string key = url.endpoint();
  {
    std::lock_guard lock(mutex_);
    if (auto found = contexts_.find(key); found != contexts_.end()) return found->second;
  }
  http::TlsClientOptions tls;
  // The directory is named as the registry is in references: with its port only if that was given.
  for (const std::string& directory : options_.certificate_dirs) {
    for (const std::string& name : {url.endpoint(), url.authority()}) {
      std::string host = directory + "/" + name;
      Result<std::vector<std::string>> files = fs::list_directory(host);
      if (!files) continue;
      std::sort(files->begin(), files->end());
      for (const std::string& file : *files) {
        std::string path = host + "/" + file;
        std::string stem = path.substr(0, path.rfind('.'));
        if (file.ends_with(".crt")) tls.ca_files.push_back(path);
        if (file.ends_with(".cert")) {
          if (!fs::exists(stem + ".key"))
            return invalid(
                "missing key {}.key for client certificate {}. CA certificates must use the "
                "extension .crt",
                stem, path);
          tls.identities.emplace_back(path, stem + ".key");
        }
        if (file.ends_with(".key") && !fs::exists(stem + ".cert"))
          return invalid("missing client certificate {}.cert for key {}", stem, path);
      }
      if (name == url.authority()) break;
    }
    if (!tls.ca_files.empty() || !tls.identities.empty()) break;
  }
  tls.verify = !insecure(url.endpoint()) || !tls.ca_files.empty();
  std::shared_ptr<const http::TlsContext> context = TRY(http::TlsContext::client(tls));
  // Read again for every connection of a host that has files: they may be changed.
  if (tls.ca_files.empty() && tls.identities.empty()) {
    std::lock_guard lock(mutex_);
    contexts_[key] = context;
  }
  return context;
}

}  // namespace gantry::registry

// How a registry is reached: over TLS with which roots and certificate, plain, or by a mirror. As
// dockerd: certs.d/HOST, --insecure-registry, --registry-mirror; loopback may be plain.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.h"
#include "http/agent.h"

namespace gantry::registry {

struct HostOptions {
  std::vector<std::string> insecure;                           // "host", "host:port" or CIDR
  std::vector<std::string> mirrors;                            // URLs, for docker.io
  std::map<std::string, std::vector<std::string>> mirrors_of;  // domain → URLs
  // Directories with one directory per host: *.crt are authorities, NAME.cert with NAME.key a
  // client's certificate.
  std::vector<std::string> certificate_dirs = {"/etc/gantry/certs.d", "/etc/docker/certs.d"};
  // Where docker.io's registry is; tests point it elsewhere.
  std::string hub = "https://registry-1.docker.io";
  // Bounds of waiting, as http::AgentOptions has them.
  std::chrono::milliseconds connect_timeout{30'000};
  std::chrono::milliseconds idle_timeout{60'000};
  std::chrono::milliseconds first_retry{250};  // doubled each time
};

struct Endpoint {
  http::Url base;  // target is "/" or a mirror's path
  bool mirror = false;
};

// Thread-safe. Errors of options are told by create().
class Hosts {
 public:
  static Result<std::unique_ptr<Hosts>> create(HostOptions options);
  const HostOptions& options() const { return options_; }
  http::Agent& agent() { return *agent_; }

  // Where to ask for what is in `domain` ("docker.io", "localhost:5000"), the best first. For
  // pushes mirrors are left out.
  enum class Use { pull, push };
  Result<std::vector<Endpoint>> endpoints(const std::string& domain, Use use) const;
  // The endpoint answered: it is asked first from now on (not remembered over a restart).
  void worked(const std::string& domain, const Endpoint& endpoint);
  bool insecure(const std::string& domain) const;

 private:
  explicit Hosts(HostOptions options) : options_(std::move(options)) {}
  Result<std::shared_ptr<const http::TlsContext>> tls_for(const http::Url& url);

  const HostOptions options_;
  std::unique_ptr<http::Agent> agent_;
  mutable std::mutex mutex_;
  std::map<std::string, std::string> answered_;  // domain → scheme that works
  std::map<std::string, std::shared_ptr<const http::TlsContext>> contexts_;  // by host:port
};

}  // namespace gantry::registry

// What gantry-registry is told: flags and a file of "key = value" lines with the same names.
#pragma once

#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"

namespace gantry::registry_server {

enum class AuthMode { none, htpasswd, token };

struct Options {
  std::string config;  // the file; "" for none
  std::vector<std::string> addresses;
  std::string root = "/var/lib/gantry-registry";
  std::string host;  // "" or the URL under which clients reach this registry

  std::string tls_certificate, tls_key, tls_client_ca;
  bool tls_client_required = false;

  AuthMode auth = AuthMode::none;
  std::string realm = "gantry-registry";
  std::string htpasswd, rights;
  std::string token_realm, token_service = "gantry-registry", token_issuer = "gantry-registry";
  std::vector<std::string> token_keys;
  std::string token_roots;
  bool token_endpoint = false;
  int64_t token_lifetime = 300'000'000'000;                        // ns
  int64_t refresh_lifetime = 720 * int64_t{3600} * 1'000'000'000;  // ns

  bool deletes = false;
  bool read_only = false;
  int64_t quota_total = 0, quota_repository = 0;  // bytes; 0: none
  int64_t upload_age = 24 * 3'600'000'000'000;    // ns
  int64_t max_uploads = 10'000;
  int64_t max_connections = 0;  // 0: three quarters of the open files

  int64_t gc_interval = 0;  // ns; 0: by command only
  int64_t gc_grace = 3'600'000'000'000;
  bool gc_untagged = false;

  std::string upstream, upstream_ca, upstream_username, upstream_password_file;
  int64_t cache_ttl = 600'000'000'000;
  int64_t upstream_timeout = 30'000'000'000;

  bool metrics = true;
  std::string metrics_address;
  std::string access_log = "stderr";  // a path, "stderr" or "off"
  log::Level log_level = log::Level::info;
  log::Format log_format = log::Format::text;
  int64_t drain_timeout = 30'000'000'000;
  int64_t stall_timeout = 120'000'000'000;

  // The file is read first (--config FILE, else the default one if it is there), flags win. What is
  // not a flag is left in `rest`. Errors name the flag, or the file and line; all of a file's are
  // in one message, a line each.
  static Result<Options> parse(const std::vector<std::string>& arguments,
                               std::vector<std::string>* rest = nullptr);
};

// A line for each option.
std::string options_usage();

}  // namespace gantry::registry_server

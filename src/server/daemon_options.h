// What gantryd is told: dockerd's flags and the keys of daemon.json, from one table.
#pragma once

#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "daemon/options.h"

namespace gantry::server {

struct DaemonOptions {
  daemon::Options daemon;
  std::vector<std::string>
      hosts;            // unix://PATH, tcp://HOST:PORT, fd://; empty: unix://EXEC_ROOT/gantry.sock
  std::string pidfile;  // "": EXEC_ROOT/gantryd.pid
  std::string config_file = "/etc/gantry/daemon.json";
  bool registries_dirs_given = false;
  std::string group = "gantry";  // owns Unix sockets
  // Of tcp:// hosts. `tls_verify`: clients must show a certificate that `tls_ca` signed.
  bool tls = false, tls_verify = false;
  std::string tls_ca = "/etc/gantry/ca.pem";
  std::string tls_certificate = "/etc/gantry/cert.pem", tls_key = "/etc/gantry/key.pem";
  log::Level log_level = log::Level::info;
  log::Format log_format = log::Format::text;
  bool validate = false;
  bool version = false;
  bool help = false;

  // Reads the arguments (without the program's name), then the configuration file: the default one
  // may be absent, one that was named may not. Errors are `invalid`, in dockerd's words.
  static Result<DaemonOptions> parse(const std::vector<std::string>& arguments);
};

// The text of --help.
std::string daemon_usage();

}  // namespace gantry::server

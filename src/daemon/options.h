// What gantryd was told on its command line and in its configuration file.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace gantry::daemon {

struct Options {
  std::string data_root = "/var/lib/gantry";
  std::string exec_root = "/run/gantry";
  std::string storage_driver;            // "": the best that works here
  std::string bridge = "gantry0";        // name of the default bridge; "none": no default network
  std::string bip;                       // "": from the first free default pool
  std::vector<std::string> images_dirs;  // archives loaded at start when their image is absent
  std::string runtime_program;           // gantry-runtime; "": beside this program
  std::string log_driver = "json-file";
  std::map<std::string, std::string> log_options;
  std::vector<std::string> labels;
  std::vector<std::string> dns, dns_search, dns_options;
  std::map<std::string, std::pair<int64_t, int64_t>> default_ulimits;  // name -> {soft, hard}
  int shutdown_timeout = 15;                                           // seconds
  int64_t journal_limit = 2000;  // ended jobs that the journal keeps
  int64_t journal_age = 0;       // seconds that it keeps them; 0: for ever
  bool debug = false;
};

}  // namespace gantry::daemon

// What gantryd was told on its command line and in its configuration file.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "graph/gc.h"

namespace gantry::daemon {

// What unattended collection may take, and when. Things that something holds are never taken.
struct GcOptions {
  int64_t interval_ns = int64_t{3600} * 1'000'000'000;  // 0: never by itself
  int64_t grace_ns = int64_t{600} * 1'000'000'000;      // younger things are left alone
  graph::Keep images;  // images that lost their name: kept until a prune, unless limited
  graph::Keep build_cache = {.age_ns = 14 * graph::kDay, .count = 2000, .bytes = int64_t{20} << 30};
};

// What containers get whose creator says nothing of it.
struct ContainerDefaults {
  int64_t shm_size = int64_t{64} << 20;
  std::string ipc_mode = "private", cgroupns_mode = "private";
  std::string cgroup_parent;  // "": the instance's own group
  bool init = false, no_new_privileges = false;
  std::map<std::string, std::pair<int64_t, int64_t>> ulimits;  // name -> {soft, hard}
};

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
  ContainerDefaults container_defaults;
  std::vector<std::string> insecure_registries;  // host, host:port or CIDR
  std::vector<std::string> registry_mirrors;     // URL, or HOST=URL for another than docker.io
  std::vector<std::string> certificate_dirs;     // empty: /etc/gantry/certs.d, /etc/docker/certs.d
  std::string policy_file;                       // "": /etc/gantry/policy.json, if it is there
  std::vector<std::string> registries_dirs = {"/etc/gantry/registries.d",
                                              "/etc/containers/registries.d"};
  bool keep_compressed = false;      // keep blobs as they were pulled
  int max_concurrent_downloads = 3;  // layers of one pull at a time
  int max_concurrent_uploads = 5;
  int64_t max_layer_size = int64_t{64} << 30;  // bytes that one layer may unpack to
  int64_t max_layer_ratio = 400;               // and how many times its compressed size
  GcOptions gc;
  int shutdown_timeout = 15;     // seconds
  int64_t journal_limit = 2000;  // ended jobs that the journal keeps
  int64_t journal_age = 0;       // seconds that it keeps them; 0: for ever
  bool debug = false;
};

}  // namespace gantry::daemon

// The flags that run and create share, and the request that they make.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "client/cli/flags.h"

namespace gantry::client {

// As given on the command line; sizes in bytes, cpus in billionths, durations in nanoseconds.
struct ContainerOptions {
  std::vector<std::string> add_host;
  std::vector<std::string> annotation;
  std::vector<std::string> attach;
  uint16_t blkio_weight = 0;
  std::vector<std::string> blkio_weight_device;
  std::vector<std::string> cap_add;
  std::vector<std::string> cap_drop;
  std::string cgroup_parent;
  std::string cgroupns;
  std::string cidfile;
  int64_t cpu_count = 0;
  int64_t cpu_percent = 0;
  int64_t cpu_period = 0;
  int64_t cpu_quota = 0;
  int64_t cpu_rt_period = 0;
  int64_t cpu_rt_runtime = 0;
  int64_t cpu_shares = 0;
  int64_t cpus = 0;
  std::string cpuset_cpus;
  std::string cpuset_mems;
  std::vector<std::string> device;
  std::vector<std::string> device_cgroup_rule;
  std::vector<std::string> device_read_bps;
  std::vector<std::string> device_read_iops;
  std::vector<std::string> device_write_bps;
  std::vector<std::string> device_write_iops;
  std::vector<std::string> dns;
  std::vector<std::string> dns_option;
  std::vector<std::string> dns_search;
  std::string domainname;
  std::optional<std::string> entrypoint;
  std::vector<std::string> env;
  std::vector<std::string> env_file;
  std::vector<std::string> expose;
  std::vector<std::string> gpus;
  std::vector<std::string> group_add;
  std::string health_cmd;
  int64_t health_interval = 0;
  int64_t health_retries = 0;
  int64_t health_start_interval = 0;
  int64_t health_start_period = 0;
  int64_t health_timeout = 0;
  std::string hostname;
  std::optional<bool> init;
  bool interactive = false;
  int64_t io_maxbandwidth = 0;
  uint64_t io_maxiops = 0;
  std::string ip;
  std::string ip6;
  std::string ipc;
  std::string isolation;
  int64_t kernel_memory = 0;
  std::vector<std::string> label;
  std::vector<std::string> label_file;
  std::vector<std::string> link;
  std::vector<std::string> link_local_ip;
  std::string log_driver;
  std::vector<std::string> log_opt;
  std::string mac_address;
  int64_t memory = 0;
  int64_t memory_reservation = 0;
  int64_t memory_swap = 0;
  int64_t memory_swappiness = -1;
  std::vector<std::string> mounts;
  std::vector<std::string> network;
  std::vector<std::string> network_alias;
  bool no_healthcheck = false;
  bool oom_kill_disable = false;
  int64_t oom_score_adj = 0;
  std::string pid;
  int64_t pids_limit = 0;
  bool privileged = false;
  std::vector<std::string> publish;
  bool publish_all = false;
  bool read_only = false;
  std::string restart;
  bool rm = false;
  std::string runtime;
  std::vector<std::string> security_opt;
  int64_t shm_size = 0;
  std::string stop_signal;
  std::optional<int64_t> stop_timeout;
  std::vector<std::string> storage_opt;
  std::vector<std::string> sysctl;
  std::vector<std::string> tmpfs;
  bool tty = false;
  std::vector<std::string> ulimit;
  std::string user;
  std::string userns;
  std::string uts;
  std::vector<std::string> volume;
  std::string volume_driver;
  std::vector<std::string> volumes_from;
  std::string workdir;
  std::string image;                 // the first argument
  std::vector<std::string> command;  // the others
  bool detach = false;               // run -d: no stream is attached
};

extern const std::span<const Flag> kContainerFlags;

// The body of POST /containers/create. Reads --env-file and --label-file. Errors: invalid, in
// Docker's wording; not_found for a file that is not there.
Result<json::object> container_request(const ContainerOptions& options);

}  // namespace gantry::client

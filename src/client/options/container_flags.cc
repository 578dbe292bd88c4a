#include "base/units.h"
#include "client/options/container_options.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

Status set_bytes(void* member, std::string_view text) {
  *static_cast<int64_t*>(member) = TRY(parse_ram_size(text));
  return {};
}
Status set_swap_bytes(void* member, std::string_view text) {
  if (text != "-1") return set_bytes(member, text);
  *static_cast<int64_t*>(member) = -1;
  return {};
}
Status set_cpus(void* member, std::string_view text) {
  *static_cast<int64_t*>(member) = TRY(parse_nano_cpus(text));
  return {};
}
Status set_duration(void* member, std::string_view text) {
  *static_cast<int64_t*>(member) = TRY(parse_duration(text));
  return {};
}

// A repeatable flag whose value is checked when it is read, so that the error names the flag.
template <auto Check>
Status checked(void* member, std::string_view text) {
  auto valid = Check(text);
  if (!valid) return std::move(valid).error();
  static_cast<std::vector<std::string>*>(member)->emplace_back(text);
  return {};
}

constexpr Flag kFlags[] = {
    flag<&ContainerOptions::add_host>("add-host", 0, "Add a custom host-to-IP mapping (host:ip)",
                                      {.type = "list", .set = checked<parse_add_host>}),
    flag<&ContainerOptions::annotation>(
        "annotation", 0, "Add an annotation to the container (passed through to the OCI runtime)",
        {.type = "map", .default_text = "map[]"}),
    flag<&ContainerOptions::attach>("attach", 'a', "Attach to STDIN, STDOUT or STDERR",
                                    {.type = "list", .set = checked<check_stream>}),
    flag<&ContainerOptions::blkio_weight>(
        "blkio-weight", 0, "Block IO (relative weight), between 10 and 1000, or 0 to disable",
        {.type = "uint16", .default_text = "0"}),
    flag<&ContainerOptions::blkio_weight_device>(
        "blkio-weight-device", 0, "Block IO weight (relative device weight)",
        {.default_text = "[]", .set = checked<parse_weight_device>}),
    flag<&ContainerOptions::cap_add>("cap-add", 0, "Add Linux capabilities"),
    flag<&ContainerOptions::cap_drop>("cap-drop", 0, "Drop Linux capabilities"),
    flag<&ContainerOptions::cgroup_parent>("cgroup-parent", 0,
                                           "Optional parent cgroup for the container"),
    flag<&ContainerOptions::cgroupns>(
        "cgroupns", 0,
        "Cgroup namespace to use (host|private)\n'host':    Run the container in the host's cgroup "
        "namespace\n'private': Run the container in its own private cgroup namespace\n'':        "
        "Use the cgroup namespace as configured by the\ndefault-cgroupns-mode option on the daemon "
        "(default)"),
    flag<&ContainerOptions::cidfile>("cidfile", 0, "Write the container ID to the file"),
    flag<&ContainerOptions::cpu_count>("cpu-count", 0, "CPU count (Windows only)"),
    flag<&ContainerOptions::cpu_percent>("cpu-percent", 0, "CPU percent (Windows only)"),
    flag<&ContainerOptions::cpu_period>("cpu-period", 0,
                                        "Limit CPU CFS (Completely Fair Scheduler) period"),
    flag<&ContainerOptions::cpu_quota>("cpu-quota", 0,
                                       "Limit CPU CFS (Completely Fair Scheduler) quota"),
    flag<&ContainerOptions::cpu_rt_period>("cpu-rt-period", 0,
                                           "Limit CPU real-time period in microseconds"),
    flag<&ContainerOptions::cpu_rt_runtime>("cpu-rt-runtime", 0,
                                            "Limit CPU real-time runtime in microseconds"),
    flag<&ContainerOptions::cpu_shares>("cpu-shares", 'c', "CPU shares (relative weight)"),
    flag<&ContainerOptions::cpus>("cpus", 0, "Number of CPUs",
                                  {.type = "decimal", .set = set_cpus}),
    flag<&ContainerOptions::cpuset_cpus>("cpuset-cpus", 0,
                                         "CPUs in which to allow execution (0-3, 0,1)"),
    flag<&ContainerOptions::cpuset_mems>("cpuset-mems", 0,
                                         "MEMs in which to allow execution (0-3, 0,1)"),
    flag<&ContainerOptions::device>("device", 0, "Add a host device to the container"),
    flag<&ContainerOptions::device_cgroup_rule>("device-cgroup-rule", 0,
                                                "Add a rule to the cgroup allowed devices list"),
    flag<&ContainerOptions::device_read_bps>(
        "device-read-bps", 0, "Limit read rate (bytes per second) from a device",
        {.default_text = "[]", .set = checked<parse_rate_device>}),
    flag<&ContainerOptions::device_read_iops>(
        "device-read-iops", 0, "Limit read rate (IO per second) from a device",
        {.default_text = "[]", .set = checked<parse_rate_device>}),
    flag<&ContainerOptions::device_write_bps>(
        "device-write-bps", 0, "Limit write rate (bytes per second) to a device",
        {.default_text = "[]", .set = checked<parse_rate_device>}),
    flag<&ContainerOptions::device_write_iops>(
        "device-write-iops", 0, "Limit write rate (IO per second) to a device",
        {.default_text = "[]", .set = checked<parse_rate_device>}),
    flag<&ContainerOptions::dns>("dns", 0, "Set custom DNS servers",
                                 {.type = "list", .set = checked<check_address>}),
    flag<&ContainerOptions::dns_option>("dns-option", 0, "Set DNS options"),
    flag<&ContainerOptions::dns_search>("dns-search", 0, "Set custom DNS search domains"),
    flag<&ContainerOptions::domainname>("domainname", 0, "Container NIS domain name"),
    flag<&ContainerOptions::entrypoint>("entrypoint", 0,
                                        "Overwrite the default ENTRYPOINT of the image"),
    flag<&ContainerOptions::env>("env", 'e', "Set environment variables",
                                 {.type = "list", .set = checked<check_environment>}),
    flag<&ContainerOptions::env_file>("env-file", 0, "Read in a file of environment variables"),
    flag<&ContainerOptions::expose>("expose", 0, "Expose a port or a range of ports"),
    flag<&ContainerOptions::gpus>("gpus", 0,
                                  "GPU devices to add to the container ('all' to pass all GPUs)",
                                  {.type = "gpu-request", .set = checked<parse_gpus>}),
    flag<&ContainerOptions::group_add>("group-add", 0, "Add additional groups to join"),
    flag<&ContainerOptions::health_cmd>("health-cmd", 0, "Command to run to check health"),
    flag<&ContainerOptions::health_interval>(
        "health-interval", 0, "Time between running the check (ms|s|m|h)",
        {.type = "duration", .default_text = "0s", .set = set_duration}),
    flag<&ContainerOptions::health_retries>("health-retries", 0,
                                            "Consecutive failures needed to report unhealthy"),
    flag<&ContainerOptions::health_start_interval>(
        "health-start-interval", 0,
        "Time between running the check during the start period (ms|s|m|h)",
        {.type = "duration", .default_text = "0s", .set = set_duration}),
    flag<&ContainerOptions::health_start_period>(
        "health-start-period", 0,
        "Start period for the container to initialize before starting health-retries countdown "
        "(ms|s|m|h)",
        {.type = "duration", .default_text = "0s", .set = set_duration}),
    flag<&ContainerOptions::health_timeout>(
        "health-timeout", 0, "Maximum time to allow one check to run (ms|s|m|h)",
        {.type = "duration", .default_text = "0s", .set = set_duration}),
    flag<&ContainerOptions::hostname>("hostname", 'h', "Container host name"),
    flag<&ContainerOptions::init>(
        "init", 0, "Run an init inside the container that forwards signals and reaps processes"),
    flag<&ContainerOptions::interactive>("interactive", 'i',
                                         "Keep STDIN open even if not attached"),
    flag<&ContainerOptions::io_maxbandwidth>(
        "io-maxbandwidth", 0, "Maximum IO bandwidth limit for the system drive (Windows only)",
        {.type = "bytes", .set = set_bytes}),
    flag<&ContainerOptions::io_maxiops>("io-maxiops", 0,
                                        "Maximum IOps limit for the system drive (Windows only)",
                                        {.type = "uint"}),
    flag<&ContainerOptions::ip>("ip", 0, "IPv4 address (e.g., 172.30.100.104)"),
    flag<&ContainerOptions::ip6>("ip6", 0, "IPv6 address (e.g., 2001:db8::33)"),
    flag<&ContainerOptions::ipc>("ipc", 0, "IPC mode to use"),
    flag<&ContainerOptions::isolation>("isolation", 0, "Container isolation technology"),
    flag<&ContainerOptions::kernel_memory>("kernel-memory", 0, "Kernel memory limit",
                                           {.type = "bytes", .set = set_bytes}),
    flag<&ContainerOptions::label>("label", 'l', "Set meta data on a container",
                                   {.type = "list", .set = checked<check_label>}),
    flag<&ContainerOptions::label_file>("label-file", 0, "Read in a line delimited file of labels"),
    flag<&ContainerOptions::link>("link", 0, "Add link to another container"),
    flag<&ContainerOptions::link_local_ip>("link-local-ip", 0,
                                           "Container IPv4/IPv6 link-local addresses",
                                           {.type = "list", .set = checked<check_address>}),
    flag<&ContainerOptions::log_driver>("log-driver", 0, "Logging driver for the container"),
    flag<&ContainerOptions::log_opt>("log-opt", 0, "Log driver options"),
    flag<&ContainerOptions::mac_address>("mac-address", 0,
                                         "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    flag<&ContainerOptions::memory>("memory", 'm', "Memory limit",
                                    {.type = "bytes", .set = set_bytes}),
    flag<&ContainerOptions::memory_reservation>("memory-reservation", 0, "Memory soft limit",
                                                {.type = "bytes", .set = set_bytes}),
    flag<&ContainerOptions::memory_swap>(
        "memory-swap", 0, "Swap limit equal to memory plus swap: '-1' to enable unlimited swap",
        {.type = "bytes", .set = set_swap_bytes}),
    flag<&ContainerOptions::memory_swappiness>("memory-swappiness", 0,
                                               "Tune container memory swappiness (0 to 100)",
                                               {.default_text = "-1"}),
    flag<&ContainerOptions::mounts>("mount", 0, "Attach a filesystem mount to the container",
                                    {.type = "mount", .set = checked<parse_mount>}),
    flag<&ContainerOptions::network>("network", 0, "Connect a container to a network",
                                     {.type = "network"}),
    flag<&ContainerOptions::network_alias>("network-alias", 0,
                                           "Add network-scoped alias for the container"),
    flag<&ContainerOptions::no_healthcheck>("no-healthcheck", 0,
                                            "Disable any container-specified HEALTHCHECK"),
    flag<&ContainerOptions::oom_kill_disable>("oom-kill-disable", 0, "Disable OOM Killer"),
    flag<&ContainerOptions::oom_score_adj>("oom-score-adj", 0,
                                           "Tune host's OOM preferences (-1000 to 1000)"),
    flag<&ContainerOptions::pid>("pid", 0, "PID namespace to use"),
    flag<&ContainerOptions::pids_limit>("pids-limit", 0,
                                        "Tune container pids limit (set -1 for unlimited)"),
    flag<&ContainerOptions::privileged>("privileged", 0,
                                        "Give extended privileges to this container"),
    flag<&ContainerOptions::publish>("publish", 'p', "Publish a container's port(s) to the host"),
    flag<&ContainerOptions::publish_all>("publish-all", 'P',
                                         "Publish all exposed ports to random ports"),
    flag<&ContainerOptions::read_only>("read-only", 0,
                                       "Mount the container's root filesystem as read only"),
    flag<&ContainerOptions::restart>("restart", 0, "Restart policy to apply when a container exits",
                                     {.default_text = "\"no\""}),
    flag<&ContainerOptions::rm>(
        "rm", 0,
        "Automatically remove the container and its associated anonymous volumes when it exits"),
    flag<&ContainerOptions::runtime>("runtime", 0, "Runtime to use for this container"),
    flag<&ContainerOptions::security_opt>("security-opt", 0, "Security Options"),
    flag<&ContainerOptions::shm_size>("shm-size", 0, "Size of /dev/shm",
                                      {.type = "bytes", .set = set_bytes}),
    flag<&ContainerOptions::stop_signal>("stop-signal", 0, "Signal to stop the container"),
    flag<&ContainerOptions::stop_timeout>("stop-timeout", 0,
                                          "Timeout (in seconds) to stop a container"),
    flag<&ContainerOptions::storage_opt>("storage-opt", 0,
                                         "Storage driver options for the container"),
    flag<&ContainerOptions::sysctl>(
        "sysctl", 0, "Sysctl options",
        {.type = "map", .default_text = "map[]", .set = checked<check_sysctl>}),
    flag<&ContainerOptions::tmpfs>("tmpfs", 0, "Mount a tmpfs directory"),
    flag<&ContainerOptions::tty>("tty", 't', "Allocate a pseudo-TTY"),
    flag<&ContainerOptions::ulimit>(
        "ulimit", 0, "Ulimit options",
        {.type = "ulimit", .default_text = "[]", .set = checked<parse_ulimit>}),
    flag<&ContainerOptions::user>("user", 'u',
                                  "Username or UID (format: <name|uid>[:<group|gid>])"),
    flag<&ContainerOptions::userns>("userns", 0, "User namespace to use"),
    flag<&ContainerOptions::uts>("uts", 0, "UTS namespace to use"),
    flag<&ContainerOptions::volume>("volume", 'v', "Bind mount a volume"),
    flag<&ContainerOptions::volume_driver>("volume-driver", 0,
                                           "Optional volume driver for the container"),
    flag<&ContainerOptions::volumes_from>("volumes-from", 0,
                                          "Mount volumes from the specified container(s)"),
    flag<&ContainerOptions::workdir>("workdir", 'w', "Working directory inside the container"),
    flag<&ContainerOptions::network>("net", 0, "Connect a container to a network",
                                     {.type = "network", .hidden = true}),
    flag<&ContainerOptions::network_alias>(
        "net-alias", 0, "Add network-scoped alias for the container", {.hidden = true}),
    flag<&ContainerOptions::dns_option>("dns-opt", 0, "Set DNS options", {.hidden = true}),
};

}  // namespace

const std::span<const Flag> kContainerFlags = kFlags;

}  // namespace gantry::client

#include "daemon/validate.h"

#include <arpa/inet.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "base/units.h"
#include "daemon/health.h"
#include "daemon/log_config.h"
#include "daemon/spec_builder.h"

namespace gantry::daemon {
namespace {

// The smallest memory limit Docker takes.
constexpr int64_t kMinimumMemory = 6 << 20;

Status check_modes(const api::HostConfig& host) {
  auto one_of = [](const std::string& value, std::initializer_list<std::string_view> allowed) {
    return std::find(allowed.begin(), allowed.end(), value) != allowed.end();
  };
  if (!one_of(host.IpcMode, {"", "private", "shareable", "host", "none"}) &&
      (!host.IpcMode.starts_with("container:") || host.IpcMode.size() == 10))
    return invalid("invalid IPC mode: {}", host.IpcMode);
  if (!one_of(host.PidMode, {"", "private", "host"}) && !host.PidMode.starts_with("container:"))
    return invalid("invalid PID mode: {}", host.PidMode);
  if (!one_of(host.UTSMode, {"", "host"})) return invalid("invalid UTS mode: {}", host.UTSMode);
  if (!one_of(host.CgroupnsMode, {"", "private", "host"}))
    return invalid("invalid cgroup namespace mode: {}", host.CgroupnsMode);
  if (!one_of(host.UsernsMode, {"", "host"}))
    return invalid("invalid userns mode: {}", host.UsernsMode);
  if (!one_of(host.Isolation, {"", "default"}))
    return invalid("invalid isolation \"{}\": this engine runs Linux containers only",
                   host.Isolation);
  if (!one_of(host.Runtime, {"", "native"}))
    return invalid("unknown or invalid runtime name: {}", host.Runtime);
  return {};
}

Status check_memory(const api::HostConfig& host) {
  if (host.Memory < 0) return invalid("invalid value for memory: {}", host.Memory);
  if (host.Memory != 0 && host.Memory < kMinimumMemory)
    return invalid("Minimum memory limit allowed is 6MB");
  if (host.Memory == 0 && host.MemorySwap > 0)
    return invalid("You should always set the Memory limit when using Memoryswap limit, see usage");
  if (host.Memory > 0 && host.MemorySwap > 0 && host.MemorySwap < host.Memory)
    return invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
  if (host.Memory > 0 && host.MemoryReservation > host.Memory)
    return invalid("Minimum memory limit can not be less than memory reservation limit, see usage");
  if (host.MemoryReservation < 0)
    return invalid("invalid value for memory reservation: {}", host.MemoryReservation);
  if (host.MemorySwappiness && (*host.MemorySwappiness < -1 || *host.MemorySwappiness > 100))
    return invalid("Invalid value: {}, valid memory swappiness range is 0-100",
                   *host.MemorySwappiness);
  if (host.ShmSize < 0) return invalid("SHM size can not be less than 0");
  return {};
}

// "0-3,7"; empty is none given.
bool is_number_list(const std::string& list) {
  if (list.empty()) return true;
  if (!std::isdigit(static_cast<unsigned char>(list.front())) ||
      !std::isdigit(static_cast<unsigned char>(list.back())))
    return false;
  for (size_t i = 1; i < list.size(); ++i) {
    const bool digit = std::isdigit(static_cast<unsigned char>(list[i])) != 0;
    const bool after_digit = std::isdigit(static_cast<unsigned char>(list[i - 1])) != 0;
    if (!digit && ((list[i] != ',' && list[i] != '-') || !after_digit)) return false;
  }
  return true;
}

Status check_cpu(const api::HostConfig& host) {
  if (host.NanoCpus > 0 && (host.CpuPeriod > 0 || host.CpuQuota > 0))
    return invalid("Conflicting options: Nano CPUs and CPU {} cannot both be set",
                   host.CpuPeriod > 0 ? "Period" : "Quota");
  int64_t cpus = ::sysconf(_SC_NPROCESSORS_ONLN);
  if (host.NanoCpus < 0 || host.NanoCpus > cpus * 1'000'000'000)
    return invalid("range of CPUs is from 0.01 to {}.00, as there are only {} CPUs available", cpus,
                   cpus);
  if (host.CpuShares < 0)
    return invalid("invalid CPU shares ({}): value must be a positive integer", host.CpuShares);
  if (host.CpuPeriod != 0 && (host.CpuPeriod < 1000 || host.CpuPeriod > 1'000'000))
    return invalid(
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  for (const auto& [name, list] :
       {std::pair("cpuset cpus", &host.CpusetCpus), std::pair("cpuset mems", &host.CpusetMems)})
    if (!is_number_list(*list)) return invalid("Invalid value {} for {}", *list, name);
  if (host.CpuRealtimeRuntime > host.CpuRealtimePeriod && host.CpuRealtimePeriod > 0)
    return invalid("cpu real-time runtime cannot be higher than cpu real-time period");
  if (host.CpuQuota > 0 && host.CpuQuota < 1000)
    return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
  return {};
}

Status check_block_io(const api::HostConfig& host) {
  auto in_range = [](uint16_t weight) { return weight == 0 || (weight >= 10 && weight <= 1000); };
  if (!in_range(host.BlkioWeight)) return invalid("Range of blkio weight is from 10 to 1000");
  for (const api::WeightDevice& device : host.BlkioWeightDevice)
    if (!in_range(device.Weight))
      return invalid("Range of blkio weight is from 10 to 1000: BlkioWeightDevice {} has {}",
                     device.Path, device.Weight);
  return {};
}

// A container has sysctls of its own namespaces only; every other would be the host's.
Status check_sysctls(const api::HostConfig& host) {
  static constexpr std::array<std::string_view, 8> kOfIpc = {
      "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
      "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"};
  for (const auto& [key, value] : host.Sysctls) {
    const bool of_ipc = std::find(kOfIpc.begin(), kOfIpc.end(), key) != kOfIpc.end() ||
                        key.starts_with("fs.mqueue.");
    if (key.starts_with("net.")) {
      if (host.NetworkMode == "host")
        return invalid("sysctl '{}' not allowed in host network", key);
    } else if (of_ipc) {
      if (host.IpcMode == "host")
        return invalid("sysctl '{}' not allowed in host ipc namespace", key);
    } else if (key != "kernel.domainname" && key != "kernel.hostname") {
      return invalid("sysctl \"{}\" is not in a separate kernel namespace", key);
    } else if (host.UTSMode == "host") {
      return invalid("sysctl '{}' not allowed in host UTS namespace", key);
    }
  }
  return {};
}

Status check_unsupported(const api::HostConfig& host) {
  if (!host.DeviceRequests.empty())
    return unsupported(
        "device requests (--gpus) are not supported yet: no device driver is registered");
  (void)TRY(storage_size(host));
  if (!host.Cgroup.empty())
    return unsupported("Cgroup \"{}\": joining another container's cgroup is not supported",
                       host.Cgroup);
  if (host.CpuCount || host.CpuPercent || host.IOMaximumIOps || host.IOMaximumBandwidth)
    return invalid(
        "CpuCount, CpuPercent, IOMaximumIOps and IOMaximumBandwidth are for Windows only");
  if (!host.VolumeDriver.empty() && host.VolumeDriver != "local")
    return not_found("error looking up volume plugin {}: plugin \"{}\" not found",
                     host.VolumeDriver, host.VolumeDriver);
  return {};
}

Status check_config(const api::ContainerConfig& config) {
  if (!config.WorkingDir.empty() && config.WorkingDir[0] != '/')
    return invalid("the working directory '{}' is invalid, it needs to be an absolute path",
                   config.WorkingDir);
  if (config.Hostname.size() > 63) return invalid("invalid hostname format: {}", config.Hostname);
  for (const std::string& entry : config.Env)
    if (entry.empty() || entry[0] == '=') return invalid("invalid environment variable: {}", entry);
  if (!config.StopSignal.empty()) TRY(parse_signal(config.StopSignal));
  if (!config.Cmd.has_items() && !config.Entrypoint.has_items())
    return invalid("no command specified");
  return {};
}

// What the addresses and ports of a configuration look like; the rest is the network's to say.
Status check_names(const api::ContainerConfig& config, const api::HostConfig& host) {
  auto is_address = [](const std::string& text) {
    std::array<unsigned char, sizeof(in6_addr)> bytes;
    return ::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1 ||
           ::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1;
  };
  for (const std::string& server : host.Dns)
    if (!is_address(server)) return invalid("invalid Dns: {} is not an ip address", server);
  for (const std::string& entry : host.ExtraHosts) {
    const size_t colon = entry.find_first_of(":=");
    const std::string where = colon == std::string::npos ? "" : entry.substr(colon + 1);
    if (colon == 0 || where.empty()) return invalid("bad format for add-host: {:?}", entry);
    const bool bracketed = where.size() > 2 && where.front() == '[' && where.back() == ']';
    if (where != "host-gateway" &&
        !is_address(bracketed ? where.substr(1, where.size() - 2) : where))
      return invalid("invalid IP address in add-host: {:?}", where);
  }
  for (const auto& [port, unused] : config.ExposedPorts) {
    const std::string number = port.substr(0, port.find('/'));
    const std::string protocol =
        number.size() == port.size() ? "tcp" : port.substr(number.size() + 1);
    const bool known = protocol == "tcp" || protocol == "udp" || protocol == "sctp";
    if (!known || number.empty() || number.size() > 5 ||
        number.find_first_not_of("0123456789") != std::string::npos ||
        std::atoi(number.c_str()) < 1 || std::atoi(number.c_str()) > 65535)
      return invalid("invalid port specification: {:?}", port);
  }
  return {};
}

Status check_restart(const api::HostConfig& host) {
  const std::string& name = host.restart_policy.Name;
  int retries = host.restart_policy.MaximumRetryCount;
  static constexpr std::array<std::string_view, 5> kNames = {"", "no", "always", "on-failure",
                                                             "unless-stopped"};
  if (std::find(kNames.begin(), kNames.end(), name) == kNames.end())
    return invalid(
        "invalid restart policy: unknown policy '{}'; use one of 'no', 'always', 'on-failure', or "
        "'unless-stopped'",
        name);
  if (name != "on-failure" && retries != 0)
    return invalid(
        "invalid restart policy: maximum retry count can only be used with 'on-failure'");
  if (retries < 0) return invalid("invalid restart policy: maximum retry count cannot be negative");
  if (host.AutoRemove && !name.empty() && name != "no")
    return invalid("can't create 'AutoRemove' container with restart policy");
  return {};
}

}  // namespace

Result<int> parse_signal(const std::string& text) {
  if (!text.empty() && text.find_first_not_of("0123456789") == std::string::npos) {
    int number = text.size() < 4 ? std::stoi(text) : 0;
    if (number < 1 || number > 64) return invalid("invalid signal: {}", text);
    return number;
  }
  std::string name = text;
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (name.starts_with("SIG")) name.erase(0, 3);
  for (int number = 1; number < NSIG; ++number) {
    const char* known = ::sigabbrev_np(number);
    if (known && name == known) return number;
  }
  if (name.starts_with("RTMIN+")) {
    int offset = std::atoi(name.c_str() + 6);
    if (offset >= 0 && SIGRTMIN + offset <= SIGRTMAX) return SIGRTMIN + offset;
  }
  if (name == "RTMIN") return SIGRTMIN;
  if (name == "RTMAX") return SIGRTMAX;
  return invalid("invalid signal: {}", text);
}

void merge_image_config(api::ContainerConfig& config, const image::ImageConfig& image) {
  const image::ContainerConfig& from = image.config;
  if (config.User.empty()) config.User = from.user;
  for (const auto& [port, unused] : from.exposed_ports)
    config.ExposedPorts.emplace(port, json::object());
  std::vector<std::string> missing;
  for (const std::string& entry : from.env) {
    std::string name = entry.substr(0, entry.find('='));
    bool given = std::any_of(config.Env.begin(), config.Env.end(), [&](const std::string& own) {
      return own.substr(0, own.find('=')) == name;
    });
    if (!given) missing.push_back(entry);
  }
  config.Env.insert(config.Env.end(), missing.begin(), missing.end());
  for (const auto& [key, value] : from.labels) config.Labels.emplace(key, value);
  if (!config.Entrypoint.has_items()) {
    if (!config.Cmd.has_items()) config.Cmd.items = from.cmd;
    // [""] clears the image's entrypoint; absent takes it.
    if (!config.Entrypoint.items) config.Entrypoint.items = from.entrypoint;
  }
  if (config.Entrypoint.items && config.Entrypoint.items->size() == 1 &&
      config.Entrypoint.items->at(0).empty())
    config.Entrypoint.items.reset();
  if (config.WorkingDir.empty()) config.WorkingDir = from.working_dir;
  for (const auto& [path, unused] : from.volumes) config.Volumes.emplace(path, json::object());
  if (config.StopSignal.empty()) config.StopSignal = from.stop_signal;
  if (config.OnBuild.empty()) config.OnBuild = from.on_build;
  if (config.Shell.empty()) config.Shell = from.shell;
  if (from.healthcheck) {
    if (!config.Healthcheck) config.Healthcheck.emplace();
    api::HealthConfig& health = *config.Healthcheck;
    if (health.Test.empty()) health.Test = from.healthcheck->test;
    if (health.Interval == 0) health.Interval = from.healthcheck->interval;
    if (health.Timeout == 0) health.Timeout = from.healthcheck->timeout;
    if (health.StartPeriod == 0) health.StartPeriod = from.healthcheck->start_period;
    if (health.StartInterval == 0) health.StartInterval = from.healthcheck->start_interval;
    if (health.Retries == 0) health.Retries = static_cast<int>(from.healthcheck->retries);
  }
}

void set_defaults(api::HostConfig& host, const Options& options) {
  const ContainerDefaults& defaults = options.container_defaults;
  if (host.ShmSize == 0) host.ShmSize = defaults.shm_size;
  if (host.Memory > 0 && host.MemorySwap == 0) host.MemorySwap = host.Memory * 2;
  if (host.IpcMode.empty()) host.IpcMode = defaults.ipc_mode;
  if (host.CgroupnsMode.empty()) host.CgroupnsMode = defaults.cgroupns_mode;
  if (host.NetworkMode.empty() || host.NetworkMode == "default") host.NetworkMode = "bridge";
  if (host.Runtime.empty()) host.Runtime = "native";
  if (host.restart_policy.Name.empty()) host.restart_policy.Name = "no";
  if (host.log_config.Type.empty()) {
    host.log_config.Type = options.log_driver;
    for (const auto& [key, value] : options.log_options) host.log_config.Config.emplace(key, value);
  }
  if (!host.ConsoleSize) host.ConsoleSize = {0, 0};
  if (host.CgroupParent.empty()) host.CgroupParent = defaults.cgroup_parent;
  if (!host.Init && defaults.init) host.Init = true;
  auto says = [](const std::string& option) { return option.starts_with("no-new-privileges"); };
  if (defaults.no_new_privileges &&
      std::none_of(host.SecurityOpt.begin(), host.SecurityOpt.end(), says))
    host.SecurityOpt.emplace_back("no-new-privileges");
  for (const auto& [name, limits] : defaults.ulimits) {
    auto same = [&](const api::Ulimit& given) { return given.Name == name; };
    if (std::none_of(host.Ulimits.begin(), host.Ulimits.end(), same))
      host.Ulimits.push_back({name, limits.second, limits.first});
  }
}

api::Strings discard_unsupported(api::HostConfig& host, const LimitSupport& support) {
  api::Strings warnings;
  if (host.MemorySwappiness.value_or(-1) != -1 && !support.swappiness) {
    warnings.push_back(
        "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. "
        "Memory swappiness discarded.");
    host.MemorySwappiness.reset();
  }
  if (host.KernelMemory != 0 || host.KernelMemoryTCP != 0) {
    warnings.push_back(
        "Kernel memory limits are deprecated, and no longer there in this kernel. KernelMemory and "
        "KernelMemoryTCP discarded.");
    host.KernelMemory = host.KernelMemoryTCP = 0;
  }
  if (host.OomKillDisable.value_or(false) && !support.oom_kill_disable) {
    warnings.push_back("Your kernel does not support OomKillDisable. OomKillDisable discarded.");
    host.OomKillDisable.reset();
  }
  return warnings;
}

Result<uint64_t> storage_size(const api::HostConfig& host) {
  uint64_t size = 0;
  for (const auto& [key, value] : host.StorageOpt) {
    if (key != "size") return invalid("Unknown option {}", key);
    int64_t parsed = TRY(parse_ram_size(value));
    if (parsed <= 0) return invalid("invalid size: '{}'", value);
    size = static_cast<uint64_t>(parsed);
  }
  return size;
}

Result<api::Strings> validate(const api::ContainerConfig& config, const api::HostConfig& host) {
  api::Strings warnings;
  TRY(check_config(config));
  TRY(check_modes(host));
  TRY(check_names(config, host));
  TRY(check_memory(host));
  TRY(check_cpu(host));
  TRY(check_block_io(host));
  TRY(check_sysctls(host));
  TRY(check_restart(host));
  TRY(check_unsupported(host));
  TRY(check_log_config(host.log_config));
  TRY(build_capabilities(host));
  if (host.OomScoreAdj < -1000 || host.OomScoreAdj > 1000)
    return invalid("Invalid value {}, range for oom score adj is [-1000, 1000]", host.OomScoreAdj);
  if (config.Healthcheck) {
    const api::Strings& test = config.Healthcheck->Test;
    TRY(check_healthcheck(*config.Healthcheck));
    if (!test.empty() && test[0] != "NONE" && !health_probe(config))
      warnings.push_back(fmt::format(
          "The healthcheck is not run: its Test is none of [\"NONE\"], [\"CMD\", args...] and "
          "[\"CMD-SHELL\", command], but begins with \"{}\".",
          test[0]));
  }
  if (host.OomKillDisable.value_or(false) && host.Memory == 0)
    warnings.push_back(
        "OOM killer is disabled for the container, but no memory limit is set, this can result in "
        "the system running out of resources.");
  return warnings;
}

}  // namespace gantry::daemon

#include "daemon/spec_builder.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "base/fs.h"
#include "base/sys.h"
#include "daemon/mounts.h"
#include "libcontainer/apparmor.h"
#include "libcontainer/default_profile.h"

namespace gantry::daemon {
namespace {

constexpr std::string_view kPath =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

Result<std::string> capability_name(const std::string& written, std::string_view field) {
  std::string name = upper(written);
  if (name == "ALL") return name;
  if (!name.starts_with("CAP_")) name = "CAP_" + name;
  if (!libcontainer::is_capability(name))
    return invalid("invalid {}: unknown capability: \"{}\"", field, name);
  return name;
}

bool contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

// Later entries win; a bare "NAME" without a value takes the name away.
void merge_environment(std::vector<std::string>& out, const api::Strings& added) {
  for (const std::string& entry : added) {
    std::string name = entry.substr(0, entry.find('='));
    std::erase_if(out, [&](const std::string& old) { return old.starts_with(name + "="); });
    if (entry.find('=') != std::string::npos) out.push_back(entry);
  }
}

std::vector<std::string> environment(const ContainerRecord& record) {
  std::vector<std::string> out = {std::string(kPath), "HOSTNAME=" + record.config.Hostname};
  if (record.config.Tty) out.push_back("TERM=xterm");
  merge_environment(out, record.config.Env);
  return out;
}

struct SecurityOptions {
  bool no_new_privileges = false;
  bool seccomp_unconfined = false;
  std::string seccomp_profile;  // JSON text
  std::string apparmor_profile;
  bool system_paths_unconfined = false;
};

Result<SecurityOptions> security_options(const api::HostConfig& host_config) {
  SecurityOptions out;
  for (const std::string& option : host_config.SecurityOpt) {
    size_t at = option.find_first_of("=:");
    std::string key = option.substr(0, at);
    std::string value = at == std::string::npos ? "" : option.substr(at + 1);
    if (key == "no-new-privileges") {
      if (!value.empty() && value != "true" && value != "false")
        return invalid("invalid --security-opt 2: \"{}\"", option);
      out.no_new_privileges = value != "false";
    } else if (key == "seccomp") {
      if (value == "unconfined")
        out.seccomp_unconfined = true;
      else if (value != "builtin")
        out.seccomp_profile = value;
    } else if (key == "systempaths" && value == "unconfined") {
      out.system_paths_unconfined = true;
    } else if (key == "apparmor") {
      if (value != "unconfined" && !libcontainer::apparmor_enabled())
        return unsupported("security-opt apparmor={}: this kernel has no AppArmor", value);
      out.apparmor_profile = value;
    } else if (key == "label") {
      if (value != "disable" && fs::exists("/sys/fs/selinux/enforce"))
        return unsupported("security-opt label={} is not supported yet", value);
    } else {
      return invalid("invalid --security-opt 2: \"{}\"", option);
    }
  }
  return out;
}

// ---- devices

// The node that a container gets at `path`: in everything as the host's.
libcontainer::Device device_like(const struct stat& st, const std::string& path) {
  libcontainer::Device device;
  device.path = path;
  device.type = S_ISCHR(st.st_mode) ? "c" : "b";
  device.major = major(st.st_rdev);
  device.minor = minor(st.st_rdev);
  device.file_mode = st.st_mode & 07777;
  device.uid = st.st_uid;
  device.gid = st.st_gid;
  return device;
}

Result<std::vector<libcontainer::Device>> host_devices() {
  std::vector<libcontainer::Device> out;
  static constexpr std::array<std::string_view, 10> kSkipped = {
      "pts", "shm", "fd", "mqueue", "console", "lxc", "lxd-fuse", ".lxc", ".lxd-mounts", ".udev"};
  std::vector<std::string> pending = {"/dev"};
  while (!pending.empty()) {
    std::string directory = std::move(pending.back());
    pending.pop_back();
    Result<std::vector<std::string>> names = fs::list_directory(directory);
    if (!names) continue;
    for (const std::string& name : *names) {
      if (std::find(kSkipped.begin(), kSkipped.end(), name) != kSkipped.end()) continue;
      std::string path = directory + "/" + name;
      struct stat st;
      if (::lstat(path.c_str(), &st) == -1) continue;
      if (S_ISDIR(st.st_mode)) pending.push_back(path);
      if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)) continue;
      out.push_back(device_like(st, path));
    }
  }
  return out;
}

Result<struct stat> device_stat(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) == -1)
    return errno_error(
        errno, "error gathering device information while adding custom device \"{}\"", path);
  if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
    return invalid(
        "error gathering device information while adding custom device \"{}\": not a device node",
        path);
  return st;
}

Status add_device(const api::DeviceMapping& mapping, libcontainer::Linux& section);

// All devices of a directory ("/dev/snd"), as Docker does it; an error when there is none.
Status add_devices_of(const api::DeviceMapping& mapping, libcontainer::Linux& section) {
  const size_t before = section.devices.size();
  const std::vector<std::string> names = TRY(fs::list_directory(mapping.PathOnHost));
  for (const std::string& name : names) {
    api::DeviceMapping one = mapping;
    one.PathOnHost += "/" + name;
    one.PathInContainer =
        (mapping.PathInContainer.empty() ? mapping.PathOnHost : mapping.PathInContainer) + "/" +
        name;
    struct stat st;
    if (::lstat(one.PathOnHost.c_str(), &st) == -1) continue;
    if (S_ISDIR(st.st_mode)) {
      (void)add_devices_of(one, section);  // one without devices is no mistake
    } else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
      TRY(add_device(one, section));
    }
  }
  if (section.devices.size() == before)
    return invalid(
        "error gathering device information while adding custom device \"{}\": no device nodes in "
        "it",
        mapping.PathOnHost);
  return {};
}

Status add_device(const api::DeviceMapping& mapping, libcontainer::Linux& section) {
  struct stat st;
  if (::stat(mapping.PathOnHost.c_str(), &st) == 0 && S_ISDIR(st.st_mode))
    return add_devices_of(mapping, section);
  st = TRY(device_stat(mapping.PathOnHost));
  std::string access = mapping.CgroupPermissions.empty() ? "rwm" : mapping.CgroupPermissions;
  if (access.find_first_not_of("rwm") != std::string::npos)
    return invalid("invalid device mode: {}", access);
  libcontainer::Device device = device_like(
      st, mapping.PathInContainer.empty() ? mapping.PathOnHost : mapping.PathInContainer);
  section.resources->devices.push_back({true, device.type, device.major, device.minor, access});
  section.devices.push_back(std::move(device));
  return {};
}

// "c 1:3 rwm", "b *:* m"
Status add_device_rule(const std::string& rule, libcontainer::Resources& resources) {
  char type = 0, major_text[16] = {}, minor_text[16] = {}, access[8] = {};
  if (std::sscanf(rule.c_str(), "%c %15[0-9*]:%15[0-9*] %7[rwm]", &type, major_text, minor_text,
                  access) != 4 ||
      (type != 'a' && type != 'b' && type != 'c'))
    return invalid("invalid device cgroup rule format: '{}'", rule);
  auto number = [](const char* text) -> std::optional<int64_t> {
    if (text[0] == '*') return std::nullopt;
    return std::atoll(text);
  };
  resources.devices.push_back(
      {true, std::string(1, type), number(major_text), number(minor_text), access});
  return {};
}

Result<std::vector<libcontainer::ThrottleDevice>> throttles(
    const std::vector<api::ThrottleDevice>& list) {
  std::vector<libcontainer::ThrottleDevice> out;
  for (const api::ThrottleDevice& entry : list) {
    struct stat st = TRY(device_stat(entry.Path));
    out.push_back({static_cast<int64_t>(major(st.st_rdev)), static_cast<int64_t>(minor(st.st_rdev)),
                   entry.Rate});
  }
  return out;
}

// ---- mounts

std::vector<std::string> bind_options(const MountPoint& mount) {
  std::vector<std::string> options = {mount.recursive ? "rbind" : "bind"};
  std::string propagation = mount.propagation.empty() ? "rprivate" : mount.propagation;
  options.push_back(propagation);
  if (!mount.writable)
    options.push_back(mount.read_only_recursive == "disabled" || !mount.recursive ? "ro" : "rro");
  return options;
}

libcontainer::Mount to_oci(const MountPoint& mount) {
  libcontainer::Mount out;
  out.destination = mount.destination;
  if (mount.type == "tmpfs") {
    out.type = "tmpfs";
    out.source = "tmpfs";
    out.options = {"noexec", "nosuid", "nodev", "rprivate"};
    for (const std::string& option : mount.tmpfs_options) {
      // "exec" takes the default's "noexec" away, and so on.
      std::erase(out.options, "no" + option);
      out.options.push_back(option);
    }
  } else {
    out.type = "bind";
    out.source = mount.source;
    out.options = bind_options(mount);
  }
  return out;
}

size_t depth(const std::string& path) {
  return path == "/" ? 0 : static_cast<size_t>(std::count(path.begin(), path.end(), '/'));
}

void add_mounts(const ContainerRecord& record, const SpecInputs& inputs, libcontainer::Spec& spec) {
  std::set<std::string> taken;
  for (const MountPoint& mount : record.mounts) taken.insert(mount.destination);
  std::erase_if(spec.mounts, [&](const libcontainer::Mount& mount) {
    return taken.contains(mount.destination);
  });
  std::vector<libcontainer::Mount> own;
  for (const MountPoint& mount : record.mounts) own.push_back(to_oci(mount));
  for (std::vector<libcontainer::Mount>* list : {&spec.mounts, &own})
    for (libcontainer::Mount& mount : *list)
      if (auto tree = inputs.detached.find(mount.destination); tree != inputs.detached.end()) {
        if (list == &spec.mounts) mount = {mount.destination, "bind", {}, {"rbind"}, {}, {}, false};
        mount.source = tree->second;
        mount.detached = true;
      }
  if (inputs.mount_network_files)
    for (std::string_view name : {"resolv.conf", "hostname", "hosts"}) {
      std::string destination = fmt::format("/etc/{}", name);
      if (taken.contains(destination)) continue;
      libcontainer::Mount mount;
      mount.destination = destination;
      mount.type = "bind";
      mount.source = fmt::format("{}/{}", inputs.container_directory, name);
      mount.options = {"bind", "rprivate"};
      if (record.host_config.ReadonlyRootfs) mount.options.push_back("ro");
      own.push_back(std::move(mount));
    }
  std::stable_sort(own.begin(), own.end(), [](const auto& a, const auto& b) {
    return depth(a.destination) < depth(b.destination);
  });
  spec.mounts.insert(spec.mounts.end(), own.begin(), own.end());
}

// ---- namespaces

void set_namespace(libcontainer::Linux& section, const std::string& type,
                   const std::string& where) {
  auto found = std::find_if(section.namespaces.begin(), section.namespaces.end(),
                            [&](const libcontainer::Namespace& n) { return n.type == type; });
  if (where == "host") {
    if (found != section.namespaces.end()) section.namespaces.erase(found);
  } else if (found != section.namespaces.end()) {
    found->path = where;
  } else {
    section.namespaces.push_back({type, where});
  }
}

void set_namespaces(const ContainerRecord& record, const SpecInputs& inputs,
                    libcontainer::Spec& spec) {
  libcontainer::Linux& section = *spec.linux_section;
  set_namespace(section, "network", inputs.network_namespace);
  set_namespace(section, "pid", inputs.pid_namespace);
  set_namespace(section, "ipc", inputs.ipc_namespace);
  if (record.host_config.UTSMode == "host") set_namespace(section, "uts", "host");
  if (record.host_config.CgroupnsMode == "host") set_namespace(section, "cgroup", "host");
  if (inputs.ipc_namespace == "host") {
    for (libcontainer::Mount& mount : spec.mounts) {
      if (mount.destination == "/dev/shm")
        mount = {"/dev/shm", "bind", "/dev/shm", {"rbind", "rprivate"}, {}, {}, false};
      else if (mount.destination == "/dev/mqueue")
        mount = {"/dev/mqueue", "bind", "/dev/mqueue", {"rbind", "rprivate"}, {}, {}, false};
    }
  } else if (record.host_config.IpcMode == "none") {
    std::erase_if(spec.mounts, [](const auto& mount) { return mount.destination == "/dev/shm"; });
  }
}

void set_sysctls(const ContainerRecord& record, const SpecInputs& inputs,
                 libcontainer::Spec& spec) {
  auto& sysctl = spec.linux_section->sysctl;
  if (inputs.network_namespace.empty()) {
    // As Docker: an unprivileged program may ping and use every port of a namespace of its own.
    sysctl["net.ipv4.ip_unprivileged_port_start"] = "0";
    sysctl["net.ipv4.ping_group_range"] = "0 2147483647";
  }
  for (const auto& [key, value] : record.host_config.Sysctls) sysctl[key] = value;
}

void make_privileged(libcontainer::Spec& spec) {
  libcontainer::Linux& section = *spec.linux_section;
  section.seccomp.reset();
  section.masked_paths.clear();
  section.readonly_paths.clear();
  section.resources->devices = {{true, "a", std::nullopt, std::nullopt, "rwm"}};
  for (libcontainer::Mount& mount : spec.mounts) {
    // /sys and the cgroups are read-only for everybody else.
    if (mount.type != "sysfs" && mount.type != "cgroup" && mount.type != "cgroup2") continue;
    std::replace(mount.options.begin(), mount.options.end(), std::string("ro"), std::string("rw"));
  }
}

Status set_rlimits(const api::HostConfig& host_config, libcontainer::Process& process) {
  static constexpr std::array<std::string_view, 16> kNames = {
      "core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue", "nice",
      "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack",    "as"};
  for (const api::Ulimit& ulimit : host_config.Ulimits) {
    if (std::find(kNames.begin(), kNames.end(), ulimit.Name) == kNames.end())
      return invalid("invalid ulimit type: {}", ulimit.Name);
    if (ulimit.Hard != -1 && (ulimit.Soft > ulimit.Hard || ulimit.Soft == -1))
      return invalid("ulimit soft limit must be less than or equal to hard limit: {} > {}",
                     ulimit.Soft, ulimit.Hard);
    process.rlimits.push_back({"RLIMIT_" + upper(ulimit.Name), static_cast<uint64_t>(ulimit.Soft),
                               static_cast<uint64_t>(ulimit.Hard)});
  }
  return {};
}

Status set_seccomp(const ContainerRecord& record, const SecurityOptions& security,
                   const std::vector<std::string>& capabilities, libcontainer::Spec& spec) {
  auto& seccomp = spec.linux_section->seccomp;
  if (record.host_config.Privileged && security.seccomp_profile.empty()) {
    seccomp.reset();
  } else if (security.seccomp_unconfined) {
    seccomp.reset();
  } else if (!security.seccomp_profile.empty()) {
    libcontainer::Seccomp profile =
        TRY(libcontainer::resolve_seccomp_profile(security.seccomp_profile, capabilities)
                .context("decoding seccomp profile failed"));
    seccomp = std::move(profile);
  } else {
    seccomp = libcontainer::default_seccomp(capabilities);
  }
  return {};
}

}  // namespace

Result<std::string> build_apparmor_profile(const api::HostConfig& host_config) {
  SecurityOptions security = TRY(security_options(host_config));
  if (!libcontainer::apparmor_enabled()) return std::string();
  if (!security.apparmor_profile.empty()) return security.apparmor_profile;
  if (host_config.Privileged) return std::string("unconfined");
  return std::string(libcontainer::apparmor_usable() ? libcontainer::kDefaultApparmorProfile : "");
}

Result<std::vector<std::string>> build_capabilities(const api::HostConfig& host_config) {
  std::vector<std::string> all = libcontainer::all_capabilities();
  if (host_config.Privileged) return all;
  std::vector<std::string> add, drop;
  for (const std::string& name : host_config.CapAdd) {
    std::string clean = TRY(capability_name(name, "CapAdd"));
    add.push_back(std::move(clean));
  }
  for (const std::string& name : host_config.CapDrop) {
    std::string clean = TRY(capability_name(name, "CapDrop"));
    drop.push_back(std::move(clean));
  }
  std::vector<std::string> base = libcontainer::default_capabilities();
  std::vector<std::string> out;
  for (const std::string& capability : all) {
    bool wanted = contains(add, "ALL") || contains(base, capability);
    if (contains(drop, "ALL")) wanted = contains(add, "ALL");
    if (contains(drop, capability)) wanted = false;
    if (contains(add, capability)) wanted = true;
    if (wanted) out.push_back(capability);
  }
  return out;
}

Result<libcontainer::Resources> build_resources(const api::HostConfig& host_config) {
  libcontainer::Resources out;
  const api::HostConfig& host = host_config;
  if (host.Memory || host.MemoryReservation || host.MemorySwap || host.MemorySwappiness ||
      host.OomKillDisable) {
    auto& memory = out.memory.emplace();
    if (host.Memory > 0) memory.limit = host.Memory;
    if (host.MemoryReservation > 0) memory.reservation = host.MemoryReservation;
    if (host.MemorySwap != 0) memory.swap = host.MemorySwap;
    if (host.MemorySwappiness && *host.MemorySwappiness >= 0)
      memory.swappiness = static_cast<uint64_t>(*host.MemorySwappiness);
    if (host.OomKillDisable) memory.disable_oom_killer = host.OomKillDisable;
  }
  if (host.CpuShares || host.CpuPeriod || host.CpuQuota || host.NanoCpus ||
      host.CpuRealtimePeriod || host.CpuRealtimeRuntime || !host.CpusetCpus.empty() ||
      !host.CpusetMems.empty()) {
    auto& cpu = out.cpu.emplace();
    if (host.CpuShares > 0) cpu.shares = static_cast<uint64_t>(host.CpuShares);
    if (host.CpuPeriod > 0) cpu.period = static_cast<uint64_t>(host.CpuPeriod);
    if (host.CpuQuota != 0) cpu.quota = host.CpuQuota;
    if (host.NanoCpus > 0) {
      cpu.period = 100'000;  // Docker's: the fraction of CPUs over 100 ms
      cpu.quota = host.NanoCpus / 10'000;
    }
    if (host.CpuRealtimePeriod) cpu.realtime_period = static_cast<uint64_t>(host.CpuRealtimePeriod);
    if (host.CpuRealtimeRuntime) cpu.realtime_runtime = host.CpuRealtimeRuntime;
    cpu.cpus = host.CpusetCpus;
    cpu.mems = host.CpusetMems;
  }
  if (host.PidsLimit && *host.PidsLimit != 0) out.pids = {{.limit = *host.PidsLimit}};
  if (host.BlkioWeight || !host.BlkioDeviceReadBps.empty() || !host.BlkioDeviceWriteBps.empty() ||
      !host.BlkioDeviceReadIOps.empty() || !host.BlkioDeviceWriteIOps.empty() ||
      !host.BlkioWeightDevice.empty()) {
    libcontainer::BlockIoResources block;
    if (host.BlkioWeight) block.weight = host.BlkioWeight;
    for (const api::WeightDevice& entry : host.BlkioWeightDevice) {
      struct stat st = TRY(device_stat(entry.Path));
      block.weight_device.push_back({static_cast<int64_t>(major(st.st_rdev)),
                                     static_cast<int64_t>(minor(st.st_rdev)), entry.Weight,
                                     std::nullopt});
    }
    block.throttle_read_bps_device = TRY(throttles(host.BlkioDeviceReadBps));
    block.throttle_write_bps_device = TRY(throttles(host.BlkioDeviceWriteBps));
    block.throttle_read_iops_device = TRY(throttles(host.BlkioDeviceReadIOps));
    block.throttle_write_iops_device = TRY(throttles(host.BlkioDeviceWriteIOps));
    out.block_io = std::move(block);
  }
  return out;
}

libcontainer::UserSpec user_of(const ContainerRecord& record) {
  return {record.config.User, record.host_config.GroupAdd};
}

Result<libcontainer::Spec> build_spec(const ContainerRecord& record, const SpecInputs& inputs) {
  const api::HostConfig& host = record.host_config;
  libcontainer::Spec spec = libcontainer::default_spec();
  libcontainer::Linux& section = *spec.linux_section;
  libcontainer::Process& process = *spec.process;

  process.terminal = record.config.Tty;
  process.args = {record.path};
  process.args.insert(process.args.end(), record.args.begin(), record.args.end());
  process.env = environment(record);
  process.cwd = record.config.WorkingDir.empty() ? "/" : record.config.WorkingDir;
  if (host.OomScoreAdj != 0) process.oom_score_adj = host.OomScoreAdj;
  std::vector<std::string> capabilities = TRY(build_capabilities(host));
  process.capabilities.emplace();
  process.capabilities->bounding = capabilities;
  process.capabilities->effective = capabilities;
  process.capabilities->permitted = capabilities;
  TRY(set_rlimits(host, process));

  spec.root = libcontainer::Root{"", host.ReadonlyRootfs};
  spec.hostname = host.UTSMode == "host" ? "" : record.config.Hostname;
  spec.domainname = host.UTSMode == "host" ? "" : record.config.Domainname;
  spec.annotations = host.Annotations;
  section.cgroups_path = inputs.cgroups_path;

  std::vector<libcontainer::DeviceCgroup> rules = libcontainer::default_device_rules();
  section.resources = TRY(build_resources(host));
  section.resources->devices = std::move(rules);
  spec.mounts = libcontainer::default_mounts(host.ShmSize > 0 ? host.ShmSize : 64 << 20);
  set_namespaces(record, inputs, spec);

  SecurityOptions security = TRY(security_options(host));
  process.no_new_privileges = security.no_new_privileges;
  process.apparmor_profile = TRY(build_apparmor_profile(host));
  TRY(set_seccomp(record, security, capabilities, spec));
  if (host.MaskedPaths) section.masked_paths = *host.MaskedPaths;
  if (host.ReadonlyPaths) section.readonly_paths = *host.ReadonlyPaths;
  if (security.system_paths_unconfined) {
    section.masked_paths.clear();
    section.readonly_paths.clear();
  }
  if (host.Privileged) {
    bool keep_filter = section.seccomp.has_value();
    std::optional<libcontainer::Seccomp> filter = std::move(section.seccomp);
    make_privileged(spec);
    if (keep_filter) section.seccomp = std::move(filter);
    section.devices = TRY(host_devices());
  }
  for (const api::DeviceMapping& mapping : host.Devices)
    if (!host.Privileged || mapping.PathInContainer != mapping.PathOnHost)
      TRY(add_device(mapping, section));
  for (const std::string& rule : host.DeviceCgroupRules)
    TRY(add_device_rule(rule, *section.resources));
  set_sysctls(record, inputs, spec);
  add_mounts(record, inputs, spec);
  return spec;
}

Result<libcontainer::Process> build_exec_process(const ContainerRecord& record,
                                                 const api::Strings& command,
                                                 const api::Strings& added_environment,
                                                 bool terminal, bool privileged,
                                                 const std::string& working_directory) {
  libcontainer::Process process;
  process.terminal = terminal;
  process.args = command;
  process.env = environment(record);
  std::erase(process.env, "TERM=xterm");
  if (terminal) process.env.push_back("TERM=xterm");
  merge_environment(process.env, record.config.Env);
  merge_environment(process.env, added_environment);
  process.cwd = !working_directory.empty()         ? working_directory
                : record.config.WorkingDir.empty() ? "/"
                                                   : record.config.WorkingDir;
  api::HostConfig host = record.host_config;
  host.Privileged = host.Privileged || privileged;
  std::vector<std::string> capabilities = TRY(build_capabilities(host));
  process.capabilities.emplace();
  process.capabilities->bounding = capabilities;
  process.capabilities->effective = capabilities;
  process.capabilities->permitted = capabilities;
  TRY(set_rlimits(record.host_config, process));
  SecurityOptions security = TRY(security_options(record.host_config));
  process.no_new_privileges = security.no_new_privileges;
  process.apparmor_profile = TRY(build_apparmor_profile(host));
  return process;
}

}  // namespace gantry::daemon

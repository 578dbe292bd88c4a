#include "daemon/system.h"

#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/fs.h"
#include "daemon/containers.h"
#include "daemon/daemon.h"
#include "daemon/events.h"
#include "daemon/images.h"
#include "daemon/volumes.h"
#include "drivers/graph/graph_driver.h"
#include "engine/engine.h"
#include "graph/graph.h"
#include "libcontainer/apparmor.h"

namespace gantry::daemon {
namespace {

utsname kernel() {
  utsname name;
  ::uname(&name);
  return name;
}

std::string architecture(const std::string& machine) {
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  return machine;
}

std::string os_release(const std::string& key) {
  Result<std::string> text = fs::read_file("/etc/os-release", 64 << 10);
  if (!text) return "";
  size_t at = text->starts_with(key + "=") ? 0 : text->find("\n" + key + "=");
  if (at == std::string::npos) return "";
  at = text->find('=', at) + 1;
  std::string value = text->substr(at, text->find('\n', at) - at);
  if (value.size() >= 2 && (value.front() == '"' || value.front() == '\''))
    value = value.substr(1, value.size() - 2);
  return value;
}

bool has(const std::string& path) { return fs::exists(path); }
bool unified() { return has("/sys/fs/cgroup/cgroup.controllers"); }
bool v1_file(const char* controller, const char* file) {
  return has(std::string("/sys/fs/cgroup/") + controller + "/" + file);
}

int64_t open_descriptors() {
  Result<std::vector<std::string>> names = fs::list_directory("/proc/self/fd");
  return names ? static_cast<int64_t>(names->size()) : 0;
}

int64_t threads() {
  Result<std::vector<std::string>> names = fs::list_directory("/proc/self/task");
  return names ? static_cast<int64_t>(names->size()) : 0;
}

bool forwarding() {
  Result<std::string> text = fs::read_file("/proc/sys/net/ipv4/ip_forward");
  return text && !text->empty() && (*text)[0] == '1';
}

std::string backing_filesystem(const std::string& path) {
  struct statfs st;
  if (::statfs(path.c_str(), &st) == -1) return "<unknown>";
  switch (static_cast<unsigned long>(st.f_type)) {
    case 0xEF53:
      return "extfs";
    case 0x58465342:
      return "xfs";
    case 0x9123683E:
      return "btrfs";
    case 0x01021994:
      return "tmpfs";
    case 0x794c7630:
      return "overlayfs";
    case 0x2fc12fc1:
      return "zfs";
    default:
      return fmt::format("{:#x}", st.f_type);
  }
}

}  // namespace

Result<json::object> version(Daemon& daemon) {
  (void)daemon;
  utsname name = kernel();
  json::object details;
  details["ApiVersion"] = kApiVersion;
  details["Arch"] = architecture(name.machine);
  details["Experimental"] = "false";
  details["KernelVersion"] = name.release;
  details["MinAPIVersion"] = kMinApiVersion;
  details["Os"] = "linux";
  json::object engine;
  engine["Name"] = "Engine";
  engine["Version"] = GANTRY_VERSION;
  engine["Details"] = std::move(details);
  json::object out;
  out["Platform"] = json::object{{"Name", "Gantry"}};
  out["Components"] = json::array{std::move(engine)};
  out["Version"] = GANTRY_VERSION;
  out["ApiVersion"] = kApiVersion;
  out["MinAPIVersion"] = kMinApiVersion;
  out["GitCommit"] = "";
  out["GoVersion"] = "";
  out["Os"] = "linux";
  out["Arch"] = architecture(name.machine);
  out["KernelVersion"] = name.release;
  out["BuildTime"] = "";
  return out;
}

LimitSupport limit_support() {
  bool v1 = !unified();
  return {v1 && v1_file("memory", "memory.swappiness"),
          v1 && v1_file("memory", "memory.oom_control")};
}

Result<json::object> info(Daemon& daemon) {
  utsname name = kernel();
  struct sysinfo memory = {};
  ::sysinfo(&memory);
  Containers::Counts counts = daemon.containers().counts();
  int64_t images = TRY(daemon.images().store().count());
  bool v2 = unified();
  bool swap = v2 || v1_file("memory", "memory.memsw.limit_in_bytes");
  json::array warnings;
  if (!swap) warnings.push_back("WARNING: No swap limit support");
  if (!v2 && !has("/sys/fs/cgroup/pids")) warnings.push_back("WARNING: No pids limit support");
  if (!forwarding()) warnings.push_back("WARNING: IPv4 forwarding is disabled");
  json::object out;
  out["ID"] = daemon.instance();
  out["Containers"] = counts.running + counts.paused + counts.stopped;
  out["ContainersRunning"] = counts.running;
  out["ContainersPaused"] = counts.paused;
  out["ContainersStopped"] = counts.stopped;
  out["Images"] = images;
  out["Driver"] = daemon.graph_driver().name();
  out["DriverStatus"] = json::array{
      json::array{"Backing Filesystem", backing_filesystem(daemon.options().data_root)}};
  out["Plugins"] = json::object{{"Volume", json::array{"local"}},
                                {"Network", json::array{"bridge", "host", "none"}},
                                {"Authorization", nullptr},
                                {"Log", json::array{"json-file", "local", "none"}}};
  out["MemoryLimit"] = v2 || has("/sys/fs/cgroup/memory");
  out["SwapLimit"] = swap;
  out["CpuCfsPeriod"] = v2 || v1_file("cpu", "cpu.cfs_period_us");
  out["CpuCfsQuota"] = v2 || v1_file("cpu", "cpu.cfs_quota_us");
  out["CPUShares"] = v2 || v1_file("cpu", "cpu.shares");
  out["CPUSet"] = v2 || has("/sys/fs/cgroup/cpuset");
  out["PidsLimit"] = v2 || has("/sys/fs/cgroup/pids");
  out["OomKillDisable"] = limit_support().oom_kill_disable;
  out["IPv4Forwarding"] = forwarding();
  out["Debug"] = daemon.options().debug;
  out["NFd"] = open_descriptors();
  out["NGoroutines"] = threads();
  out["SystemTime"] = format_time(now_ns());
  out["LoggingDriver"] = daemon.options().log_driver;
  out["CgroupDriver"] = "cgroupfs";
  out["CgroupVersion"] = v2 ? "2" : "1";
  out["NEventsListener"] = daemon.events().listeners();
  out["KernelVersion"] = name.release;
  out["OperatingSystem"] = os_release("PRETTY_NAME");
  out["OSVersion"] = os_release("VERSION_ID");
  out["OSType"] = "linux";
  out["Architecture"] = name.machine;
  out["IndexServerAddress"] = "https://index.docker.io/v1/";
  out["RegistryConfig"] = json::object{{"InsecureRegistryCIDRs", json::array{}},
                                       {"IndexConfigs", json::object{}},
                                       {"Mirrors", json::array{}}};
  out["NCPU"] = ::sysconf(_SC_NPROCESSORS_ONLN);
  out["MemTotal"] = static_cast<int64_t>(memory.totalram) * memory.mem_unit;
  out["GenericResources"] = nullptr;
  out["DockerRootDir"] = daemon.options().data_root;
  out["HttpProxy"] = "";
  out["HttpsProxy"] = "";
  out["NoProxy"] = "";
  out["Name"] = name.nodename;
  out["Labels"] = json::encode(daemon.options().labels);
  out["ExperimentalBuild"] = false;
  out["ServerVersion"] = GANTRY_VERSION;
  out["Runtimes"] =
      json::object{{"native", json::object{{"path", daemon.options().runtime_program}}}};
  out["DefaultRuntime"] = "native";
  out["Swarm"] = json::object{{"NodeID", ""},
                              {"NodeAddr", ""},
                              {"LocalNodeState", "inactive"},
                              {"ControlAvailable", false},
                              {"Error", ""},
                              {"RemoteManagers", nullptr}};
  out["LiveRestoreEnabled"] = true;
  out["Isolation"] = "";
  out["InitBinary"] = "gantry-runtime";
  for (const char* part : {"ContainerdCommit", "RuncCommit", "InitCommit"})
    out[part] = json::object{{"ID", ""}};
  json::array security = {"name=seccomp,profile=builtin", "name=cgroupns"};
  if (libcontainer::apparmor_enabled()) security.insert(security.begin(), "name=apparmor");
  out["SecurityOptions"] = std::move(security);
  out["Warnings"] = warnings.empty() ? json::value(nullptr) : json::value(std::move(warnings));
  return out;
}

Result<json::object> disk_usage(Daemon& daemon, const std::vector<std::string>& types) {
  auto wanted = [&](std::string_view type) {
    return types.empty() || std::find(types.begin(), types.end(), type) != types.end();
  };
  json::object out;
  out["LayersSize"] = 0;
  out["Images"] = nullptr;
  out["Containers"] = nullptr;
  out["Volumes"] = nullptr;
  out["BuildCache"] = nullptr;
  if (wanted("image")) {
    std::vector<graph::Usage> usage = TRY(daemon.graph().read().usage());
    for (const graph::Usage& entry : usage)
      if (entry.kind == graph::NodeKind::layer) out["LayersSize"] = entry.size;
    image::ListOptions options;
    options.shared_size = true;
    std::vector<image::ImageSummary> images = TRY(daemon.images().store().list(options));
    out["Images"] = json::encode(images);
  }
  if (wanted("container")) {
    std::string text;
    TRY(daemon.containers().list({.all = true, .size = true},
                                 [&](std::string_view piece) -> Status {
                                   text += piece;
                                   return {};
                                 }));
    json::value containers = TRY(json::parse(text));
    out["Containers"] = std::move(containers);
  }
  if (wanted("volume")) {
    json::array volumes = TRY(daemon.volumes().usage());
    out["Volumes"] = std::move(volumes);
  }
  if (wanted("build-cache")) out["BuildCache"] = json::array{};
  return out;
}

}  // namespace gantry::daemon

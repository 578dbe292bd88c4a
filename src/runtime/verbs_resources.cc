#include <poll.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "libcontainer/cgroup.h"
#include "libcontainer/default_profile.h"
#include "libcontainer/mount_options.h"
#include "libcontainer/stats.h"
#include "runtime/verbs.h"

namespace gantry::runtime {
namespace {

using libcontainer::Container;
using libcontainer::Resources;

template <typename T>
Status take_number(const Arguments& arguments, std::string_view flag, std::optional<T>& out) {
  std::string text = arguments.get(flag);
  if (text.empty()) return {};
  out = static_cast<T>(TRY(parse_number(text, flag)));
  return {};
}

Result<Resources> requested(const Arguments& arguments) {
  std::string file = arguments.get("resources");
  if (!file.empty()) {
    Result<std::string> read = file == "-" ? sys::read_all(STDIN_FILENO) : fs::read_file(file);
    std::string text = TRY(std::move(read).context("--resources"));
    return json::parse<Resources>(text).context("--resources");
  }
  Resources out;
  libcontainer::MemoryResources memory;
  TRY(take_number(arguments, "memory", memory.limit));
  TRY(take_number(arguments, "memory-reservation", memory.reservation));
  TRY(take_number(arguments, "memory-swap", memory.swap));
  out.memory = memory;
  libcontainer::CpuResources cpu;
  TRY(take_number(arguments, "cpu-share", cpu.shares));
  TRY(take_number(arguments, "cpu-period", cpu.period));
  TRY(take_number(arguments, "cpu-quota", cpu.quota));
  cpu.cpus = arguments.get("cpuset-cpus");
  cpu.mems = arguments.get("cpuset-mems");
  out.cpu = cpu;
  out.pids.emplace();
  TRY(take_number(arguments, "pids-limit", out.pids->limit));
  out.block_io.emplace();
  TRY(take_number(arguments, "blkio-weight", out.block_io->weight));
  return out;
}

json::array strings(const std::vector<std::string>& list) {
  json::array out;
  for (const std::string& item : list) out.emplace_back(item);
  return out;
}

}  // namespace

Result<int> verb_pause(const Globals& globals, const Arguments& arguments) {
  Container container = TRY(load_container(globals, arguments));
  TRY(container.pause());
  return 0;
}

Result<int> verb_resume(const Globals& globals, const Arguments& arguments) {
  Container container = TRY(load_container(globals, arguments));
  TRY(container.resume());
  return 0;
}

Result<int> verb_update(const Globals& globals, const Arguments& arguments) {
  Container container = TRY(load_container(globals, arguments));
  Resources resources = TRY(requested(arguments));
  TRY(container.update(resources));
  return 0;
}

Result<int> verb_events(const Globals& globals, const Arguments& arguments) {
  Container container = TRY(load_container(globals, arguments));
  int64_t interval = TRY(parse_number(arguments.get("interval", "5"), "--interval"));
  if (interval <= 0 || interval > 86400) return invalid("--interval: {} is out of range", interval);
  for (;;) {
    libcontainer::Stats stats = TRY(container.stats());
    json::object event;
    event["type"] = "stats";
    event["id"] = container.id();
    event["data"] = json::encode(stats);
    TRY(print(json::serialize(event) + "\n"));
    if (arguments.has("stats")) return 0;
    // The end of the container ends the wait.
    if (TRY(sys::poll_one(container.pidfd(), POLLIN, static_cast<int>(interval * 1000)))) return 0;
  }
}

Result<int> verb_spec(const Globals&, const Arguments& arguments) {
  libcontainer::Spec spec = libcontainer::default_spec();
  spec.process->terminal = true;
  spec.process->args = {"sh"};
  spec.process->env.push_back("TERM=xterm");
  spec.root.emplace().path = "rootfs";
  spec.root->readonly = true;
  spec.hostname = "gantry";
  std::string path = arguments.get("bundle", ".") + "/config.json";
  if (fs::exists(path)) return conflict("{} exists, remove it first", path);
  TRY(fs::write_file(path, json::pretty(json::encode(spec)) + "\n", 0644));
  return 0;
}

Result<int> verb_features(const Globals&, const Arguments&) {
  std::vector<libcontainer::Hierarchy> hierarchies = TRY(libcontainer::find_hierarchies());
  bool v1 = false, v2 = false;
  for (const auto& hierarchy : hierarchies) (hierarchy.v2 ? v2 : v1) = true;
  json::object cgroup{{"v1", v1}, {"v2", v2}, {"systemd", false}, {"systemdUser", false}};
  json::object seccomp{
      {"enabled", true},
      {"actions",
       {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"}},
      {"operators",
       {"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
        "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"}}};
  json::object section{{"namespaces", {"cgroup", "ipc", "mount", "network", "pid", "user", "uts"}},
                       {"capabilities", strings(libcontainer::all_capabilities())},
                       {"cgroup", cgroup},
                       {"seccomp", seccomp},
                       {"apparmor", {{"enabled", true}}},
                       {"selinux", {{"enabled", true}}},
                       {"intelRdt", {{"enabled", false}}},
                       {"mountExtensions", {{"idmap", {{"enabled", false}}}}},
                       {"netDevices", {{"enabled", false}}}};
  json::object out{
      {"ociVersionMin", "1.0.0"},
      {"ociVersionMax", std::string(libcontainer::kOciVersion)},
      {"hooks",
       {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}},
      {"mountOptions", strings(libcontainer::known_mount_options())},
      {"linux", section}};
  TRY(print(json::pretty(out) + "\n"));
  return 0;
}

}  // namespace gantry::runtime

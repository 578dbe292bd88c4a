#include "libcontainer/validate.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "libcontainer/scheduling.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

namespace gantry::libcontainer {
namespace {

constexpr NamespaceKind kNamespaces[] = {
    {"user", "user", CLONE_NEWUSER},       {"network", "net", CLONE_NEWNET},
    {"ipc", "ipc", CLONE_NEWIPC},          {"uts", "uts", CLONE_NEWUTS},
    {"cgroup", "cgroup", CLONE_NEWCGROUP}, {"time", "time", CLONE_NEWTIME},
    {"pid", "pid", CLONE_NEWPID},          {"mount", "mnt", CLONE_NEWNS}};

struct LimitName {
  std::string_view name;
  int number;
};
constexpr LimitName kLimits[] = {
    {"RLIMIT_CPU", RLIMIT_CPU},           {"RLIMIT_FSIZE", RLIMIT_FSIZE},
    {"RLIMIT_DATA", RLIMIT_DATA},         {"RLIMIT_STACK", RLIMIT_STACK},
    {"RLIMIT_CORE", RLIMIT_CORE},         {"RLIMIT_RSS", RLIMIT_RSS},
    {"RLIMIT_NPROC", RLIMIT_NPROC},       {"RLIMIT_NOFILE", RLIMIT_NOFILE},
    {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},   {"RLIMIT_AS", RLIMIT_AS},
    {"RLIMIT_LOCKS", RLIMIT_LOCKS},       {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, {"RLIMIT_NICE", RLIMIT_NICE},
    {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},     {"RLIMIT_RTTIME", RLIMIT_RTTIME}};

constexpr uint32_t kNoId = UINT32_MAX;

constexpr std::string_view kIpcSysctls[] = {
    "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem",
    "kernel/shmall", "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced"};

// Every component of it is a name: none is empty, "." or "..".
bool plain_path(std::string_view path) {
  for (;;) {
    std::string_view part = path.substr(0, path.find('/'));
    if (part.empty() || part == "." || part == "..") return false;
    if (part.size() == path.size()) return true;
    path.remove_prefix(part.size() + 1);
  }
}

// MAJOR.MINOR.PATCH, then perhaps -PRERELEASE and +BUILD (semver.org, 2.0.0), with 1 as MAJOR.
bool is_supported_version(std::string_view text) {
  std::string_view core = text.substr(0, text.find_first_of("-+"));
  std::string_view rest = text.substr(core.size());
  int numbers = 0;
  for (bool more = true; more; ++numbers) {
    size_t dot = core.find('.');
    std::string_view number = core.substr(0, dot);
    if (number.empty() || number.find_first_not_of("0123456789") != number.npos) return false;
    if (number.size() > 1 && number.front() == '0') return false;
    if (numbers == 0 && number != "1") return false;
    more = dot != core.npos;
    if (more) core.remove_prefix(dot + 1);
  }
  bool tail = rest.empty() || (rest.size() > 1 &&
                               rest.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"
                                                      "RSTUVWXYZ0123456789.-+") == rest.npos);
  return numbers == 3 && tail;
}

Status check_sysctl(const Spec& spec, const std::string& key) {
  auto separate = [&](std::string_view type) -> Status {
    if (find_namespace(spec, type)) return {};
    return invalid("linux.sysctl: {} needs a {} namespace of its own", key, type);
  };
  // What is judged is what will be written to: in "net.//.kernel" there is no ".." yet.
  std::string path = sysctl_path(key);
  if (!plain_path(path)) return invalid("linux.sysctl: \"{}\" is not a name", key);
  if (path.starts_with("net/")) return separate("network");
  if (path.starts_with("fs/mqueue/")) return separate("ipc");
  if (std::find(std::begin(kIpcSysctls), std::end(kIpcSysctls), path) != std::end(kIpcSysctls))
    return separate("ipc");
  if (path == "kernel/domainname") return separate("uts");
  if (path == "kernel/hostname") return invalid("linux.sysctl: {}: use hostname instead", key);
  if (path.starts_with("user/")) return separate("user");
  return invalid("linux.sysctl: {} is not of a namespace, it would change the host", key);
}

Status check_ids(const User& user) {
  // To setresuid(2) and setresgid(2) it means "as it is", which is root.
  if (user.uid == kNoId) return invalid("process.user.uid: {} is not an id", kNoId);
  if (user.gid == kNoId) return invalid("process.user.gid: {} is not an id", kNoId);
  for (size_t i = 0; i < user.additional_gids.size(); ++i)
    if (user.additional_gids[i] == kNoId)
      return invalid("process.user.additionalGids[{}]: {} is not an id", i, kNoId);
  return {};
}

Status check_hooks(const std::vector<Hook>& hooks, std::string_view kind) {
  for (size_t i = 0; i < hooks.size(); ++i) {
    if (!hooks[i].path.starts_with('/'))
      return invalid("hooks.{}[{}].path: \"{}\" is not absolute", kind, i, hooks[i].path);
    if (hooks[i].timeout && *hooks[i].timeout <= 0)
      return invalid("hooks.{}[{}].timeout: {} is not positive", kind, i, *hooks[i].timeout);
  }
  return {};
}

Status check_time_and_personality(const Spec& spec) {
  const Linux& section = *spec.linux_section;
  const Namespace* time = find_namespace(spec, "time");
  for (const auto& [clock, offset] : section.time_offsets) {
    if (clock != "boottime" && clock != "monotonic")
      return invalid("linux.timeOffsets: unknown clock \"{}\"", clock);
    if (!time || !time->path.empty())
      return invalid("linux.timeOffsets: need a new time namespace");
  }
  if (!section.personality) return {};
  const std::string& domain = section.personality->domain;
  if (domain != "LINUX" && domain != "LINUX32")
    return invalid("linux.personality.domain: unknown domain \"{}\"", domain);
  if (!section.personality->flags.empty())
    return invalid("linux.personality.flags: unknown flag \"{}\"",
                   section.personality->flags.front());
  return {};
}

Status check_linux(const Spec& spec) {
  const Linux& section = *spec.linux_section;
  TRY(check_time_and_personality(spec));
  std::set<std::string> seen;
  for (size_t i = 0; i < section.namespaces.size(); ++i) {
    const Namespace& one = section.namespaces[i];
    if (!find_namespace(one.type))
      return invalid("linux.namespaces[{}].type: unknown namespace \"{}\"", i, one.type);
    if (!seen.insert(one.type).second)
      return invalid("linux.namespaces[{}].type: {} is there twice", i, one.type);
    if (!one.path.empty() && !one.path.starts_with('/'))
      return invalid("linux.namespaces[{}].path: \"{}\" is not absolute", i, one.path);
  }
  bool maps = !section.uid_mappings.empty() || !section.gid_mappings.empty();
  const Namespace* user = find_namespace(spec, "user");
  if (maps && !user) return invalid("linux.uidMappings: need a user namespace");
  if (user && user->path.empty() && (section.uid_mappings.empty() || section.gid_mappings.empty()))
    return invalid("linux.uidMappings: a new user namespace needs uid and gid mappings");
  if (!section.net_devices.empty() && !find_namespace(spec, "network"))
    return invalid("linux.netDevices: need a network namespace in linux.namespaces");
  for (const auto& [name, device] : section.net_devices)
    for (const std::string& one : {name, device.name.empty() ? name : device.name})
      if (one.empty() || one.size() > 15 || one == "." || one == ".." ||
          one.find_first_of("/: \t\n") != std::string::npos)
        return invalid("linux.netDevices: \"{}\" is not the name of a device", one);
  for (const auto& [name, device] : section.net_devices)
    if (size_t percent = device.name.find('%');
        percent != std::string::npos && device.name.substr(percent) != "%d")
      return invalid("linux.netDevices.{}.name: \"{}\" is no pattern such as eth%d", name,
                     device.name);
  for (const auto& [key, value] : section.sysctl) TRY(check_sysctl(spec, key));
  for (size_t i = 0; i < section.devices.size(); ++i) {
    const Device& device = section.devices[i];
    if (!device.path.starts_with('/'))
      return invalid("linux.devices[{}].path: \"{}\" is not absolute", i, device.path);
    if (device.type.size() != 1 || std::string_view("cbup").find(device.type) == std::string::npos)
      return invalid("linux.devices[{}].type: unknown type \"{}\"", i, device.type);
    if (device.type != "p" && (!device.major || !device.minor))
      return invalid("linux.devices[{}]: {} needs major and minor", i, device.path);
    if (device.file_mode.value_or(0) & ~uint32_t{S_IFMT | 0777})  // Podman's has the type in it
      return invalid("linux.devices[{}].fileMode: {:o} is over 0777", i, *device.file_mode);
  }
  for (const auto* paths : {&section.masked_paths, &section.readonly_paths})
    for (const std::string& path : *paths)
      if (!path.starts_with('/'))
        return invalid("linux.{}: \"{}\" is not absolute",
                       paths == &section.masked_paths ? "maskedPaths" : "readonlyPaths", path);
  return {};
}

// In the host's mount namespace nothing is mounted: it would be the host's, and stay.
Status check_host_mounts(const Spec& spec, RootNeeded root) {
  if (find_namespace(spec, "mount")) return {};
  const Linux& section = *spec.linux_section;
  const std::pair<bool, const char*> kNeedOne[] = {
      {root == RootNeeded::no, "linux.namespaces: this root file system"},
      {!spec.mounts.empty(), "mounts:"},
      {spec.root && spec.root->readonly, "root.readonly:"},
      {!section.masked_paths.empty(), "linux.maskedPaths:"},
      {!section.readonly_paths.empty(), "linux.readonlyPaths:"},
      {!section.rootfs_propagation.empty(), "linux.rootfsPropagation:"},
      {spec.process->terminal, "process.terminal:"},
      {find_namespace(spec, "user") != nullptr, "linux.namespaces: user"}};
  for (auto [used, field] : kNeedOne)
    if (used) return invalid("{} needs a mount namespace in linux.namespaces", field);
  return {};
}

}  // namespace

const NamespaceKind* find_namespace(std::string_view name) {
  for (const NamespaceKind& kind : kNamespaces)
    if (kind.name == name) return &kind;
  return nullptr;
}

const Namespace* find_namespace(const Spec& spec, std::string_view name) {
  if (!spec.linux_section) return nullptr;
  for (const Namespace& one : spec.linux_section->namespaces)
    if (one.type == name) return &one;
  return nullptr;
}

int rlimit_number(std::string_view name) {
  for (const LimitName& limit : kLimits)
    if (limit.name == name) return limit.number;
  return -1;
}

std::string sysctl_path(const std::string& key) {
  std::string path = key;
  size_t first = key.find_first_of("./");
  if (first != std::string::npos && key[first] == '.')
    for (char& c : path) c = c == '.' ? '/' : c == '/' ? '.' : c;
  return path;
}

Status check_id(const std::string& id) {
  constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.";
  if (id.empty() || id.size() > 1024 || id == "." || id == ".." ||
      id.find_first_not_of(kLetters) != std::string::npos)
    return invalid("invalid container ID \"{}\"", id);
  return {};
}

Status check_process(const Process& process) {
  TRY(check_ids(process.user));
  if (process.args.empty()) return invalid("process.args: is empty");
  if (!process.cwd.starts_with('/'))
    return invalid("process.cwd: \"{}\" is not absolute", process.cwd);
  for (const std::string& variable : process.env)
    if (variable.find('=') == std::string::npos || variable.starts_with('='))
      return invalid("process.env: \"{}\" is not NAME=VALUE", variable);
  std::set<std::string> seen;
  for (size_t i = 0; i < process.rlimits.size(); ++i) {
    const Rlimit& limit = process.rlimits[i];
    if (rlimit_number(limit.type) < 0)
      return invalid("process.rlimits[{}].type: unknown limit \"{}\"", i, limit.type);
    if (!seen.insert(limit.type).second)
      return invalid("process.rlimits[{}].type: {} is there twice", i, limit.type);
    if (limit.soft > limit.hard)
      return invalid("process.rlimits[{}]: soft {} is over hard {}", i, limit.soft, limit.hard);
  }
  if (const auto& affinity = process.exec_cpu_affinity) {
    if (!affinity->initial.empty())
      (void)TRY(parse_number_list(affinity->initial).context("process.execCPUAffinity.initial"));
    if (!affinity->final.empty())
      (void)TRY(parse_number_list(affinity->final).context("process.execCPUAffinity.final"));
  }
  if (const auto& io = process.io_priority; io && (io->priority < 0 || io->priority > 7))
    return invalid("process.ioPriority.priority: {} is not between 0 and 7", io->priority);
  if (process.oom_score_adj && (*process.oom_score_adj < -1000 || *process.oom_score_adj > 1000))
    return invalid("process.oomScoreAdj: {} is not between -1000 and 1000", *process.oom_score_adj);
  return {};
}

Status check_spec(const Spec& spec, RootNeeded root) {
  if (!is_supported_version(spec.oci_version))
    return invalid("ociVersion: \"{}\" is not supported (1.x.y is)", spec.oci_version);
  if (!spec.process) return invalid("process: is required");
  TRY(check_process(*spec.process));
  if (root == RootNeeded::yes && (!spec.root || spec.root->path.empty()))
    return invalid("root.path: is required");
  if (!spec.linux_section) return invalid("linux: is required");
  TRY(check_host_mounts(spec, root));
  if (!spec.hostname.empty() && !find_namespace(spec, "uts"))
    return invalid("hostname: needs a uts namespace of its own");
  if (!spec.domainname.empty() && !find_namespace(spec, "uts"))
    return invalid("domainname: needs a uts namespace of its own");
  for (size_t i = 0; i < spec.mounts.size(); ++i)
    if (spec.mounts[i].destination.empty()) return invalid("mounts[{}].destination: is empty", i);
  if (spec.annotations.contains("")) return invalid("annotations: a key is empty");
  if (spec.hooks) {
    TRY(check_hooks(spec.hooks->prestart, "prestart"));
    TRY(check_hooks(spec.hooks->create_runtime, "createRuntime"));
    TRY(check_hooks(spec.hooks->create_container, "createContainer"));
    TRY(check_hooks(spec.hooks->start_container, "startContainer"));
    TRY(check_hooks(spec.hooks->poststart, "poststart"));
    TRY(check_hooks(spec.hooks->poststop, "poststop"));
  }
  return check_linux(spec);
}

}  // namespace gantry::libcontainer

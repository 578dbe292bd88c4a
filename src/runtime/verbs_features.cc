#include "libcontainer/cgroup.h"
#include "libcontainer/default_profile.h"
#include "libcontainer/mount_options.h"
#include "libcontainer/scheduling.h"
#include "libcontainer/seccomp.h"
#include "runtime/verbs.h"

namespace gantry::runtime {
namespace {

json::array strings(const std::vector<std::string>& list) {
  json::array out;
  for (const std::string& item : list) out.emplace_back(item);
  return out;
}

json::object enabled(bool yes) { return {{"enabled", yes}}; }

}  // namespace

// features.md and features-linux.md: what this runtime can do, not what the host has, except where
// the specification says so (cgroup, supportedFlags).
Result<int> verb_features(const Globals&, const Arguments&) {
  std::vector<libcontainer::Hierarchy> hierarchies = TRY(libcontainer::find_hierarchies());
  bool v1 = false, v2 = false;
  for (const auto& hierarchy : hierarchies) (hierarchy.v2 ? v2 : v1) = true;
  libcontainer::SeccompNames names = libcontainer::seccomp_names();
  json::object cgroup{
      {"v1", v1}, {"v2", v2}, {"systemd", true}, {"systemdUser", true}, {"rdma", true}};
  json::object seccomp{{"enabled", true},
                       {"actions", strings(names.actions)},
                       {"operators", strings(names.operators)},
                       {"archs", strings(names.architectures)},
                       {"knownFlags", strings(names.flags)},
                       {"supportedFlags", strings(names.supported_flags)}};
  libcontainer::MemoryPolicyNames policy = libcontainer::memory_policy_names();
  json::object policies{{"modes", strings(policy.modes)}, {"flags", strings(policy.flags)}};
  json::object extensions{{"idmap", enabled(true)}};
  json::object section{
      {"namespaces", {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}},
      {"capabilities", strings(libcontainer::all_capabilities())},
      {"cgroup", cgroup},
      {"seccomp", seccomp},
      {"apparmor", enabled(true)},
      {"selinux", enabled(true)},
      {"intelRdt", json::object{{"enabled", true}, {"schemata", true}, {"monitoring", true}}},
      {"memoryPolicy", policies},
      {"mountExtensions", extensions},
      {"netDevices", enabled(true)}};
  json::object versions{{"org.gantry.runtime.version", GANTRY_VERSION}};
  json::object out{
      {"ociVersionMin", "1.0.0"},
      {"ociVersionMax", std::string(libcontainer::kOciVersion)},
      {"hooks",
       {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}},
      {"mountOptions", strings(libcontainer::known_mount_options())},
      {"annotations", versions},
      {"linux", section}};
  TRY(print(json::pretty(out) + "\n"));
  return 0;
}

}  // namespace gantry::runtime

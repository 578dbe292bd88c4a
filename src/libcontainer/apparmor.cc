#include "libcontainer/apparmor.h"

#include <unistd.h>

#include "base/fs.h"
#include "base/process.h"

namespace gantry::libcontainer {
namespace {

constexpr const char* kApparmorEnabled = "/sys/module/apparmor/parameters/enabled";
constexpr const char* kApparmorProfiles = "/sys/kernel/security/apparmor/profiles";

const char* apparmor_parser() {
  for (const char* path : {"/sbin/apparmor_parser", "/usr/sbin/apparmor_parser"})
    if (::access(path, X_OK) == 0) return path;
  return nullptr;
}

bool default_profile_loaded() {
  Result<std::string> text = fs::read_file(kApparmorProfiles);
  if (!text) return false;  // securityfs is not mounted here: loading it once more does no harm
  std::string line = std::string(kDefaultApparmorProfile) + " (";
  return ("\n" + *text).find("\n" + line) != std::string::npos;
}

}  // namespace

bool apparmor_enabled() {
  Result<std::string> text = fs::read_file(kApparmorEnabled, 16);
  return text && text->starts_with('Y');
}

bool apparmor_usable() { return apparmor_parser() && apparmor_enabled(); }

std::string default_apparmor_profile() {
  std::string out =
      "profile " + std::string(kDefaultApparmorProfile) +
      " flags=(attach_disconnected,mediate_deleted) {\n"
      "  capability,\n"
      "  file,\n"
      "  network,\n"
      "  umount,\n"
      // The engine and the host's root signal, and the container's processes each other.
      "  signal (receive) peer=unconfined,\n"
      "  signal (send,receive) peer=" +
      std::string(kDefaultApparmorProfile) +
      ",\n"
      "  ptrace (trace,read,tracedby,readby) peer=" +
      std::string(kDefaultApparmorProfile) + ",\n";
  constexpr std::string_view kDeniedByDefault[] = {
      "mount",
      // All families but these two are seccomp's matter.
      "network alg", "network vsock",
      // Files right below /proc, and directories that are not a process's.
      "/proc/* w",
      "/proc/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9]*}/** w",
      // Of the sysctls those of kernel/shm* and what is namespaced below net.
      "/proc/sys/[^kn]** w", "/proc/sys/n[^e]** w", "/proc/sys/kernel/{?,??,[^s][^h][^m]**} w",
      "/proc/sysrq-trigger rwklx", "/proc/kcore rwklx",
      // Of /sys what is below fs/cgroup.
      "/sys/[^f]*/** wklx", "/sys/f[^s]*/** wklx", "/sys/fs/[^c]*/** wklx",
      "/sys/fs/c[^g]*/** wklx", "/sys/fs/cg[^r]*/** wklx", "/sys/firmware/** rwklx",
      "/sys/devices/virtual/powercap/** rwklx", "/sys/kernel/security/** rwklx"};
  for (std::string_view rule : kDeniedByDefault) out += fmt::format("  deny {},\n", rule);
  return out + "}\n";
}

Status load_default_apparmor_profile() {
  if (!apparmor_enabled()) return unsupported("this kernel has no AppArmor");
  if (default_profile_loaded()) return {};
  const char* program = apparmor_parser();
  if (!program)
    return unsupported("there is no apparmor_parser to load {} with", kDefaultApparmorProfile);
  SpawnOptions options;
  options.program = program;
  // No cache: the profile is not a file of the host's.
  options.arguments = {program, "--replace", "--skip-cache", "--quiet"};
  ProcessOutput done = TRY(run_process(std::move(options), default_apparmor_profile(), 30000));
  if (done.status == 0) return {};
  std::string why = done.err.substr(0, done.err.find('\n'));
  return internal("apparmor_parser: {}", why.empty() ? "it failed" : why);
}

}  // namespace gantry::libcontainer

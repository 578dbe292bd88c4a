#include "libcontainer/default_profile.h"

#include <sys/utsname.h>

#include <algorithm>
#include <charconv>

#include "base/log.h"
#include "libcontainer/capability_names.h"

namespace gantry::libcontainer {

// default_seccomp.json, embedded by CMake.
extern const std::string_view kDefaultSeccompJson;

namespace profile {

struct ProfileFilter {
  std::vector<std::string> caps;
  std::vector<std::string> arches;
  std::string min_kernel;
};
struct ProfileSyscall {
  std::vector<std::string> names;
  std::string name;  // profiles of old
  std::string action;
  std::optional<uint32_t> errno_ret;
  std::vector<SyscallArg> args;
  ProfileFilter includes;
  ProfileFilter excludes;
};
struct ProfileArch {
  std::string architecture;
  std::vector<std::string> sub_architectures;
};
struct Profile {
  std::string default_action;
  std::optional<uint32_t> default_errno_ret;
  std::vector<std::string> architectures;
  std::vector<ProfileArch> arch_map;
  std::vector<std::string> flags;
  std::string listener_path;
  std::string listener_metadata;
  std::vector<ProfileSyscall> syscalls;
};

}  // namespace profile
}  // namespace gantry::libcontainer

namespace gantry::json {
using libcontainer::profile::Profile;
using libcontainer::profile::ProfileArch;
using libcontainer::profile::ProfileFilter;
using libcontainer::profile::ProfileSyscall;

template <>
struct Schema<ProfileFilter> {
  static constexpr Field fields[] = {field<&ProfileFilter::caps>("caps"),
                                     field<&ProfileFilter::arches>("arches"),
                                     field<&ProfileFilter::min_kernel>("minKernel")};
};
template <>
struct Schema<ProfileSyscall> {
  static constexpr Field fields[] = {field<&ProfileSyscall::names>("names"),
                                     field<&ProfileSyscall::name>("name"),
                                     field<&ProfileSyscall::action>("action", kRequired),
                                     field<&ProfileSyscall::errno_ret>("errnoRet"),
                                     field<&ProfileSyscall::args>("args"),
                                     field<&ProfileSyscall::includes>("includes"),
                                     field<&ProfileSyscall::excludes>("excludes")};
};
template <>
struct Schema<ProfileArch> {
  static constexpr Field fields[] = {field<&ProfileArch::architecture>("architecture"),
                                     field<&ProfileArch::sub_architectures>("subArchitectures")};
};
template <>
struct Schema<Profile> {
  static constexpr Field fields[] = {field<&Profile::default_action>("defaultAction", kRequired),
                                     field<&Profile::default_errno_ret>("defaultErrnoRet"),
                                     field<&Profile::architectures>("architectures"),
                                     field<&Profile::arch_map>("archMap"),
                                     field<&Profile::flags>("flags"),
                                     field<&Profile::listener_path>("listenerPath"),
                                     field<&Profile::listener_metadata>("listenerMetadata"),
                                     field<&Profile::syscalls>("syscalls")};
};

}  // namespace gantry::json

namespace gantry::libcontainer {

using namespace profile;

namespace {

struct NativeArch {
  std::string_view go;       // as the profile's filters name it
  std::string_view seccomp;  // as the specification does
};
#if defined(__x86_64__)
constexpr NativeArch kNative = {"amd64", "SCMP_ARCH_X86_64"};
#elif defined(__aarch64__)
constexpr NativeArch kNative = {"arm64", "SCMP_ARCH_AARCH64"};
#elif defined(__riscv)
constexpr NativeArch kNative = {"riscv64", "SCMP_ARCH_RISCV64"};
#elif defined(__s390x__)
constexpr NativeArch kNative = {"s390x", "SCMP_ARCH_S390X"};
#elif defined(__powerpc64__)
constexpr NativeArch kNative = {"ppc64le", "SCMP_ARCH_PPC64LE"};
#else
#error "unknown architecture"
#endif

bool contains(const std::vector<std::string>& list, std::string_view item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

struct KernelVersion {
  int major = 0;
  int minor = 0;
  auto operator<=>(const KernelVersion&) const = default;
};

KernelVersion parse_kernel(std::string_view text) {
  KernelVersion version;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), version.major);
  if (failure == std::errc() && end != text.data() + text.size() && *end == '.')
    std::from_chars(end + 1, text.data() + text.size(), version.minor);
  return version;
}

KernelVersion running_kernel() {
  struct utsname names;
  if (::uname(&names) == -1) return {};
  return parse_kernel(names.release);
}

struct Target {
  const std::vector<std::string>& capabilities;
  KernelVersion kernel;
};

// Docker's rule: every condition of `includes` must hold, none of `excludes` may.
bool applies(const ProfileSyscall& call, const Target& target) {
  const ProfileFilter& in = call.includes;
  const ProfileFilter& out = call.excludes;
  auto has_capability = [&](const std::string& name) {
    return contains(target.capabilities, name);
  };
  if (!in.arches.empty() && !contains(in.arches, kNative.go)) return false;
  if (!std::all_of(in.caps.begin(), in.caps.end(), has_capability)) return false;
  if (!in.min_kernel.empty() && target.kernel < parse_kernel(in.min_kernel)) return false;
  if (contains(out.arches, kNative.go)) return false;
  if (std::any_of(out.caps.begin(), out.caps.end(), has_capability)) return false;
  if (!out.min_kernel.empty() && target.kernel >= parse_kernel(out.min_kernel)) return false;
  return true;
}

Result<Seccomp> resolve(const Profile& profile, const Target& target) {
  if (!profile.architectures.empty() && !profile.arch_map.empty())
    return invalid("seccomp profile: architectures and archMap exclude each other");
  Seccomp out;
  out.default_action = profile.default_action;
  out.default_errno_ret = profile.default_errno_ret;
  out.flags = profile.flags;
  out.listener_path = profile.listener_path;
  out.listener_metadata = profile.listener_metadata;
  out.architectures = profile.architectures;
  for (const ProfileArch& arch : profile.arch_map) {
    if (arch.architecture != kNative.seccomp) continue;
    out.architectures.push_back(arch.architecture);
    out.architectures.insert(out.architectures.end(), arch.sub_architectures.begin(),
                             arch.sub_architectures.end());
    break;
  }
  for (const ProfileSyscall& call : profile.syscalls) {
    if (!call.name.empty() && !call.names.empty())
      return invalid("seccomp profile: name and names of a rule exclude each other");
    if (!applies(call, target)) continue;
    Syscall rule;
    rule.names = call.name.empty() ? call.names : std::vector<std::string>{call.name};
    rule.action = call.action;
    rule.errno_ret = call.errno_ret;
    rule.args = call.args;
    out.syscalls.push_back(std::move(rule));
  }
  return out;
}

DeviceCgroup allow_device(const char* type, std::optional<int64_t> major,
                          std::optional<int64_t> minor, const char* access) {
  DeviceCgroup rule;
  rule.allow = true;
  rule.type = type;
  rule.major = major;
  rule.minor = minor;
  rule.access = access;
  return rule;
}

}  // namespace

std::vector<std::string> all_capabilities() {
  return std::vector<std::string>(std::begin(kCapabilityNames), std::end(kCapabilityNames));
}

int capability_number(std::string_view name) {
  auto found = std::find(std::begin(kCapabilityNames), std::end(kCapabilityNames), name);
  if (found == std::end(kCapabilityNames)) return -1;
  return static_cast<int>(found - std::begin(kCapabilityNames));
}

bool is_capability(const std::string& name) { return capability_number(name) >= 0; }

std::vector<std::string> default_capabilities() {
  return {"CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",
          "CAP_MKNOD",   "CAP_NET_RAW",      "CAP_SETGID",           "CAP_SETUID",
          "CAP_SETFCAP", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
          "CAP_KILL",    "CAP_AUDIT_WRITE"};
}

Result<Seccomp> resolve_seccomp_profile(std::string_view json_text,
                                        const std::vector<std::string>& capabilities,
                                        const std::string& kernel) {
  Profile profile = TRY(json::parse<Profile>(json_text).context("seccomp profile"));
  Target target{capabilities, kernel.empty() ? running_kernel() : parse_kernel(kernel)};
  return resolve(profile, target);
}

Seccomp default_seccomp(const std::vector<std::string>& capabilities, const std::string& kernel) {
  Result<Seccomp> profile = resolve_seccomp_profile(kDefaultSeccompJson, capabilities, kernel);
  if (profile) return profile.release();
  // The embedded profile is checked by a unit test; should it be unreadable all the same,
  // everything is refused rather than allowed.
  log::error("default seccomp profile: {}", profile.error().message());
  Seccomp refuse_all;
  refuse_all.default_action = "SCMP_ACT_ERRNO";
  return refuse_all;
}

std::vector<std::string> default_masked_paths() {
  return {"/proc/asound",     "/proc/acpi",        "/proc/interrupts",
          "/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
          "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
          "/proc/scsi",       "/sys/firmware",     "/sys/devices/virtual/powercap"};
}

std::vector<std::string> default_readonly_paths() {
  return {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
}

std::vector<Mount> default_mounts(int64_t shm_bytes) {
  auto mount = [](const char* destination, const char* type, const char* source,
                  std::vector<std::string> options) {
    Mount out;
    out.destination = destination;
    out.type = type;
    out.source = source;
    out.options = std::move(options);
    return out;
  };
  return {mount("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}),
          mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
          mount("/dev/pts", "devpts", "devpts",
                {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}),
          mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}),
          mount("/sys/fs/cgroup", "cgroup", "cgroup", {"ro", "nosuid", "noexec", "nodev"}),
          mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}),
          mount("/dev/shm", "tmpfs", "shm",
                {"nosuid", "noexec", "nodev", "mode=1777", fmt::format("size={}", shm_bytes)})};
}

std::vector<DeviceCgroup> default_device_rules() {
  DeviceCgroup deny_all;
  deny_all.access = "rwm";
  return {deny_all,
          allow_device("c", 1, 3, "rwm"),                      // null
          allow_device("c", 1, 5, "rwm"),                      // zero
          allow_device("c", 1, 7, "rwm"),                      // full
          allow_device("c", 1, 8, "rwm"),                      // random
          allow_device("c", 1, 9, "rwm"),                      // urandom
          allow_device("c", 5, 0, "rwm"),                      // tty
          allow_device("c", 5, 1, "rwm"),                      // console
          allow_device("c", 5, 2, "rwm"),                      // ptmx
          allow_device("c", 136, std::nullopt, "rwm"),         // pts
          allow_device("c", std::nullopt, std::nullopt, "m"),  // any node may be made, none opened
          allow_device("b", std::nullopt, std::nullopt, "m")};
}

std::vector<Namespace> default_namespaces() {
  std::vector<Namespace> out;
  for (const char* type : {"mount", "network", "uts", "pid", "ipc", "cgroup"}) {
    Namespace one;
    one.type = type;
    out.push_back(one);
  }
  return out;
}

Spec default_spec() {
  Spec spec;
  spec.oci_version = kOciVersion;
  Capabilities capabilities;
  capabilities.bounding = capabilities.effective = capabilities.permitted = default_capabilities();
  Process& process = spec.process.emplace();
  process.cwd = "/";
  process.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  process.capabilities = capabilities;
  process.oom_score_adj = 0;
  spec.mounts = default_mounts();
  Linux& linux_section = spec.linux_section.emplace();
  linux_section.namespaces = default_namespaces();
  linux_section.masked_paths = default_masked_paths();
  linux_section.readonly_paths = default_readonly_paths();
  linux_section.resources.emplace().devices = default_device_rules();
  linux_section.seccomp = default_seccomp(default_capabilities());
  return spec;
}

Spec rootless_spec(uint32_t uid, uint32_t gid) {
  Spec spec = default_spec();
  Linux& section = *spec.linux_section;
  section.resources.reset();
  section.uid_mappings = {{0, uid, 1}};
  section.gid_mappings = {{0, gid, 1}};
  std::erase_if(section.namespaces, [](const Namespace& one) { return one.type == "network"; });
  section.namespaces.push_back({"user", ""});
  for (Mount& mount : spec.mounts) {
    // The tty group is not mapped, and a sysfs belongs to who made the network namespace.
    std::erase(mount.options, "gid=5");
    if (mount.type != "sysfs") continue;
    mount.type = "none";
    mount.source = "/sys";
    mount.options = {"rbind", "nosuid", "noexec", "nodev", "rro"};
  }
  return spec;
}

}  // namespace gantry::libcontainer

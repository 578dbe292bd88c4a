#include "libcontainer/process.h"

#include <grp.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/sys.h"
#include "libcontainer/capabilities.h"
#include "libcontainer/init_protocol.h"
#include "libcontainer/scheduling.h"
#include "libcontainer/terminal.h"
#include "libcontainer/validate.h"

namespace gantry::libcontainer {
namespace {

const char* variable(const std::vector<std::string>& env, std::string_view name) {
  for (const std::string& entry : env)
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=')
      return entry.c_str() + name.size() + 1;
  return nullptr;
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

// 0 when it can be run, else the errno that says why not.
int runnable(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) == -1) return errno;
  if (S_ISDIR(st.st_mode)) return EISDIR;
  if (::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == -1) return errno;
  return (st.st_mode & 0111) ? 0 : EACCES;
}

// What Go's exec package says, which Docker's users know.
std::string_view go_text(int code) {
  switch (code) {
    case ENOENT:
      return "no such file or directory";
    case EACCES:
      return "permission denied";
    case EISDIR:
      return "is a directory";
    case ENOTDIR:
      return "not a directory";
    case ENOEXEC:
      return "exec format error";
    case ELOOP:
      return "too many levels of symbolic links";
    default:
      return strerrordesc_np(code) ? strerrordesc_np(code) : "unknown error";
  }
}

Error exec_error(const std::string& program, std::string_view text, int code) {
  ErrorKind kind = code == ENOENT || code == ENOTDIR ? ErrorKind::not_found : ErrorKind::permission;
  return Error(kind, fmt::format("exec: \"{}\": {}", program, text), code);
}

}  // namespace

Error exec_error(const std::string& program, int code) {
  return exec_error(program, go_text(code), code);
}

Status ProcessSetup::prepare(int gate) {
  Process& process = plan_.process;
  if (plan_.new_keyring && ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) == -1 &&
      errno != ENOSYS)
    return error_from_errno(errno, "keyctl: join a new session keyring");
  TRY(apply_scheduling());
  TRY(apply_limits());
  TRY(apply_labels());
  TRY(resolve());
  own_stdio(process.user.uid);
  close_others(gate);
  return {};
}

// Closed on exec is too late: the program is looked up before, and /proc/self/fd/N/… would lead to
// the host through whatever directory is open still (CVE-2024-21626). Nor may it hang on the
// filter, which is not loaded yet.
void ProcessSetup::close_others(int gate) {
  int kept[] = {sync_.fd(), gate, plan_.init_program, log::output()};
  std::sort(std::begin(kept), std::end(kept));
  int from = 3 + plan_.preserve_fds;
  for (int fd : kept) {
    if (fd < from) continue;
    if (fd > from) ::syscall(SYS_close_range, from, fd - 1, 0);
    from = fd + 1;
  }
  ::syscall(SYS_close_range, from, ~0u, 0);
}

Status ProcessSetup::resolve() {
  Process& process = plan_.process;
  bool needs_home = !variable(process.env, "HOME");
  if (plan_.user) {
    Beneath root = TRY(Beneath::open("/"));
    ResolvedUser found = TRY(resolve_user(root, *plan_.user));
    std::optional<uint32_t> umask = process.user.umask;
    process.user = std::move(found.user);
    process.user.umask = umask;
    if (needs_home) process.env.push_back("HOME=" + found.home);
  } else if (needs_home) {
    Beneath root = TRY(Beneath::open("/"));
    UserSpec number;
    number.user = std::to_string(process.user.uid);
    Result<ResolvedUser> found = resolve_user(root, number);
    process.env.push_back("HOME=" + (found ? found->home : std::string("/")));
  }
  return {};
}

Status ProcessSetup::apply_limits() {
  for (const Rlimit& limit : plan_.process.rlimits) {
    rlimit64 values = {limit.soft, limit.hard};
    if (::prlimit64(0, static_cast<__rlimit_resource>(rlimit_number(limit.type)), &values,
                    nullptr) == -1)
      return errno_error(errno, "process.rlimits: {} soft {} hard {}", limit.type, limit.soft,
                         limit.hard);
  }
  return {};
}

Status ProcessSetup::apply_scheduling() {
  const Process& process = plan_.process;
  if (process.scheduler) TRY(set_scheduler(*process.scheduler));
  if (process.io_priority) TRY(set_io_priority(*process.io_priority));
  if (plan_.memory_policy) TRY(set_memory_policy(*plan_.memory_policy));
  if (plan_.cpus) TRY(set_cpu_affinity(*plan_.cpus, "process.execCPUAffinity.final"));
  return {};
}

Status ProcessSetup::apply_labels() {
  if (!plan_.process.apparmor_profile.empty()) {
    std::string text = "exec " + plan_.process.apparmor_profile;
    Status done = proc_.write("self/attr/apparmor/exec", text);
    if (!done && done.error().code() == ENOENT) done = proc_.write("self/attr/exec", text);
    if (!done && done.error().code() == ENOENT)
      return invalid(
          "process.apparmorProfile: {}: no such profile is loaded, or no AppArmor is there",
          plan_.process.apparmor_profile);
    TRY(std::move(done).context("process.apparmorProfile: {}", plan_.process.apparmor_profile));
  }
  if (!plan_.process.selinux_label.empty())
    TRY(proc_.write("self/attr/exec", plan_.process.selinux_label)
            .context("process.selinuxLabel: {}", plan_.process.selinux_label));
  return {};
}

bool ProcessSetup::early() const { return !plan_.filter || permits_setup(*plan_.filter); }

Status ProcessSetup::change_directory() {
  const std::string& cwd = plan_.process.cwd;
  // A magic link (/proc/self/fd/N) may lead out of the container: CVE-2024-21626.
  Result<UniqueFd> directory =
      sys::openat2(AT_FDCWD, cwd, O_PATH | O_DIRECTORY, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  if (!directory && directory.error().code() == ENOSYS)
    directory = sys::open(cwd, O_PATH | O_DIRECTORY);
  if (!directory) return std::move(directory).error().context("process.cwd");
  if (::fchdir(directory->get()) == -1) return errno_error(errno, "process.cwd: chdir {}", cwd);
  char path[PATH_MAX];
  if (::syscall(SYS_getcwd, path, sizeof path) == -1 || path[0] != '/')
    return make_error(ErrorKind::permission, "process.cwd: {} is outside of the container", cwd);
  return {};
}

Status ProcessSetup::load_filter() {
  if (!plan_.filter) return {};
  UniqueFd listener = TRY(load_seccomp(*plan_.filter));
  if (listener) TRY(sync_.send(SyncMessage::notify, {}, listener.get()));
  return {};
}

Status ProcessSetup::enter() {
  const Process& process = plan_.process;
  const User& user = process.user;
  CapabilitySets sets;
  if (process.capabilities)
    sets = capability_sets(*process.capabilities);
  else
    sets.bounding = sets.effective = sets.permitted = known_capabilities();
  std::vector<gid_t> groups(user.additional_gids.begin(), user.additional_gids.end());

  if (process.no_new_privileges)
    TRY(sys::prctl(PR_SET_NO_NEW_PRIVS, 1).context("process.noNewPrivileges"));
  else
    TRY(load_filter());  // needs CAP_SYS_ADMIN, which goes below
  TRY(drop_bounding_set(sets));
  if (::syscall(SYS_setgroups, groups.size(), groups.data()) == -1 &&
      !(plan_.user_namespace && groups.empty() && errno == EPERM))
    return error_from_errno(errno, "process.user.additionalGids");
  if (::syscall(SYS_setresgid, user.gid, user.gid, user.gid) == -1)
    return errno_error(errno, "process.user.gid: {}", user.gid);
  // The directory may be readable for root only, or for the user only.
  Status directory = change_directory();
  if (::syscall(SYS_setresuid, user.uid, user.uid, user.uid) == -1)
    return errno_error(errno, "process.user.uid: {}", user.uid);
  if (!directory) directory = change_directory();
  TRY(std::move(directory));
  TRY(apply_capabilities(sets));
  ::umask(user.umask.value_or(022));
  // A change of credentials has cleared it.
  if (plan_.die_with_parent) TRY(sys::prctl(PR_SET_PDEATHSIG, SIGKILL));
  program_ = TRY(find_program(process.args.front(), process.env));
  if (process.no_new_privileges) TRY(load_filter());
  return {};
}

Result<std::string> find_program(const std::string& name,
                                 const std::vector<std::string>& environment) {
  if (name.empty()) return exec_error(name, "executable file not found in $PATH", ENOENT);
  if (name.find('/') != std::string::npos) {
    int code = runnable(name);
    if (code == 0) return name;
    if (code == ENOENT || code == ENOTDIR || code == ELOOP)
      return exec_error(name, fmt::format("stat {}: {}", name, go_text(code)), code);
    return exec_error(name, go_text(code), code);
  }
  const char* path = variable(environment, "PATH");
  std::string_view rest =
      path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  int reason = ENOENT;
  for (;;) {
    size_t colon = rest.find(':');
    std::string directory(rest.substr(0, colon));
    std::string candidate = (directory.empty() ? "." : directory) + "/" + name;
    int code = runnable(candidate);
    if (code == 0) return candidate;
    if (code == EACCES) reason = EACCES;
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  if (reason == EACCES) return exec_error(name, go_text(EACCES), EACCES);
  return exec_error(name, "executable file not found in $PATH", ENOENT);
}

Error ProcessSetup::exec() {
  std::vector<char*> arguments = pointers(plan_.process.args);
  std::vector<char*> environment = pointers(plan_.process.env);
  ::syscall(SYS_close_range, 3 + plan_.preserve_fds, ~0u, CLOSE_RANGE_CLOEXEC);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (plan_.init_program >= 0) return exec_init(plan_.init_program, environment);
  ::execve(program_.c_str(), arguments.data(), environment.data());
  return exec_error(program_, errno);
}

// The program goes on as init's argument, the socket as init's to close.
Error ProcessSetup::exec_init(int program, std::vector<char*>& environment) {
  std::vector<std::string> words = {kInitName, "--"};
  words.insert(words.end(), plan_.process.args.begin(), plan_.process.args.end());
  std::vector<char*> arguments = pointers(words);
  UniqueFd image(::fcntl(program, F_DUPFD_CLOEXEC, kInitSync + 1));
  if (!image) return error_from_errno(errno, "init");
  int moved =
      sync_.fd() == kInitSync ? ::fcntl(kInitSync, F_SETFD, 0) : ::dup2(sync_.fd(), kInitSync);
  if (moved == -1) return error_from_errno(errno, "init");
  ::syscall(SYS_execveat, image.get(), "", arguments.data(), environment.data(), AT_EMPTY_PATH);
  return error_from_errno(errno, "init: exec");
}

}  // namespace gantry::libcontainer

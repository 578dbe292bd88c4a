#include "libcontainer/namespaces.h"

#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/process.h"
#include "base/sys.h"
#include "libcontainer/sync.h"
#include "libcontainer/validate.h"

namespace gantry::libcontainer {
namespace {

Result<Clone> clone_raw(uint64_t flags, int cgroup) {
  int pidfd = -1;
  clone_args arguments = {};
  arguments.flags = flags | CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  // A sibling's end is told as its maker's is (clone(2), CLONE_PARENT).
  arguments.exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD;
  if (cgroup >= 0) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<uint64_t>(cgroup);
  }
  long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == -1) return error_from_errno(errno, "clone");
  return Clone{static_cast<pid_t>(pid), UniqueFd(pid == 0 ? -1 : pidfd)};
}

Status write_map(pid_t pid, const char* file, std::string_view text) {
  UniqueFd fd = TRY(sys::open(fmt::format("/proc/{}/{}", pid, file), O_WRONLY));
  return sys::write_all(fd.get(), text);
}

// newuidmap PID [CONTAINER HOST SIZE]…: set-user-id, allows what /etc/subuid gives the user.
Status map_by_helper(const char* program, pid_t pid, const std::vector<IdMapping>& mappings) {
  SpawnOptions options;
  options.program = program;
  options.arguments = {program, std::to_string(pid)};
  for (const IdMapping& one : mappings)
    for (uint32_t number : {one.container_id, one.host_id, one.size})
      options.arguments.push_back(std::to_string(number));
  Result<ProcessOutput> ran = run_process(options);
  if (!ran && ran.error().code() == ENOENT)
    return make_error(
        ErrorKind::permission,
        "an ordinary user may map no more than the own id without {} (package uidmap)", program);
  ProcessOutput output = TRY(std::move(ran));
  if (output.status == 0) return {};
  while (output.err.ends_with('\n')) output.err.pop_back();
  return make_error(ErrorKind::permission, "{}: {}", program, output.err);
}

// Without privileges a process may map its own id, alone (user_namespaces(7)).
bool own_id_alone(const std::vector<IdMapping>& mappings, uint32_t own) {
  return mappings.size() == 1 && mappings[0].size == 1 && mappings[0].host_id == own;
}

Status enter_user_namespace(NamespacePlan& plan) {
  // What the host's root owns can be joined only now, what is the user namespace's only afterwards.
  TRY(join_namespaces(plan.joined, true));
  if (plan.joined_pid && sys::setns(plan.joined_pid.get(), CLONE_NEWPID)) plan.joined_pid.reset();
  TRY(sys::setns(plan.joined_user.get(), CLONE_NEWUSER).context("linux.namespaces: user"));
  plan.joined_user.reset();
  TRY(become_root());
  TRY(join_namespaces(plan.joined));
  if (plan.joined_pid)
    TRY(sys::setns(plan.joined_pid.get(), CLONE_NEWPID).context("linux.namespaces: pid"));
  plan.joined_pid.reset();
  return {};
}

}  // namespace

Result<NamespacePlan> plan_namespaces(const Spec& spec) {
  NamespacePlan plan;
  for (const Namespace& one : spec.linux_section->namespaces) {
    const NamespaceKind& kind = *find_namespace(one.type);
    plan.types.push_back(one.type);
    if (kind.flag == CLONE_NEWUSER) plan.user_namespace = true;
    if (kind.flag == CLONE_NEWNS) plan.own_mounts = true;
    if (one.path.empty()) {
      // The cgroup namespace's root is the group its maker is in: only after that was entered.
      if (kind.flag == CLONE_NEWCGROUP || kind.flag == kNewTime)
        plan.unshare_flags |= kind.flag;
      else
        plan.clone_flags |= static_cast<uint64_t>(kind.flag);
      if (kind.flag == CLONE_NEWNET) plan.own_network = true;
      if (kind.flag == CLONE_NEWUSER) plan.maps_ids = true;
      continue;
    }
    UniqueFd fd = TRY(sys::open(one.path, O_RDONLY).context("linux.namespaces: {}", one.type));
    if (kind.flag == CLONE_NEWPID)
      plan.joined_pid = std::move(fd);
    else if (kind.flag == CLONE_NEWUSER)
      plan.joined_user = std::move(fd);
    else
      plan.joined.push_back({std::move(fd), kind.flag, one.type});
  }
  return plan;
}

Status join_namespaces(std::vector<JoinedNamespace>& joined, bool patient) {
  std::vector<JoinedNamespace> later;
  for (JoinedNamespace& one : joined) {
    Status entered = sys::setns(one.fd.get(), one.flag);
    if (entered) continue;
    if (!patient || entered.error().code() != EPERM)
      return std::move(entered).error().context("linux.namespaces: " + one.name);
    later.push_back(std::move(one));
  }
  joined = std::move(later);
  return {};
}

Status become_root() {
  if (::syscall(SYS_setgroups, 0, nullptr) == -1 && errno != EPERM)
    return error_from_errno(errno, "setgroups");
  if (::syscall(SYS_setresgid, 0, 0, 0) == -1)
    return error_from_errno(errno, "linux.gidMappings: gid 0");
  if (::syscall(SYS_setresuid, 0, 0, 0) == -1)
    return error_from_errno(errno, "linux.uidMappings: uid 0");
  return {};
}

Result<Clone> clone_process(uint64_t flags, int cgroup, int pid_namespace) {
  if (pid_namespace < 0) return clone_raw(flags, cgroup);
  UniqueFd own = TRY(sys::open("/proc/self/ns/pid", O_RDONLY));
  TRY(sys::setns(pid_namespace, CLONE_NEWPID).context("linux.namespaces: pid"));
  Result<Clone> cloned = clone_raw(flags, cgroup);
  if (cloned && cloned->pid == 0) return cloned;
  TRY(sys::setns(own.get(), CLONE_NEWPID));
  return cloned;
}

Result<Clone> clone_joined(NamespacePlan& plan, int cgroup, Status (*prepare)(void* context),
                           void* context) {
  SyncSocket::Pair pair = TRY(SyncSocket::pair());
  Clone between = TRY(clone_raw(0, cgroup));
  if (between.pid == 0) {
    pair.parent.close();
    // Nobody in the user namespace may look at our memory or descriptors (CVE-2016-9962).
    ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    auto step = [&]() -> Result<Clone> {
      TRY(prepare(context));
      TRY(enter_user_namespace(plan));
      return clone_raw(plan.clone_flags | CLONE_PARENT, -1);
    };
    Result<Clone> child = step();
    if (!child) {
      (void)pair.child.send_error(child.error());
      ::_exit(1);
    }
    if (child->pid == 0) return child;
    Status told = pair.child.send(SyncMessage::cloned, std::to_string(child->pid));
    ::_exit(told ? 0 : 1);
  }
  pair.child.close();
  Result<SyncSocket::Packet> packet = pair.parent.expect(SyncMessage::cloned);
  (void)sys::waitpid(between.pid);
  SyncSocket::Packet told = TRY(std::move(packet));
  Clone child;
  child.pid = static_cast<pid_t>(std::stol(told.payload));
  // Ours, and not waited for: the number cannot have gone to somebody else.
  child.pidfd = TRY(sys::pidfd_open(child.pid));
  return child;
}

std::string id_map(const std::vector<IdMapping>& mappings) {
  std::string text;
  for (const IdMapping& one : mappings)
    text += fmt::format("{} {} {}\n", one.container_id, one.host_id, one.size);
  return text;
}

Status map_ids(pid_t pid, const std::vector<IdMapping>& uids, const std::vector<IdMapping>& gids) {
  if (::geteuid() == 0) {
    TRY(write_map(pid, "uid_map", id_map(uids)).context("linux.uidMappings"));
    return write_map(pid, "gid_map", id_map(gids)).context("linux.gidMappings");
  }
  if (own_id_alone(uids, ::geteuid()))
    TRY(write_map(pid, "uid_map", id_map(uids)).context("linux.uidMappings"));
  else
    TRY(map_by_helper("newuidmap", pid, uids).context("linux.uidMappings"));
  if (!own_id_alone(gids, ::getegid()))
    return map_by_helper("newgidmap", pid, gids).context("linux.gidMappings");
  // Or else a group could be left that something is denied to (user_namespaces(7)).
  TRY(write_map(pid, "setgroups", "deny").context("linux.gidMappings"));
  return write_map(pid, "gid_map", id_map(gids)).context("linux.gidMappings");
}

Result<UniqueFd> user_namespace_of(const std::vector<IdMapping>& uids,
                                   const std::vector<IdMapping>& gids) {
  SyncSocket::Pair pair = TRY(SyncSocket::pair());
  Clone holder = TRY(clone_raw(CLONE_NEWUSER, -1));
  if (holder.pid == 0) {
    pair.parent.close();
    (void)pair.child.receive();  // the end of the other side
    ::_exit(0);
  }
  pair.child.close();
  Status mapped = map_ids(holder.pid, uids, gids);
  Result<UniqueFd> user = sys::open(fmt::format("/proc/{}/ns/user", holder.pid), O_RDONLY);
  pair.parent.close();
  (void)sys::waitpid(holder.pid);
  TRY(std::move(mapped));
  return user;
}

}  // namespace gantry::libcontainer

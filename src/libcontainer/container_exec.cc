#include <sched.h>
#include <signal.h>

#include "base/failpoint.h"
#include "base/sys.h"
#include "libcontainer/container_impl.h"
#include "libcontainer/namespaces.h"
#include "libcontainer/notify.h"
#include "libcontainer/scheduling.h"
#include "libcontainer/validate.h"

namespace gantry::libcontainer {
namespace {

// Only with the privileges of the container's user namespace may an ordinary user join the others.
Result<Clone> clone_into(ExecPlan& plan, int cgroup, int pid_namespace) {
  if (!plan.process.user_namespace || ::geteuid() == 0)
    return clone_process(0, cgroup, pid_namespace);
  NamespacePlan joins;
  joins.joined_user = TRY(sys::dup(plan.init_pidfd));
  if (pid_namespace >= 0) joins.joined_pid = TRY(sys::dup(pid_namespace));
  int others = std::exchange(plan.join_flags, 0) & ~CLONE_NEWUSER;
  if (others) joins.joined.push_back({TRY(sys::dup(plan.init_pidfd)), others, "exec"});
  auto prepare = [](void* context) { return prepare_exec(*static_cast<ExecPlan*>(context)); };
  return clone_joined(joins, cgroup, prepare, &plan);
}

}  // namespace

Result<ContainerProcess> Container::exec(const ExecOptions& options) {
  Impl& impl = *impl_;
  TRY(check_process(options.process));
  ContainerStatus now = TRY(status());
  if (now == ContainerStatus::stopped || now == ContainerStatus::creating)
    return conflict("cannot exec in a {} container", to_string(now));
  if (now == ContainerStatus::paused && !options.ignore_paused)
    return conflict("cannot exec in a paused container (use --ignore-paused to override)");
  const Spec& spec = impl.options.spec;
  SyncSocket::Pair pair = TRY(SyncSocket::pair());
  ExecPlan plan{options, {}, TRY(ProcFs::open())};
  Process& process = plan.process.process;
  process = options.process;
  if (spec.process) {
    const Process& own = *spec.process;
    if (!process.capabilities) process.capabilities = own.capabilities;
    if (process.apparmor_profile.empty()) process.apparmor_profile = own.apparmor_profile;
    if (process.selinux_label.empty()) process.selinux_label = own.selinux_label;
    if (process.rlimits.empty()) process.rlimits = own.rlimits;
    if (!process.oom_score_adj) process.oom_score_adj = own.oom_score_adj;
    if (!process.exec_cpu_affinity) process.exec_cpu_affinity = own.exec_cpu_affinity;
  }
  if (spec.linux_section && spec.linux_section->seccomp) {
    if (!impl.filter)
      impl.filter = TRY(cached_seccomp(*spec.linux_section->seccomp, impl.options.seccomp_cache));
    plan.process.filter = impl.filter;
  }
  plan.process.user = options.user;
  plan.process.memory_policy =
      spec.linux_section ? spec.linux_section->memory_policy : std::nullopt;
  plan.process.preserve_fds = options.preserve_fds;
  plan.process.new_keyring = !options.no_new_keyring;
  plan.process.die_with_parent = options.die_with_parent;
  bool join_pid = false, own_mounts = false;
  for (const std::string& type : impl.state.namespaces) {
    const NamespaceKind* kind = find_namespace(type);
    if (!kind) continue;
    if (kind->flag == CLONE_NEWPID)
      join_pid = true;
    else
      plan.join_flags |= kind->flag;
    if (kind->flag == CLONE_NEWUSER) plan.process.user_namespace = true;
    if (kind->flag == CLONE_NEWNS) own_mounts = true;
  }
  if (!own_mounts)
    plan.root = TRY(sys::open(fmt::format("/proc/{}/root", pid()), O_PATH | O_DIRECTORY));
  Cgroup& cgroup = *TRY(impl.open_cgroup());
  if (options.cgroup.find("..") != std::string::npos)
    return invalid("--cgroup: {} has a \"..\"", options.cgroup);
  plan.cgroup_entries = TRY(impl.process_entries(options.cgroup));
  UniqueFd target = TRY(cgroup.clone_target(options.cgroup));
  plan.init_pidfd = impl.pidfd.get();
  plan.sync = std::move(pair.child);

  std::string initial;
  if (const auto& affinity = process.exec_cpu_affinity) {
    initial = affinity->initial;
    plan.process.cpus = affinity->final;
  }
  std::optional<CpuAffinity> affinity;
  affinity.emplace(TRY(CpuAffinity::enter(initial, "process.execCPUAffinity.initial")));
  TRY(failpoint("runtime.exec"));
  Clone cloned = TRY(clone_into(plan, target.get(), join_pid ? impl.pidfd.get() : -1));
  if (cloned.pid == 0) {
    pair.parent.close();
    run_exec(plan);
  }
  affinity.reset();
  plan.sync.close();
  ContainerProcess out;
  out.pid = cloned.pid;
  out.pidfd = std::move(cloned.pidfd);
  auto wait = [&]() -> Status {
    for (;;) {
      SyncSocket::Packet packet = TRY(pair.parent.receive());
      if (packet.end) return {};
      if (packet.message == SyncMessage::console) out.console = std::move(packet.fd);
      if (packet.message == SyncMessage::notify)
        TRY(hand_over_notify(spec, impl.state, out.pid, packet.fd.get()));
    }
  };
  Status started = failpoint("runtime.exec.cloned");
  if (started) started = wait();
  if (!started) {
    (void)sys::pidfd_send_signal(out.pidfd.get(), SIGKILL);
    (void)sys::waitpid(out.pid);
    return std::move(started).error();
  }
  return out;
}

}  // namespace gantry::libcontainer

#include "libcontainer/init.h"

#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/sys.h"
#include "libcontainer/hooks.h"
#include "libcontainer/rootfs.h"
#include "libcontainer/terminal.h"
#include "libcontainer/validate.h"

namespace gantry::libcontainer {
namespace {

// How the engine's process was set up is not the container's business.
void reset_inherited() {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &action, nullptr);
  ::umask(0);
}

// Nobody who shares a namespace may look at our memory or descriptors before exec (CVE-2016-9962).
void hide() { ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }

Status die_with_parent(bool wanted) {
  if (!wanted) return {};
  return sys::prctl(PR_SET_PDEATHSIG, SIGKILL);
}

// While we are the host's root still: the root of a user namespace may not open it.
Status adjust_oom_score(const Process& process, const ProcFs& proc) {
  if (!process.oom_score_adj) return {};
  // An ordinary user may not even write the same again: the file is root's, we are not dumpable.
  std::string wanted = std::to_string(*process.oom_score_adj);
  if (TRY(proc.read("self/oom_score_adj")) == wanted + "\n") return {};
  return proc.write("self/oom_score_adj", wanted).context("process.oomScoreAdj");
}

// v1: "0" is the writer itself.
Status enter_cgroups(std::vector<UniqueFd>& entries) {
  for (UniqueFd& entry : entries)
    TRY(sys::write_all(entry.get(), "0").context("linux.cgroupsPath: enter"));
  entries.clear();
  return {};
}

Status raise_loopback() {
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return error_from_errno(errno, "loopback: socket");
  ifreq request = {};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP;
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) == -1)
    return error_from_errno(errno, "loopback: up");
  return {};
}

Status apply_names(const Spec& spec) {
  if (!spec.hostname.empty() && ::sethostname(spec.hostname.data(), spec.hostname.size()) == -1)
    return error_from_errno(errno, "hostname");
  if (!spec.domainname.empty() &&
      ::setdomainname(spec.domainname.data(), spec.domainname.size()) == -1)
    return error_from_errno(errno, "domainname");
  return {};
}

Status apply_sysctls(const Spec& spec, const ProcFs& proc) {
  for (const auto& [key, value] : spec.linux_section->sysctl)
    TRY(proc.write("sys/" + sysctl_path(key), value).context("linux.sysctl: {}", key));
  return {};
}

// Unsharing puts only children into a new time namespace, and not every kernel moves a process into
// it at exec: once its clocks are set, it is entered like any other (time_namespaces(7)).
Status enter_time_namespace(const Spec& spec, const ProcFs& proc) {
  for (const auto& [clock, offset] : spec.linux_section->time_offsets)
    TRY(proc.write("self/timens_offsets",
                   fmt::format("{} {} {}", clock, offset.secs, offset.nanosecs))
            .context("linux.timeOffsets.{}", clock));
  UniqueFd own = TRY(sys::open("/proc/self/ns/time_for_children", O_RDONLY));
  return sys::setns(own.get(), kNewTime).context("linux.namespaces: time");
}

Status apply_personality(const Spec& spec) {
  const auto& personality = spec.linux_section->personality;
  if (personality &&
      ::personality(personality->domain == "LINUX32" ? PER_LINUX32 : PER_LINUX) == -1)
    return error_from_errno(errno, "linux.personality");
  return {};
}

Status setup_namespaces(InitPlan& plan) {
  const Spec& spec = plan.options.spec;
  NamespacePlan& namespaces = plan.namespaces;
  if (namespaces.maps_ids) {
    (void)TRY(plan.sync.expect(SyncMessage::mapped));
    hide();
    TRY(become_root());
  }
  TRY(join_namespaces(namespaces.joined));
  if (namespaces.unshare_flags)
    TRY(sys::unshare(namespaces.unshare_flags).context("linux.namespaces: cgroup, time"));
  if (namespaces.unshare_flags & kNewTime) TRY(enter_time_namespace(spec, plan.proc));
  if (!spec.linux_section->net_devices.empty()) (void)TRY(plan.sync.expect(SyncMessage::moved));
  if (::setsid() == -1) return error_from_errno(errno, "setsid");
  if (namespaces.own_network) TRY(raise_loopback());
  TRY(apply_names(spec));
  return apply_sysctls(spec, plan.proc);
}

Status setup_rootfs(InitPlan& plan) {
  const Spec& spec = plan.options.spec;
  RootfsPlan rootfs_plan{spec, plan.options.rootfs, plan.options.bundle, plan.cgroup_mounts};
  rootfs_plan.user_namespace = plan.namespaces.user_namespace;
  rootfs_plan.own_mounts = plan.namespaces.own_mounts;
  rootfs_plan.bind_sources = plan.bind_sources;
  rootfs_plan.no_pivot = plan.options.no_pivot;
  TRY(failpoint("init.mount"));
  Rootfs rootfs = TRY(Rootfs::attach(rootfs_plan));
  TRY(failpoint("init.mounted"));
  TRY(rootfs.populate());
  TRY(failpoint("init.populated"));
  if (plan.process.process.terminal) {
    Terminal terminal = TRY(rootfs.open_console());
    TRY(plan.sync.send(SyncMessage::console, {}, terminal.master.get()));
    TRY(use_terminal(terminal.slave.get(), plan.process.process.console_size));
  } else {
    TRY(use_stdio(plan.options.stdio));
    TRY(rootfs.reopen_null());
  }
  if (const auto& hooks = spec.hooks) {
    plan.state.pid = ::getpid();  // as the hooks that run in here see it
    if (!hooks->prestart.empty() || !hooks->create_runtime.empty() ||
        !hooks->create_container.empty()) {
      TRY(plan.sync.send(SyncMessage::hooks_due));
      (void)TRY(plan.sync.expect(SyncMessage::hooks_done));
    }
    TRY(run_hooks(hooks->create_container, "createContainer", plan.state, "creating"));
  }
  TRY(failpoint("init.pivot"));
  return rootfs.pivot();
}

// Waits for the start. With a socket gate the conversation moves over to who opened it.
Status wait_at_gate(InitPlan& plan) {
  TRY(failpoint("init.ready"));
  if (plan.launch) return failpoint("init.start");
  TRY(plan.sync.send(SyncMessage::ready));
  if (plan.gate) {
    // Who made us may read what it and its children write until all of them have closed it.
    log::close_output();
    int peer =
        sys::retry([&] { return ::accept4(plan.gate.get(), nullptr, nullptr, SOCK_CLOEXEC); });
    if (peer == -1) return error_from_errno(errno, "gate: accept");
    plan.sync = SyncSocket(UniqueFd(peer));
  }
  (void)TRY(plan.sync.expect(SyncMessage::start));
  return failpoint("init.start");
}

Status init(InitPlan& plan) {
  TRY(die_with_parent(plan.options.die_with_parent));
  FailpointScope scope("init");
  if (plan.launch) TRY(plan.launch->note(plan.launch->context));
  TRY(failpoint("init.cgroup"));
  if (!plan.prepared) TRY(prepare_init(plan));
  TRY(failpoint("init.namespaces"));
  TRY(setup_namespaces(plan));
  TRY(setup_rootfs(plan));
  TRY(apply_personality(plan.options.spec));
  ProcessSetup setup(plan.process, plan.proc, plan.sync);
  TRY(setup.prepare(plan.gate.get()));
  bool early = setup.early();
  if (early) TRY(setup.enter());
  TRY(wait_at_gate(plan));
  if (const auto& hooks = plan.options.spec.hooks; hooks && !hooks->start_container.empty()) {
    TRY(run_hooks(hooks->start_container, "startContainer", plan.state, "created"));
    TRY(plan.sync.send(SyncMessage::hooks_done));
  }
  if (!early) TRY(setup.enter());
  if (plan.launch) plan.launch->executing = true;
  return setup.exec();
}

Status enter_container(ExecPlan& plan) {
  TRY(die_with_parent(plan.options.die_with_parent));
  FailpointScope scope("init");
  TRY(failpoint("init.exec"));
  if (!plan.prepared) TRY(prepare_exec(plan));
  if (plan.join_flags)
    TRY(sys::setns(plan.init_pidfd, plan.join_flags)
            .context("exec: join the container's namespaces"));
  if (::setsid() == -1) return error_from_errno(errno, "setsid");
  if (plan.root && (::fchdir(plan.root.get()) == -1 || ::chroot(".") == -1))
    return error_from_errno(errno, "exec: the container's root");
  if (plan.process.user_namespace) TRY(become_root());
  if (::chdir("/") == -1) return error_from_errno(errno, "chdir /");
  if (plan.process.process.terminal) {
    Beneath root = TRY(Beneath::open("/"));
    Terminal terminal = TRY(open_terminal(root));
    TRY(plan.sync.send(SyncMessage::console, {}, terminal.master.get()));
    TRY(use_terminal(terminal.slave.get(), plan.process.process.console_size));
  } else {
    TRY(use_stdio(plan.options.stdio));
    TRY(reopen_null(TRY(Beneath::open("/"))));
  }
  ProcessSetup setup(plan.process, plan.proc, plan.sync);
  TRY(setup.prepare());
  TRY(setup.enter());
  return setup.exec();
}

[[noreturn]] void report(const SyncSocket& sync, const Status& status) {
  (void)sync.send_error(status.error());
  ::_exit(1);
}

}  // namespace

Status prepare_init(InitPlan& plan) {
  TRY(enter_cgroups(plan.cgroup_entries));
  TRY(adjust_oom_score(plan.process.process, plan.proc));
  plan.prepared = true;
  return {};
}

void run_init(InitPlan& plan) {
  reset_inherited();
  // An ordinary user may write the id maps only of a process that can be looked at: later, then.
  if (!plan.namespaces.maps_ids || plan.made_by == 0) hide();
  Status failed = init(plan);
  if (plan.launch) {
    plan.launch->failure = std::move(failed).error();
    ::_exit(1);
  }
  report(plan.sync, failed);
}

Status prepare_exec(ExecPlan& plan) {
  TRY(enter_cgroups(plan.cgroup_entries));
  TRY(adjust_oom_score(plan.process.process, plan.proc));
  plan.prepared = true;
  return {};
}

void run_exec(ExecPlan& plan) {
  reset_inherited();
  hide();
  Status failed = enter_container(plan);
  report(plan.sync, failed);
}

}  // namespace gantry::libcontainer

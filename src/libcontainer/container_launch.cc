// launch(): where nobody has to do anything between create() and start(), init is made without a
// copy of our memory (clone_waiting.h).
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/sys.h"
#include "libcontainer/clone_waiting.h"
#include "libcontainer/container_impl.h"
#include "libcontainer/validate.h"

namespace gantry::libcontainer {
namespace {

// A container that cannot hold even this may be out of memory before its program is executed; the
// kernel then ends everybody who shares the memory with init.
constexpr int64_t kLeastMemory = 16 << 20;

bool has_hooks(const Spec& spec) {
  if (!spec.hooks) return false;
  const Hooks& hooks = *spec.hooks;
  for (const std::vector<Hook>* kind :
       {&hooks.prestart, &hooks.create_runtime, &hooks.create_container, &hooks.start_container,
        &hooks.poststart})
    if (!kind->empty()) return true;
  return false;
}

bool may_run_out_of_memory(const Spec& spec) {
  const auto& resources = spec.linux_section->resources;
  if (!resources) return false;
  if (!resources->unified.empty()) return true;
  auto small = [](const std::optional<int64_t>& limit) {
    return limit && *limit > 0 && *limit < kLeastMemory;
  };
  const auto& memory = resources->memory;
  return memory && (small(memory->limit) || small(memory->kernel) || small(memory->swap));
}

// The child closes its own copies: what it did to the objects says nothing of ours.
std::vector<int> descriptors_of(const InitPlan& plan) {
  std::vector<int> out = {plan.proc.fd()};
  for (const UniqueFd& one : plan.cgroup_entries) out.push_back(one.get());
  for (const UniqueFd& one : plan.bind_sources) out.push_back(one.get());
  return out;
}

// Killed from outside in the middle of whatever it did to the heap that we share: nothing is safe
// any more but to execute another program.
[[noreturn]] void leave_to(const char* const* undo) {
  constexpr std::string_view kWords =
      "gantry-runtime: init ended before its program was executed (killed, or out of memory)\n";
  (void)!::write(STDERR_FILENO, kWords.data(), kWords.size());
  ::waitpid(-1, nullptr, 0);  // or else it would still be in its cgroup
  pid_t pid = undo ? ::vfork() : -1;
  if (pid == 0) {
    ::execve("/proc/self/exe", const_cast<char**>(undo), environ);
    ::_exit(1);
  }
  if (pid > 0) ::waitpid(pid, nullptr, 0);
  ::_exit(1);
}

}  // namespace

// No conversation is needed between us and init, nobody else can look at it (who joins a pid
// namespace that is there could), and nothing that the kernel refuses to a process with shared
// memory (setns(2) of a time namespace).
bool Container::Impl::can_launch() const {
  const Spec& spec = options.spec;
  const Linux& section = *spec.linux_section;
  bool own_pids = false;
  for (const Namespace& one : section.namespaces) {
    if (!one.path.empty() || one.type == "user" || one.type == "time") return false;
    if (one.type == "pid") own_pids = true;
  }
  bool talks = has_hooks(spec) || spec.process->terminal || !section.net_devices.empty() ||
               (section.seccomp && !section.seccomp->listener_path.empty()) ||
               options.init_program >= 0 || options.gate != Gate::in_process ||
               options.cgroup_driver != CgroupDriver::cgroupfs;
  return own_pids && !talks && can_clone_waiting() && ::geteuid() == 0 && directory &&
         !may_run_out_of_memory(spec);
}

Status Container::Impl::launch(std::unique_ptr<InitPlan> plan, const char* const* undo_command) {
  TRY(keep_config());
  UniqueFd group = TRY(cgroup->clone_target());
  std::vector<int> theirs = descriptors_of(*plan);
  Launch& shared = *(plan->launch = std::make_unique<Launch>());
  shared.note = [](void* impl) { return static_cast<Impl*>(impl)->note_pid(); };
  shared.context = this;
  TRY(failpoint("runtime.clone"));
  FailpointScope inits("init");  // that of init's own never ends here
  auto child = [](void* context) { run_init(*static_cast<InitPlan*>(context)); };
  Clone cloned =
      TRY(clone_waiting(plan->namespaces.clone_flags, group.get(), state.pid, child, plan.get()));
  // It is init's, with what init has left of it in our memory: descriptors that it has closed, or
  // not. Ours are closed by their numbers.
  (void)plan.release();
  ours = true;
  pidfd = std::move(cloned.pidfd);
  ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);  // init hid the memory, for both
  if (!shared.executing && !shared.failure) leave_to(undo_command);
  for (int fd : theirs)
    if (fd >= 0) ::close(fd);
  if (shared.failure) return std::move(*shared.failure);
  return {};
}

Result<Container> Container::launch(CreateOptions options, const char* const* undo_command) {
  std::unique_ptr<Impl> impl = TRY(Impl::make(std::move(options)));
  auto step = [&]() -> Status {
    std::unique_ptr<InitPlan> plan = TRY(impl->prepare());
    impl->started = impl->can_launch();
    if (impl->started) return impl->launch(std::move(plan), undo_command);
    return impl->clone(std::move(plan));
  };
  Status done = step();
  if (!done) return impl->undo(std::move(done).error());
  Container container(std::move(impl));
  if (!container.started()) TRY(container.wait_created());
  return container;
}

bool Container::started() const { return impl_->started; }

}  // namespace gantry::libcontainer

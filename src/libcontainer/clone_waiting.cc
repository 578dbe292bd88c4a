#include "libcontainer/clone_waiting.h"

#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

namespace gantry::libcontainer {
namespace {

constexpr size_t kStack = 1 << 20;  // only what is used of it becomes memory
constexpr size_t kGuard = 4096;

class Stack {
 public:
  Stack()
      : memory_(::mmap(nullptr, kStack, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0)) {
    if (*this) ::mprotect(memory_, kGuard, PROT_NONE);
  }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  ~Stack() {
    if (*this) ::munmap(memory_, kStack);
  }
  explicit operator bool() const { return memory_ != MAP_FAILED; }
  uint64_t begin() const { return reinterpret_cast<uint64_t>(memory_); }

 private:
  void* memory_;
};

#if defined(__x86_64__)

// Not through syscall(3): the child would return into a frame of its maker's, over which its own
// calls then write.
long clone3_to(clone_args* arguments, void (*child)(void*), void* context) {
  long result = SYS_clone3;
  register auto function __asm__("r8") = child;
  register void* argument __asm__("r9") = context;
  __asm__ volatile(
      "syscall\n"
      "test %%eax, %%eax\n"
      "jnz 1f\n"
      "xor %%ebp, %%ebp\n"
      "mov %%r9, %%rdi\n"
      "call *%%r8\n"
      "hlt\n"
      "1:\n"
      : "+a"(result)
      : "D"(arguments), "S"(sizeof *arguments), "r"(function), "r"(argument)
      : "rcx", "r11", "memory");
  return result;
}

#else

long clone3_to(clone_args*, void (*)(void*), void*) { return -ENOSYS; }

#endif

}  // namespace

bool can_clone_waiting() {
#if defined(__x86_64__)
  return true;
#else
  return false;
#endif
}

Result<Clone> clone_waiting(uint64_t flags, int cgroup, pid_t& pid, void (*child)(void* context),
                            void* context) {
  if (!can_clone_waiting()) return unsupported("clone: not in shared memory on this processor");
  Stack stack;
  if (!stack) return error_from_errno(errno, "clone: stack");
  int pidfd = -1;
  clone_args arguments = {};
  arguments.flags = flags | CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_PARENT_SETTID;
  arguments.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  arguments.parent_tid = reinterpret_cast<uint64_t>(&pid);
  arguments.exit_signal = SIGCHLD;
  arguments.stack = stack.begin();
  arguments.stack_size = kStack;
  if (cgroup >= 0) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<uint64_t>(cgroup);
  }
  long made = clone3_to(&arguments, child, context);
  if (made < 0) return error_from_errno(static_cast<int>(-made), "clone");
  return Clone{static_cast<pid_t>(made), UniqueFd(pidfd)};
}

}  // namespace gantry::libcontainer

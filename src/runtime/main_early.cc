// Compiled without stack protector, and calls nothing: no thread pointer is set, no function that
// the loader selects (memcpy, strlen) is bound yet.
#include "runtime/early.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include <cstdint>

#if defined(__x86_64__) && defined(GANTRY_EARLY_ENTRY)

extern "C" {
void gantry_early(long* stack);
}

namespace gantry::runtime {
namespace {

// The kernel's own convention (syscall(2), "Architecture calling conventions"); -errno.
long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                   : "rcx", "r11", "memory");
  return result;
}
long address(const void* pointer) { return reinterpret_cast<long>(pointer); }

bool equal(const char* a, const char* b) {
  for (; *a == *b; ++a, ++b)
    if (!*a) return true;
  return false;
}
bool begins(const char* text, const char* start) {
  for (; *start; ++text, ++start)
    if (*text != *start) return false;
  return true;
}

bool enters(long count, char** argv) {
  if (count < 2 || equal(argv[1], "shim")) return false;
  for (long i = 1; i < count; ++i)
    for (const char* verb : kEntering)
      if (equal(argv[i], verb)) return true;
  return false;
}

constexpr long kReadonly = 1;  // ST_RDONLY of statfs(2)

// As is_protected(); what cannot be told counts as protected, for it is asked again later.
bool is_protected_already() {
  long program = call(SYS_open, address("/proc/self/exe"), O_RDONLY | O_CLOEXEC);
  if (program < 0) return true;
  struct statfs system;
  bool protected_already = call(SYS_fcntl, program, F_GET_SEALS) > 0 ||
                           call(SYS_fstatfs, program, address(&system)) < 0 ||
                           (system.f_flags & kReadonly);
  call(SYS_close, program);
  return protected_already;
}

void execute_from_detached_mount(char** argv, char** environment) {
  long tree =
      call(SYS_open_tree, AT_FDCWD, address("/proc/self/exe"), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (tree < 0) return;
  struct mount_attr attributes;
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  attributes.attr_clr = attributes.propagation = attributes.userns_fd = 0;
  if (call(SYS_mount_setattr, tree, address(""), AT_EMPTY_PATH, address(&attributes),
           sizeof(attributes)) == 0)
    call(SYS_execveat, tree, address(""), address(argv), address(environment), AT_EMPTY_PATH);
  call(SYS_close, tree);
}

// What execve(2) was given; of execveat(2) with an empty path it is /dev/fd/N.
const char* executed_as(char** environment) {
  while (*environment) ++environment;
  // The auxiliary vector follows (elf(5), getauxval(3)).
  constexpr long kEnd = 0, kExecFn = 31;
  for (long* entry = reinterpret_cast<long*>(environment + 1); entry[0] != kEnd; entry += 2)
    if (entry[0] == kExecFn) return reinterpret_cast<const char*>(entry[1]);
  return "";
}

}  // namespace
}  // namespace gantry::runtime

// `stack` as the kernel leaves it: argc, argv, 0, environment, 0, auxiliary vector.
void gantry_early(long* stack) {
  using namespace gantry::runtime;
  const long count = stack[0];
  char** argv = reinterpret_cast<char**>(stack + 1);
  char** environment = argv + count + 1;
  if (!enters(count, argv)) return;
  if (!begins(executed_as(environment), "/dev/fd/") && !is_protected_already())
    execute_from_detached_mount(argv, environment);
}

// From here on as if the kernel had come to _start: rdx is 0, "no function to be called at exit"
// (System V ABI for AMD64, 3.4.1).
__asm__(
    ".pushsection .text.gantry_entry,\"ax\",@progbits\n"
    ".globl gantry_entry\n"
    ".type gantry_entry,@function\n"
    "gantry_entry:\n"
    "  xorl %ebp, %ebp\n"
    "  movq %rsp, %rbx\n"
    "  movq %rsp, %rdi\n"
    "  andq $-16, %rsp\n"
    "  call gantry_early\n"
    "  movq %rbx, %rsp\n"
    "  xorl %edx, %edx\n"
    "  jmp _start\n"
    ".size gantry_entry,.-gantry_entry\n"
    ".popsection\n");

#endif

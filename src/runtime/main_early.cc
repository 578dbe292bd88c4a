// Compiled without stack protector, and calls nothing: no thread pointer is set, no function that
// the loader selects (memcpy, strlen) is bound yet.
#include "runtime/early.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/prctl.h>
#include <sys/mman.h>
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
long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
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

// What the kernel has put on the stack (elf(5), getauxval(3)).
struct Start {
  long count;
  char** argv;
  char** environment;
  const Elf64_auxv_t* auxiliary;

  explicit Start(long* stack)
      : count(stack[0]), argv(reinterpret_cast<char**>(stack + 1)), environment(argv + count + 1) {
    char** end = environment;
    while (*end) ++end;
    auxiliary = reinterpret_cast<const Elf64_auxv_t*>(end + 1);
  }
  unsigned long value(unsigned long type) const {
    for (const Elf64_auxv_t* entry = auxiliary; entry->a_type != AT_NULL; ++entry)
      if (entry->a_type == type) return entry->a_un.a_val;
    return 0;
  }
};

// A mount of just this file, read-only and attached nowhere (self_protection.cc).
long detached_program() {
  long tree =
      call(SYS_open_tree, AT_FDCWD, address("/proc/self/exe"), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (tree < 0) return tree;
  struct mount_attr attributes;
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  attributes.attr_clr = attributes.propagation = attributes.userns_fd = 0;
  if (call(SYS_mount_setattr, tree, address(""), AT_EMPTY_PATH, address(&attributes),
           sizeof(attributes)) == 0)
    return tree;
  call(SYS_close, tree);
  return -1;
}

// Opened through the mount: /proc/self/fd/N leads to where N is.
long open_program(long tree) {
  char path[] = "/proc/self/fd/\0\0\0\0\0\0\0\0\0";
  char* end = path + sizeof("/proc/self/fd/") - 1;
  long scale = 1;
  while (tree / scale >= 10) scale *= 10;
  for (; scale > 0; scale /= 10) *end++ = static_cast<char>('0' + tree / scale % 10);
  return call(SYS_open, address(path), O_RDONLY | O_CLOEXEC);
}

constexpr unsigned long kPage = 4096;
unsigned long down(unsigned long address) { return address & ~(kPage - 1); }

// Nothing of a segment has been written to yet, so mapping it anew changes nothing, even for the
// instruction that runs.
bool map_segment(const Elf64_Phdr& segment, long program) {
  unsigned long start = down(segment.p_vaddr), end = segment.p_vaddr + segment.p_filesz;
  long protection = (segment.p_flags & PF_R ? PROT_READ : 0) |
                    (segment.p_flags & PF_W ? PROT_WRITE : 0) |
                    (segment.p_flags & PF_X ? PROT_EXEC : 0);
  if (call(SYS_mmap, static_cast<long>(start), static_cast<long>(end - start), protection,
           MAP_PRIVATE | MAP_FIXED, program, static_cast<long>(down(segment.p_offset))) < 0)
    return false;
  // What follows in the file is not what .bss begins with.
  if (segment.p_memsz > segment.p_filesz)
    for (volatile char* byte = reinterpret_cast<volatile char*>(end);
         reinterpret_cast<unsigned long>(byte) % kPage != 0; ++byte)
      *byte = 0;
  return true;
}

// The same program, mapped anew from the mount, and then named as what we run
// (prctl(2), PR_SET_MM_MAP): what a second execution would give, without a new address space. The
// kernel does this only once nothing of the old file is mapped (replace_mm_exe_file()), for those
// with CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN.
bool adopt(const Start& start, long program) {
  const auto* segment = reinterpret_cast<const Elf64_Phdr*>(start.value(AT_PHDR));
  const unsigned long count = start.value(AT_PHNUM);
  if (!segment || start.value(AT_PHENT) != sizeof(*segment)) return false;
  prctl_mm_map map;
  map.start_code = map.start_data = ~0ul;
  map.end_code = map.end_data = 0;
  for (const Elf64_Phdr* one = segment; one != segment + count; ++one) {
    if (one->p_type != PT_LOAD) continue;
    if (one->p_filesz > 0 && !map_segment(*one, program)) return false;
    unsigned long end = one->p_vaddr + one->p_filesz;
    if (one->p_flags & PF_X) {
      if (one->p_vaddr < map.start_code) map.start_code = one->p_vaddr;
      if (end > map.end_code) map.end_code = end;
    } else if (one->p_flags & PF_W) {
      if (one->p_vaddr < map.start_data) map.start_data = one->p_vaddr;
      if (end > map.end_data) map.end_data = end;
    }
  }
  char* text = *start.environment ? *start.environment : start.argv[start.count - 1];
  for (char** entry = start.environment; *entry; ++entry) text = *entry;
  while (*text) ++text;
  map.start_brk = map.brk = static_cast<unsigned long>(call(SYS_brk));
  map.start_stack = reinterpret_cast<unsigned long>(start.argv - 1);
  map.arg_start = reinterpret_cast<unsigned long>(start.argv[0]);
  map.env_end = reinterpret_cast<unsigned long>(text + 1);
  map.arg_end = map.env_start =
      *start.environment ? reinterpret_cast<unsigned long>(*start.environment) : map.env_end;
  map.auxv = nullptr;
  map.auxv_size = 0;  // stays
  map.exe_fd = static_cast<__u32>(program);
  return call(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, address(&map), sizeof(map)) == 0;
}

void leave_reach(const Start& start) {
  long tree = detached_program();
  if (tree < 0) return;
  long program = open_program(tree);
  bool adopted = program >= 0 && adopt(start, program);
  if (program >= 0) call(SYS_close, program);
  if (!adopted)
    call(SYS_execveat, tree, address(""), address(start.argv), address(start.environment),
         AT_EMPTY_PATH);
  call(SYS_close, tree);
}

// What execve(2) was given; of execveat(2) with an empty path it is /dev/fd/N.
const char* executed_as(const Start& start) {
  unsigned long name = start.value(AT_EXECFN);
  return name ? reinterpret_cast<const char*>(name) : "";
}

}  // namespace
}  // namespace gantry::runtime

// `stack` as the kernel leaves it: argc, argv, 0, environment, 0, auxiliary vector.
void gantry_early(long* stack) {
  using namespace gantry::runtime;
  const Start start(stack);
  if (!enters(start.count, start.argv)) return;
  if (!begins(executed_as(start), "/dev/fd/") && !is_protected_already()) leave_reach(start);
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

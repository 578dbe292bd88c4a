#include "runtime/self_protection.h"

#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

#include "base/sys.h"

namespace gantry::runtime {
namespace {

constexpr const char* kProgram = "/proc/self/exe";
constexpr const char* kMark = "_GANTRY_RUNTIME_PROTECTED";
constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
constexpr uint64_t kReadonly = 0x1;  // MOUNT_ATTR_RDONLY

// A mount of just this file, read-only and attached nowhere: once the descriptor is closed (by
// exec) it belongs to no mount namespace, so nobody can change its flags, and the running image
// keeps it alive.
Result<UniqueFd> detached_image() {
  UniqueFd tree = TRY(sys::open_tree(AT_FDCWD, kProgram, OPEN_TREE_CLONE));
  TRY(sys::mount_setattr(tree.get(), "", AT_EMPTY_PATH, kReadonly, 0));
  return tree;
}

// Without the right to mount: a copy that the kernel lets nobody write.
Result<UniqueFd> sealed_image() {
  UniqueFd memory = TRY(sys::memfd_create("gantry-runtime", MFD_ALLOW_SEALING));
  UniqueFd program = TRY(sys::open(kProgram, O_RDONLY));
  off_t left = TRY(sys::fstat(program.get())).st_size;
  while (left > 0) {
    ssize_t sent = ::sendfile(memory.get(), program.get(), nullptr, static_cast<size_t>(left));
    if (sent <= 0) return error_from_errno(sent == 0 ? EIO : errno, "copy of the program");
    left -= sent;
  }
  TRY(sys::fchmod(memory.get(), 0555));
  if (::fcntl(memory.get(), F_ADD_SEALS, kSeals) == -1) return error_from_errno(errno, "seal");
  return memory;
}

}  // namespace

Result<bool> is_protected() {
  UniqueFd program = TRY(sys::open(kProgram, O_RDONLY));
  int seals = ::fcntl(program.get(), F_GET_SEALS);
  if (seals >= 0 && (seals & F_SEAL_WRITE)) return true;
  struct statvfs system;
  if (::fstatvfs(program.get(), &system) == -1)
    return error_from_errno(errno, "statvfs /proc/self/exe");
  return (system.f_flag & ST_RDONLY) != 0;
}

Status ensure_protected(char** argv) {
  bool tried = ::getenv(kMark) != nullptr;
  ::unsetenv(kMark);
  if (TRY(is_protected())) return {};
  if (tried) return internal("the program could not be put out of the container's reach");
  Result<UniqueFd> image = detached_image();
  if (!image) image = sealed_image();
  if (!image) return std::move(image).error().context("protection of the program");
  ::setenv(kMark, "1", 1);
  ::syscall(SYS_execveat, image->get(), "", argv, environ, AT_EMPTY_PATH);
  return error_from_errno(errno, "protection of the program: exec");
}

}  // namespace gantry::runtime

#include "libcontainer/procfs.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include "base/sys.h"

namespace gantry::libcontainer {
namespace {

constexpr ino_t kProcRootInode = 1;  // PROC_ROOT_INO

}  // namespace

Result<ProcFs> ProcFs::open() {
  UniqueFd fd = TRY(sys::open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW));
  struct statfs system;
  if (::fstatfs(fd.get(), &system) == -1) return error_from_errno(errno, "statfs /proc");
  struct stat st = TRY(sys::fstat(fd.get()));
  if (system.f_type != PROC_SUPER_MAGIC || st.st_ino != kProcRootInode)
    return make_error(ErrorKind::permission, "/proc is not a procfs");
  return ProcFs(std::move(fd));
}

Result<UniqueFd> ProcFs::open_file(const std::string& path, int flags) const {
  constexpr uint64_t kInside = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  // "self" is the one link that is followed (it leads to a directory of the same procfs).
  bool own = path.starts_with("self/");
  Result<UniqueFd> fd = sys::openat2(root_.get(), path, flags | O_NOFOLLOW | O_NOCTTY,
                                     own ? kInside : kInside | RESOLVE_NO_SYMLINKS);
  return std::move(fd).context("/proc");
}

Status ProcFs::write(const std::string& path, std::string_view text) const {
  UniqueFd fd = TRY(open_file(path, O_WRONLY));
  return sys::write_all(fd.get(), text).context("/proc/{}", path);
}

Result<std::string> ProcFs::read(const std::string& path) const {
  UniqueFd fd = TRY(open_file(path, O_RDONLY));
  return sys::read_all(fd.get()).context("/proc/{}", path);
}

}  // namespace gantry::libcontainer

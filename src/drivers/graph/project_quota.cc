#include "drivers/graph/project_quota.h"

#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sys.h"

namespace gantry::drivers {
namespace {

Status set_limit(int directory, uint32_t project, uint64_t bytes) {
  if_dqblk limits = {};
  limits.dqb_bhardlimit = limits.dqb_bsoftlimit = (bytes + 1023) / 1024;
  limits.dqb_valid = QIF_BLIMITS;
  if (::syscall(SYS_quotactl_fd, directory, QCMD(Q_SETQUOTA, PRJQUOTA), project, &limits) == 0)
    return {};
  return error_from_errno(errno, "quotactl");
}

}  // namespace

Status limit_tree(int directory, uint64_t bytes) {
  struct stat st = TRY(sys::fstat(directory));
  fsxattr attributes = {};
  Status limited = [&]() -> Status {
    if (::ioctl(directory, FS_IOC_FSGETXATTR, &attributes) == -1)
      return error_from_errno(errno, "FS_IOC_FSGETXATTR");
    attributes.fsx_projid = static_cast<uint32_t>(st.st_ino);
    attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    // First the limit: without quotas nothing is left on the directory.
    TRY(set_limit(directory, attributes.fsx_projid, bytes));
    if (::ioctl(directory, FS_IOC_FSSETXATTR, &attributes) == 0) return {};
    return error_from_errno(errno, "FS_IOC_FSSETXATTR");
  }();
  if (limited) return {};
  return std::move(limited)
      .error()
      .context(
          "--storage-opt size needs project quotas: the data root's file system (ext4 or xfs) must "
          "be mounted with prjquota")
      .with_kind(ErrorKind::unsupported);
}

Status unlimit_tree(int directory) {
  fsxattr attributes = {};
  if (::ioctl(directory, FS_IOC_FSGETXATTR, &attributes) == -1) return {};  // keeps none
  if (attributes.fsx_projid == 0 || !(attributes.fsx_xflags & FS_XFLAG_PROJINHERIT)) return {};
  return set_limit(directory, attributes.fsx_projid, 0);
}

}  // namespace gantry::drivers

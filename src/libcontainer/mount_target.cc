#include "libcontainer/mount_target.h"

#include "base/sys.h"

namespace gantry::libcontainer {

Result<UniqueFd> mount_target(const Beneath& root, const std::string& destination, bool directory) {
  Result<UniqueFd> found = root.open(destination, O_PATH);
  if (found) {
    struct stat there = TRY(sys::fstat(found->get()));
    struct stat top = TRY(sys::fstat(root.fd()));
    if (there.st_dev == top.st_dev && there.st_ino == top.st_ino)
      return invalid("destination: it is the root itself");
    if (S_ISDIR(there.st_mode) != directory)
      return invalid("destination: it is {}a directory in the container", directory ? "not " : "");
    return found;
  }
  if (found.error().code() != ENOENT) return found;
  if (directory) return root.make_directories(destination, 0755);
  size_t slash = destination.rfind('/');
  if (slash != std::string::npos && slash > 0)
    (void)TRY(root.make_directories(destination.substr(0, slash), 0755));
  Beneath::Parent parent = TRY(root.parent_of(destination));
  (void)TRY(sys::openat(parent.directory.get(), parent.name,
                        O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644));
  return root.open(destination, O_PATH | O_NOFOLLOW);
}

}  // namespace gantry::libcontainer

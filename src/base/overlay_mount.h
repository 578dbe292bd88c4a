// Carries out the overlay and EROFS parts of a RootfsSource with the new mount API: what comes back
// is a mount that is attached to nothing and goes with its descriptor. Thread-safe; no process, no
// namespace is made. Errors carry the kernel's own words.
#pragma once

#include "base/result.h"
#include "base/rootfs_source.h"
#include "base/unique_fd.h"

namespace gantry {

// Mounts one image (Linux 6.12: EROFS in plain files), read-only.
Result<UniqueFd> mount_erofs(const ErofsImage& image);

// Mounts the images and the overlay over them. `unsupported` when this kernel cannot be told so
// many layers this way (before Linux 6.5), or takes no image as a layer that is attached to nothing
// (before 6.15).
Result<UniqueFd> mount_overlay_detached(const RootfsSource& source);

// The same for those kernels: while the overlay is mounted, the images are attached over the
// directories that they lie in. Only for a caller in a mount namespace of its own, from which
// nothing propagates.
Result<UniqueFd> mount_overlay_attaching(const RootfsSource& source);

}  // namespace gantry

// Looking into the file system of a container that is not running (cp, export, commit): mounted for
// reading, attached to no tree, gone with its descriptor.
#pragma once

#include "base/rootfs_source.h"
#include "base/unique_fd.h"

namespace gantry::drivers {

// A directory descriptor of the merged root. Read-only and without touching work directories, so it
// does not disturb (and must not be asked to follow) a mount of the same container layer that is in
// use.
Result<UniqueFd> open_rootfs(const RootfsSource& source);

// A mount of the merged root, attached to nothing, to which others can be attached: for writing as
// the recipe says (GraphDriver::recipe(), of a container that does not run), or for reading as
// open_rootfs() does it.
enum class RootfsAccess { read, write };
Result<UniqueFd> mount_rootfs(const RootfsSource& source, RootfsAccess access);

// Mounts an overlay as the recipe says, attached to nothing. For a private use such as the probe.
Result<UniqueFd> mount_overlay(const RootfsSource& source);

}  // namespace gantry::drivers

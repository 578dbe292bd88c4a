// The words of a mount's options (config.md, "mounts"; mount(8)) sorted by what the kernel makes of
// them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace gantry::libcontainer {

enum class BindKind { none, bind, rbind };
enum class IdmapKind { none, idmap, ridmap };

struct MountOptions {
  uint64_t set = 0;            // MOUNT_ATTR_* to set on the mount
  uint64_t clear = 0;          // MOUNT_ATTR_* to clear
  uint64_t recursive_set = 0;  // on the mount and everything below it ("rro")
  uint64_t recursive_clear = 0;
  uint64_t propagation = 0;  // MS_SHARED …; 0: as it comes
  bool recursive_propagation = false;
  BindKind bind = BindKind::none;
  IdmapKind idmap = IdmapKind::none;
  bool copy_up = false;  // "tmpcopyup"
  bool remount = false;  // what is mounted there already changes
  // For the file system itself, in order: "size=64m" or a flag such as "newinstance", "sync".
  std::vector<std::string> data;
};

// Unknown words go to the file system. Contradictions are settled by the later word.
MountOptions parse_mount_options(const std::vector<std::string>& options);

// Every word with a meaning of its own: the `mountOptions` of `features`.
std::vector<std::string> known_mount_options();

}  // namespace gantry::libcontainer

// Putting an archive into a file system that somebody else may be changing meanwhile: `docker cp`
// into a container that runs.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/byte_source.h"
#include "base/result.h"

namespace gantry {

struct Owner {
  uid_t uid = 0;
  gid_t gid = 0;
};

struct ExtractOptions {
  // An error where a directory would be replaced by something else, or the other way round; without
  // it they are replaced.
  bool keep_kinds = false;
  std::optional<Owner> owner;  // of everything, in place of what the archive says
  bool set_owner = true;       // else everything belongs to whoever unpacks
  // The archive's one top entry, `from` (or everything in it, for "." and "/"), is called `to`.
  struct Rename {
    std::string from, to;
  };
  std::optional<Rename> rename;
};

// Unpacks into the directory `path` of the tree whose root is the descriptor `root` (O_PATH will
// do). Every name is resolved from `root` by descriptor, links being followed as a process would
// see them whose root that is; whatever is swapped meanwhile, nothing outside of the tree is
// touched. `scratch` is a directory of the engine's own. What was unpacked before an error stays,
// as with Docker. `invalid` names a member that leads out of `path`.
Status extract_tree(int root, const std::string& path, int scratch, ByteSource& archive,
                    const ExtractOptions& options);

}  // namespace gantry

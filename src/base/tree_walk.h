// Walking trees that somebody else may be changing meanwhile, by descriptor and never through a
// link. Thread-safe.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"

namespace gantry {

// A directory that is opened to be walked: never through a link.
inline constexpr int kOpenDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

// The stat of an entry (links not followed); nothing when there is none.
Result<std::optional<struct stat>> stat_entry(int directory, const std::string& name);

// Told of by an error of opening or reading what was removed, or made into something else, since it
// was looked at.
bool is_gone(const Error& error);

// Visits a tree depth first on an explicit stack (it may be as deep as a container liked to make
// it), siblings in byte order. `enter` sees each entry before its contents and tells whether to
// descend; the descriptors of it and of the directories above it are open until what is in them has
// been seen. `invalid` for a tree that is more than 2,048 directories deep.
enum class Descend { no, yes };
struct TreeEntry {
  int directory;
  std::string name;
  std::string path;  // without a leading slash
  struct stat st;
};
Status walk_tree(int root, const std::function<Result<Descend>(const TreeEntry&)>& enter);

}  // namespace gantry

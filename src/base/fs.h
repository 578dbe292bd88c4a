// Files and directories of the engine's own: whole-file reads and writes, atomic replacement,
// trees. For paths that a container, an image or an archive can influence, use `Beneath`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gantry::fs {

Result<std::string> read_file(const std::string& path, size_t limit = 64u << 20);
Result<std::string> read_file_at(int dirfd, const std::string& path, size_t limit = 64u << 20);
Status write_file(const std::string& path, std::string_view data, mode_t mode = 0600);
// Writes to a temporary beside `path` and renames it over: a reader sees the old or the new file,
// whole.
enum class Durability { volatile_, synced };  // synced: fsync of the file and of its directory
Status replace_file(const std::string& path, std::string_view data, mode_t mode = 0600,
                    Durability durability = Durability::volatile_);
Status replace_file_at(int dirfd, const std::string& name, std::string_view data,
                       mode_t mode = 0600, Durability durability = Durability::volatile_);
// mkdir -p. Parents that had to be made get the same mode.
Status make_directories(const std::string& path, mode_t mode = 0711);
// Removes a tree without following links and without crossing a mount point (EBUSY is an error); a
// tree that is not there is success. Descends by descriptor.
Status remove_tree(int dirfd, const std::string& name);
Status remove_tree(const std::string& path);
Result<std::vector<std::string>> list_directory(const std::string& path);  // without . and ..
Result<std::vector<std::string>> list_directory(int dirfd);
bool exists(const std::string& path);
Status sync_directory(const std::string& path);

}  // namespace gantry::fs

namespace gantry {

// A directory below which names that somebody else chose are resolved: symbolic links and ".." are
// taken as inside a chroot to it (openat2 RESOLVE_IN_ROOT), magic links are refused. Owns its
// descriptor.
class Beneath {
 public:
  explicit Beneath(UniqueFd root) : root_(std::move(root)) {}
  static Result<Beneath> open(const std::string& path);

  int fd() const { return root_.get(); }
  Result<UniqueFd> open(const std::string& path, int flags, mode_t mode = 0) const;
  // Opens the directory that holds the last component, following links on the way but not the last
  // one; `name` gets that component. For create, remove, rename and lchown of what `path` names.
  struct Parent {
    UniqueFd directory;
    std::string name;  // never empty, ".", ".." or with a slash
  };
  Result<Parent> parent_of(const std::string& path) const;
  // Makes every missing directory of `path` (mkdir -p inside the root) and opens the last one.
  Result<UniqueFd> make_directories(const std::string& path, mode_t mode) const;

 private:
  UniqueFd root_;
};

}  // namespace gantry

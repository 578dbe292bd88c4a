// The directory a layer is being unpacked to, seen together with the layers below it. All of it is
// walked by descriptor, one component at a time; overlayfs's whiteouts and opaque directories are
// honoured.
#pragma once

#include <fcntl.h>

#include <sys/stat.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/tree_walk.h"
#include "base/unique_fd.h"

namespace gantry::drivers {

inline constexpr const char* kOpaqueXattr = "trusted.overlay.opaque";

// A 0/0 character device: what overlayfs takes for "deleted below".
bool is_whiteout(const struct stat& st);
Result<bool> is_opaque(int directory);
Status make_opaque(int directory);
Status make_whiteout(int directory, const std::string& name);
// Removes the attributes that a layer may carry (overlayfs's and the engine's own stay).
Status clear_xattrs(int fd);
// Owner, mode and xattrs (overlayfs's own excepted) of one open directory or file become those of
// another.
Status copy_attributes(int from, int to);

// Layers stacked by overlayfs's rules, for reading. The descriptors are borrowed; topmost first.
class LayerStack {
 public:
  explicit LayerStack(std::vector<int> layers) : layers_(std::move(layers)) {}

  struct Found {
    struct stat st;
    UniqueFd directory;  // that holds it, in the layer where it was found
    std::string name;
  };
  // What stands at `path` (clean, links not followed); nothing when it is not there or below a
  // non-directory. The root itself is not an answer.
  Result<std::optional<Found>> find(std::string_view path) const;
  // The names in the directory `path` ("" is the root), sorted.
  Result<std::vector<std::string>> list(std::string_view path) const;
  const std::vector<int>& layers() const { return layers_; }

 private:
  // The directories that together are `path`, topmost first; empty when there is none.
  Result<std::vector<UniqueFd>> directories(std::string_view path) const;
  std::vector<int> layers_;
};

// Not thread-safe.
class LayerTree {
 public:
  // Told of each directory that make_directory() made: its descriptor and its path in the root.
  using Made = std::function<Status(int fd, const std::string& path)>;
  LayerTree(int root, std::vector<int> lower, Made made = nullptr)
      : root_(root), lower_(std::move(lower)), made_(std::move(made)) {}

  struct Directory {
    UniqueFd fd;       // readable
    std::string path;  // inside the root, without links; "" is the root
  };
  // The directory at `path` (clean): links on the way are followed as inside a chroot to the merged
  // tree. Directories that the layer lacks are made, with the mode 0755. Gives a descriptor that
  // stays valid as long as it is held.
  Result<std::shared_ptr<Directory>> make_directory(const std::string& path);
  // The same without making anything; not_found when the layer itself lacks it.
  Result<std::shared_ptr<Directory>> find_directory(const std::string& path);
  // To be called when a directory or a link was removed or replaced.
  void forget() { cache_.clear(); }
  // What the layers below have at `path`, unless a directory of this layer on the way is opaque.
  Result<std::optional<LayerStack::Found>> find_below(const std::string& path);

 private:
  enum class Missing { make, fail };
  Result<std::shared_ptr<Directory>> walk(const std::string& path, Missing missing);
  Result<std::shared_ptr<Directory>> open_root();
  Result<std::shared_ptr<Directory>> reopen(const std::string& resolved);

  int root_;
  LayerStack lower_;
  Made made_;
  std::map<std::string, std::shared_ptr<Directory>> cache_;  // by the path as asked for
};

}  // namespace gantry::drivers

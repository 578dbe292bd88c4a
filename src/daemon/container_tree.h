// A container's file system as `cp` and `export` see it, running or not: its root with its volumes
// and binds on it, mounted for us alone and attached to nothing of the host's.
//
// Whatever the container does meanwhile, a path is resolved by the kernel inside of this tree
// (openat2 RESOLVE_IN_ROOT): there is no moment at which a link that it swaps leads to the host
// (threats 14 and 17). No device can be opened through it, and for reading it is read-only.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <vector>

#include "base/fs.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "daemon/container.h"

namespace gantry::drivers {
class GraphDriver;
}

namespace gantry::daemon {

// What X-Docker-Container-Path-Stat tells.
struct PathStat {
  std::string name;
  int64_t size = 0;
  uint32_t mode = 0;  // as Go's os.FileMode
  std::string mtime;
  std::string link_target;  // of a symbolic link, resolved, absolute in the container
};

class ContainerTree {
 public:
  enum class Access { read, write };
  enum class Volumes { none, all };
  // For writing the caller holds the container's lock, so that nobody starts it meanwhile. A
  // container that is started or stopped while it is read may be read in part as it was.
  static Result<ContainerTree> open(const Container& container, drivers::GraphDriver& driver,
                                    Access access, Volumes volumes);

  // The root; for openat2(2) and the like.
  int root() const { return root_.fd(); }

  // An entry as lstat(2) finds it; a path that ends in "/" or "/." means the directory a link leads
  // to.
  struct Entry {
    UniqueFd directory;  // that holds it
    std::string name;    // there; "." for what was asked for as a directory
    std::string shown;   // what Docker calls it: the path's last component, "/" for the root
    struct stat st;
  };
  Result<Entry> find(const std::string& path) const;
  Result<PathStat> stat(const std::string& path) const;
  // `path`, all links followed, must be a directory that can be written to; gives what
  // extract_tree() takes. Errors are Docker's.
  struct Destination {
    int root;  // borrowed from the tree
    std::string path;
  };
  Result<Destination> destination(const std::string& path) const;

 private:
  // A mount whose place is not there (of a container that never ran).
  struct Unplaced {
    std::string path;
    Beneath root;
  };
  ContainerTree(UniqueFd root, std::vector<Unplaced> unplaced, bool read_only)
      : root_(std::move(root)), unplaced_(std::move(unplaced)), read_only_(read_only) {}
  // Where to look for a clean path, which becomes relative to it.
  const Beneath& base_of(std::string& clean) const;

  Beneath root_;
  std::vector<Unplaced> unplaced_;
  bool read_only_ = false;  // --read-only
};

}  // namespace gantry::daemon

template <>
struct gantry::json::Schema<gantry::daemon::PathStat> {
  using T = gantry::daemon::PathStat;
  static constexpr Field fields[] = {field<&T::name>("name"), field<&T::size>("size"),
                                     field<&T::mode>("mode"), field<&T::mtime>("mtime"),
                                     field<&T::link_target>("linkTarget")};
};

// Trees as archives.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/byte_source.h"
#include "base/result.h"
#include "base/tar.h"

namespace gantry {

// Adds entries of trees to an archive one by one, as they are then; what has gone since it was
// listed is left out, and so are sockets. Hard links among what was added are kept. overlayfs's own
// attributes are not. Not thread-safe.
class TreeArchiver {
 public:
  explicit TreeArchiver(ByteSink& out) : writer_(out) {}

  // The entry `name` of an open directory, as the member `path`; of a directory not what is in it.
  Status add(const std::string& path, int directory, const std::string& name);
  Status add_whiteout(const std::string& path);
  Status finish() { return writer_.finish(); }

 private:
  Status add_file(tar::Entry& entry, int directory, const std::string& name);
  Status read_xattrs(int fd, tar::Entry& entry);

  tar::Writer writer_;
  std::map<std::pair<dev_t, ino_t>, std::string> links_;
  // Of one file after another; empty until the first.
  std::vector<char> buffer_;
  std::vector<char> xattr_names_;
};

// A whole tree as an archive (export). `root` is an open directory.
Status write_tree(int root, ByteSink& out);
// What `name` (of one component, or ".") is in the open directory `parent`, with all that is in it,
// as an archive in which it is called `rename`. Links are not followed.
Status write_subtree(int parent, const std::string& name, const std::string& rename, ByteSink& out);

}  // namespace gantry

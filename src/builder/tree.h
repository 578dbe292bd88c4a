// The trees that COPY and ADD take files from: a build context, or the file system of a stage.
//
// Paths are relative to the tree's root, without "." and "..", empty for the root itself. Nothing
// here follows a link by itself: resolve() does, and stays within the tree whatever a link says.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_source.h"
#include "base/digest.h"
#include "base/result.h"
#include "base/tar.h"

namespace gantry::builder {

// Not thread-safe.
class Tree {
 public:
  virtual ~Tree() = default;
  // An entry as lstat(2) has it, named by its path; nothing when there is none. Never a hard link.
  virtual Result<std::optional<tar::Entry>> stat(const std::string& path) = 0;
  // The names in a directory, in byte order.
  virtual Result<std::vector<std::string>> list(const std::string& path) = 0;
  // The contents of a regular file. The tree must outlive the source.
  virtual Result<std::unique_ptr<ByteSource>> open(const std::string& path) = 0;
  // The digest of the contents of a regular file.
  virtual Result<Digest> digest(const std::string& path) = 0;
};

// Where `path` leads when all links are followed, the last one as well: a path without links. What
// is not there yet is taken as written. `invalid` for more than 255 links.
using LinkReader = std::function<Result<std::optional<tar::Entry>>(const std::string& path)>;
Result<std::string> resolve(const LinkReader& stat, std::string_view path);
Result<std::string> resolve(Tree& tree, std::string_view path);

// "a/b" and "c": "a/b/c"; either may be empty.
std::string join(std::string_view directory, std::string_view name);

}  // namespace gantry::builder

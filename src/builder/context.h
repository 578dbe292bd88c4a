// A build context: an archive that was sent or fetched, kept as a file without a name and looked
// into by an index. It is never unpacked, so no name or link in it can lead anywhere.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "builder/patterns.h"
#include "builder/tree.h"
#include "image/layer_pipeline.h"

namespace gantry::builder {

// Members that a context may have.
inline constexpr size_t kMaxContextMembers = 1u << 20;

class Context final : public Tree {
 public:
  // Without any files.
  static std::unique_ptr<Context> empty();
  // Reads the archive, plain or compressed, to its end into a file in `directory`. `check` is asked
  // now and then whether to go on. Errors: `invalid` for what is no archive, has too many members
  // or one whose name leads out of it.
  static Result<std::unique_ptr<Context>> read(ByteSource& archive, const std::string& directory,
                                               const image::LayerLimits& limits,
                                               const std::function<Status()>& check);

  // Files of the list are not there any more, nor are directories that have nothing left because
  // of it.
  void ignore(const IgnoreList& list);
  void remove(const std::string& path);
  // One regular file, by a path that may lead over links. not_found.
  Result<std::string> contents(const std::string& path, size_t limit);
  size_t size() const { return members_.size(); }

  Result<std::optional<tar::Entry>> stat(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override;
  Result<std::unique_ptr<ByteSource>> open(const std::string& path) override;
  Result<Digest> digest(const std::string& path) override;

 private:
  struct Member {
    tar::Entry entry;
    uint64_t offset = 0;  // of the contents in the file
    Digest digest;        // of a regular file
  };
  Context() = default;
  Status add(tar::Reader& reader, tar::Entry entry);
  Status add_hard_link(tar::Entry& entry);
  void add_parents(const std::string& path);
  Result<const Member*> file(const std::string& path) const;

  UniqueFd spool_;
  std::map<std::string, Member, std::less<>> members_;  // by path; the root is not among them
};

}  // namespace gantry::builder

// The tree of one layer while its index is made: names and inodes in bounded memory, whatever their
// number (SpillFile). A directory's names are a treap, so that they are found and given out in
// order without ever being sorted in memory.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "drivers/graph/spill_file.h"

namespace gantry::drivers {

using InodeId = uint32_t;  // 0: none

struct TreeInode {
  uint32_t mode = 0;  // with the file type
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t mtime_nsec = 0;
  int64_t mtime = 0;
  uint64_t size = 0;
  uint32_t device_number = 0;
  uint32_t chunk_bits = 0;
  // In the member log.
  uint64_t link_at = 0;
  uint64_t xattrs_at = 0;
  uint64_t chunks_at = 0;
  uint32_t xattrs_size = 0;
  uint32_t chunks_size = 0;
  // Directories.
  uint32_t names = 0;          // the treap
  uint32_t entry = 0;          // the name under which it was made
  InodeId parent = 0;          // the root is its own
  bool opaque = false;         // hides what is below
  bool implied = false;        // no member said how it is
  InodeId implied_before = 0;  // the directory that was made without a member before it
  // The index writer's.
  uint32_t nlink = 0;
  uint32_t ino = 0;
  InodeId next = 0;
  uint64_t place = 0;  // of the inode in the index; 0: not placed yet
  uint64_t block = 0;  // of a directory's or a long link's data, from the first data block on
};

// Not thread-safe.
class ErofsTree {
 public:
  // `directory`: where memory spills to.
  static Result<ErofsTree> create(int directory);

  InodeId root() const { return root_; }
  Result<TreeInode> inode(InodeId id) { return file_.get<TreeInode>(id); }
  Status set_inode(InodeId id, const TreeInode& inode) { return file_.put(id, inode); }
  Result<InodeId> add_inode(const TreeInode& inode);

  Result<InodeId> find(InodeId directory, std::string_view name);  // 0: not there
  // The name must not be there, and have 1 to 255 bytes. A directory's `parent` and `entry` are
  // set.
  Status link(InodeId directory, std::string_view name, InodeId inode);
  Status unlink(InodeId directory, std::string_view name);
  // In byte order. The tree's names must not change meanwhile.
  using Visitor = std::function<Status(std::string_view name, InodeId inode)>;
  Status each(InodeId directory, const Visitor& visit);
  // Forgets the names for which `keep` says false; they may not be linked again.
  using Filter = std::function<Result<bool>(std::string_view name, InodeId inode)>;
  Status filter(InodeId directory, const Filter& keep);
  // The path of a directory, "" for the root.
  Result<std::string> path(InodeId directory);

 private:
  struct Entry {
    uint32_t left = 0;
    uint32_t right = 0;
    uint32_t priority = 0;
    InodeId inode = 0;
    uint32_t name_size = 0;
  };
  // Where a link of a treap stands.
  struct Link {
    enum class Kind { root, left, right } kind;
    uint32_t id;  // of the directory's inode, or of the entry
  };
  explicit ErofsTree(SpillFile file) : file_(std::move(file)) {}
  Status set(const Link& link, uint32_t entry);
  using EntryVisitor =
      std::function<Status(uint32_t id, const Entry& entry, std::string_view name)>;
  Status each_entry(InodeId directory, const EntryVisitor& visit);
  Result<int> compare(uint32_t entry, std::string_view name);
  uint32_t random();

  SpillFile file_;
  InodeId root_ = 0;
  uint64_t random_ = 0;
};

}  // namespace gantry::drivers

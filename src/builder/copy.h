// What COPY and ADD copy, and where to: Docker's rules for wildcards, directories, trailing slashes
// and links, over trees that are only looked at. The result is a layer archive.
//
// Two steps: find_copies() chooses among the sources and needs nothing of the target, so that its
// digest() can be asked for in the cache; write_copies() looks at the target's file system and
// writes.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/byte_source.h"
#include "base/digest.h"
#include "base/result.h"
#include "base/tar.h"
#include "builder/tree.h"

namespace gantry::builder {

struct CopySpec {
  std::string instruction = "COPY";   // for messages
  std::vector<std::string> sources;   // expanded; of a tree
  std::string destination;            // absolute and clean
  bool into_directory = false;        // it was written with a slash at its end
  std::vector<std::string> exclude;
  bool parents = false;               // the directories of the sources as well
  bool from_context = true;           // no devices or pipes, everything belongs to root
};

// One file, or one directory with what is in it.
struct CopyTop {
  std::string name;      // what it is called within a directory
  bool contents = false;  // what is in the directory is copied, not the directory
  struct Item {
    std::string source;    // in the tree
    std::string relative;  // to the target: "" for the top itself
    tar::Entry entry;
  };
  std::vector<Item> items;  // parents before what is in them
};
// Errors in Docker's words: `not_found` for a source that is not there, `invalid` for several
// sources without a directory to copy into.
Result<std::vector<CopyTop>> find_copies(Tree& tree, const CopySpec& spec);
// Of names, kinds, modes, owners (unless from_context) and contents; never of times.
Result<Digest> digest_copies(Tree& tree, const CopySpec& spec, const std::vector<CopyTop>& tops);

struct CopyOwner {
  uid_t uid = 0;
  gid_t gid = 0;
};
struct CopyTarget {
  LinkReader stat;                  // of the file system that is copied into
  std::optional<CopyOwner> owner;   // of everything, and of directories that are made
  std::string chmod;                // "": modes stay (see changed_mode())
  int64_t latest = 0;               // seconds: no time is later than this
  bool exact_times = false;         // every time is `latest`
};

// Writes members of a layer over a file system. Directories that are missing are made (0755); those
// that are there are left out. Not thread-safe.
class CopyWriter {
 public:
  CopyWriter(ByteSink& out, CopyTarget target) : writer_(out), target_(std::move(target)) {}
  Status copies(Tree& tree, const CopySpec& spec, const std::vector<CopyTop>& tops);
  // A file with these contents, as one source more.
  Status file(const CopySpec& spec, const std::string& name, mode_t mode, std::string_view text);
  Status file(const CopySpec& spec, const std::string& name, mode_t mode, uint64_t size,
              ByteSource& contents);
  // The members of an archive, with what they say of owners and modes, below the destination.
  Status unpack(const CopySpec& spec, ByteSource& archive);
  // The destination, as a directory.
  Status directory(const std::string& path);
  void set_exact_times(bool exact) { target_.exact_times = exact; }
  Status finish() { return writer_.finish(); }

 private:
  Result<std::string> target_of(const CopySpec& spec, const std::string& name);
  Status make_directories(const std::string& path);
  Result<std::string> real_directory(const std::string& path);
  Result<std::optional<tar::Entry>> stat(const std::string& path);
  Status begin(tar::Entry entry, const std::string& path);
  tar::Entry stamped(tar::Entry entry) const;
  Status set_attributes(tar::Entry& entry) const;

  tar::Writer writer_;
  CopyTarget target_;
  std::map<std::string, std::string> resolved_;  // directories, without links
  std::map<std::string, tar::Entry> made_;  // what the archive has so far, without contents
};

// "0644", "u=rwX,go=rX" and the like, for an entry of that mode and kind. `invalid`.
Result<mode_t> changed_mode(std::string_view text, mode_t mode, bool directory);

}  // namespace gantry::builder

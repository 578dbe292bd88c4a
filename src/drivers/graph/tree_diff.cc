#include "drivers/graph/tree_diff.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>

#include "base/fs.h"
#include "base/sys.h"
#include "base/tree_archive.h"
#include "base/tree_walk.h"
#include "drivers/graph/layer_tree.h"

namespace gantry::drivers {
namespace {

bool same_attributes(const struct stat& a, const struct stat& b) {
  return a.st_mode == b.st_mode && a.st_uid == b.st_uid && a.st_gid == b.st_gid &&
         a.st_rdev == b.st_rdev && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
         a.st_mtim.tv_nsec == b.st_mtim.tv_nsec && (S_ISDIR(a.st_mode) || a.st_size == b.st_size);
}

// Tells changes, and before each the directories on the way to it that are the same as they were:
// as Docker counts, what has something changed in it is changed itself.
class Reporter {
 public:
  explicit Reporter(const ChangeVisitor& visit) : visit_(visit) {}

  Status changed(ChangeKind kind, const TreeEntry& entry) {
    TRY(tell_way(entry.path));
    return tell(kind, entry);
  }
  // A directory that is as it was; told when something in it is not.
  void unchanged(const TreeEntry& directory) {
    leave(directory.path);
    way_.push_back(directory);
  }
  // What is gone from the directory `parent`, which has been told of (as changed or unchanged).
  Status deleted(const std::string& parent, const std::string& name) {
    std::string path = parent.empty() ? name : parent + "/" + name;
    TRY(tell_way(path));
    return visit_(Change{ChangeKind::deleted, "/" + path});
  }

 private:
  Status tell(ChangeKind kind, const TreeEntry& entry) {
    Change change{kind, "/" + entry.path};
    if (kind != ChangeKind::deleted) {
      change.directory_fd = entry.directory;
      change.name = entry.name;
    }
    return visit_(change);
  }
  // Forgets the directories that `path` is not in.
  void leave(const std::string& path) {
    auto holds = [&](const std::string& directory) {
      return path.size() > directory.size() && path.starts_with(directory) &&
             path[directory.size()] == '/';
    };
    while (!way_.empty() && !holds(way_.back().path)) way_.pop_back();
  }
  Status tell_way(const std::string& path) {
    leave(path);
    for (const TreeEntry& directory : way_) TRY(tell(ChangeKind::modified, directory));
    way_.clear();
    return {};
  }

  const ChangeVisitor& visit_;
  std::vector<TreeEntry> way_;  // their descriptors are the walk's, which is below them
};

}  // namespace

Status diff_overlay(int upper, const std::vector<int>& lower, const ChangeVisitor& visit) {
  LayerStack below(lower);
  Reporter report(visit);
  return walk_tree(upper, [&](const TreeEntry& entry) -> Result<Descend> {
    std::optional<LayerStack::Found> was = TRY(below.find(entry.path));
    if (is_whiteout(entry.st)) {
      if (was) TRY(report.changed(ChangeKind::deleted, entry));
      return Descend::no;
    }
    bool both_directories = was && S_ISDIR(was->st.st_mode) && S_ISDIR(entry.st.st_mode);
    if (both_directories && same_attributes(was->st, entry.st))
      report.unchanged(entry);
    else
      TRY(report.changed(was ? ChangeKind::modified : ChangeKind::added, entry));
    if (!both_directories) return Descend::yes;
    UniqueFd directory = TRY(sys::openat(entry.directory, entry.name, kOpenDirectory));
    bool opaque = TRY(is_opaque(directory.get()));
    if (!opaque) return Descend::yes;
    std::vector<std::string> names = TRY(below.list(entry.path));
    for (const std::string& name : names) {
      std::optional<struct stat> now = TRY(stat_entry(directory.get(), name));
      if (!now) TRY(report.deleted(entry.path, name));
    }
    return Descend::yes;
  });
}

Status diff_trees(int before, int now, int ignored, const ChangeVisitor& visit) {
  LayerStack old_tree({before});
  LayerStack own_tree({ignored});
  LayerStack new_tree({now});
  Reporter report(visit);
  auto gone = [&](const std::string& path) -> Status {
    std::vector<std::string> names = TRY(old_tree.list(path));
    for (const std::string& name : names) {
      std::string child = path.empty() ? name : path + "/" + name;
      std::optional<LayerStack::Found> found = TRY(new_tree.find(child));
      if (!found) TRY(report.deleted(path, name));
    }
    return {};
  };
  TRY(gone(""));
  return walk_tree(now, [&](const TreeEntry& entry) -> Result<Descend> {
    std::optional<LayerStack::Found> was = TRY(old_tree.find(entry.path));
    if (!was) {
      std::optional<LayerStack::Found> own = TRY(own_tree.find(entry.path));
      bool engines = own && (own->st.st_mode & S_IFMT) == (entry.st.st_mode & S_IFMT) &&
                     (S_ISDIR(entry.st.st_mode) || entry.st.st_size == own->st.st_size);
      if (!engines)
        TRY(report.changed(ChangeKind::added, entry));
      else if (S_ISDIR(entry.st.st_mode))
        report.unchanged(entry);
      return Descend::yes;
    }
    bool both_directories = S_ISDIR(was->st.st_mode) && S_ISDIR(entry.st.st_mode);
    if (!same_attributes(was->st, entry.st))
      TRY(report.changed(ChangeKind::modified, entry));
    else if (both_directories)
      report.unchanged(entry);
    if (both_directories) TRY(gone(entry.path));
    return Descend::yes;
  });
}

Result<uint64_t> diff_size(GraphDriver& driver, const std::string& id) {
  uint64_t size = 0;
  auto add = [&](const Change& change) -> Status {
    if (change.directory_fd == -1) return {};
    std::optional<struct stat> st = TRY(stat_entry(change.directory_fd, change.name));
    if (st && S_ISREG(st->st_mode)) size += static_cast<uint64_t>(st->st_size);
    return {};
  };
  TRY(driver.diff(id, add));
  return size;
}

Status write_diff(GraphDriver& driver, const std::string& id, ByteSink& out) {
  TreeArchiver archive(out);
  TRY(driver.diff(id, [&](const Change& change) -> Status {
    std::string path = change.path.substr(1);
    if (change.kind == ChangeKind::deleted) return archive.add_whiteout(path);
    return archive.add(path, change.directory_fd, change.name);
  }));
  return archive.finish();
}

}  // namespace gantry::drivers

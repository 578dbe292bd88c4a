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
#include "drivers/graph/layer_tree.h"
#include "drivers/graph/tar.h"

namespace gantry::drivers {
namespace {

bool same_attributes(const struct stat& a, const struct stat& b) {
  return a.st_mode == b.st_mode && a.st_uid == b.st_uid && a.st_gid == b.st_gid &&
         a.st_rdev == b.st_rdev && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
         a.st_mtim.tv_nsec == b.st_mtim.tv_nsec && (S_ISDIR(a.st_mode) || a.st_size == b.st_size);
}

Result<std::vector<std::string>> sorted_names(int directory) {
  std::vector<std::string> names = TRY(fs::list_directory(directory));
  std::sort(names.begin(), names.end());
  return names;
}

// Visits a tree depth first on an explicit stack (it may be as deep as a container liked to make
// it). `enter` sees each entry before its contents and tells whether to descend.
enum class Descend { no, yes };
struct TreeEntry {
  int directory;
  std::string name;
  std::string path;  // without a leading slash
  struct stat st;
};
Status walk_tree(int root, const std::function<Result<Descend>(const TreeEntry&)>& enter) {
  struct Level {
    UniqueFd fd;
    std::vector<std::string> names;  // descending, so that the next one is at the back
    std::string path;
  };
  std::vector<Level> levels;
  auto open = [&](int parent, const std::string& name, std::string path) -> Status {
    UniqueFd fd = TRY(sys::openat(parent, name, kOpenDirectory));
    std::vector<std::string> names = TRY(sorted_names(fd.get()));
    std::reverse(names.begin(), names.end());
    levels.push_back({std::move(fd), std::move(names), std::move(path)});
    return {};
  };
  TRY(open(root, ".", ""));
  while (!levels.empty()) {
    Level& level = levels.back();
    if (level.names.empty()) {
      levels.pop_back();
      continue;
    }
    TreeEntry entry;
    entry.directory = level.fd.get();
    entry.name = std::move(level.names.back());
    level.names.pop_back();
    entry.path = level.path.empty() ? entry.name : level.path + "/" + entry.name;
    std::optional<struct stat> st = TRY(stat_entry(entry.directory, entry.name));
    if (!st) continue;  // a running container removed it meanwhile
    entry.st = *st;
    Descend descend = TRY(enter(entry));
    if (descend == Descend::yes && S_ISDIR(st->st_mode))
      TRY(open(entry.directory, entry.name, entry.path));
  }
  return {};
}

Status report(const ChangeVisitor& visit, ChangeKind kind, const TreeEntry& entry) {
  Change change{kind, "/" + entry.path};
  if (kind != ChangeKind::deleted) {
    change.directory_fd = entry.directory;
    change.name = entry.name;
  }
  return visit(change);
}

}  // namespace

Status diff_overlay(int upper, const std::vector<int>& lower, const ChangeVisitor& visit) {
  LayerStack below(lower);
  return walk_tree(upper, [&](const TreeEntry& entry) -> Result<Descend> {
    std::optional<LayerStack::Found> was = TRY(below.find(entry.path));
    if (is_whiteout(entry.st)) {
      if (was) TRY(report(visit, ChangeKind::deleted, entry));
      return Descend::no;
    }
    bool both_directories = was && S_ISDIR(was->st.st_mode) && S_ISDIR(entry.st.st_mode);
    if (!both_directories || !same_attributes(was->st, entry.st))
      TRY(report(visit, was ? ChangeKind::modified : ChangeKind::added, entry));
    if (!both_directories) return Descend::yes;
    UniqueFd directory = TRY(sys::openat(entry.directory, entry.name, kOpenDirectory));
    bool opaque = TRY(is_opaque(directory.get()));
    if (!opaque) return Descend::yes;
    std::vector<std::string> names = TRY(below.list(entry.path));
    for (const std::string& name : names) {
      std::optional<struct stat> now = TRY(stat_entry(directory.get(), name));
      if (!now) TRY(visit(Change{ChangeKind::deleted, "/" + entry.path + "/" + name}));
    }
    return Descend::yes;
  });
}

Status diff_trees(int before, int now, int ignored, const ChangeVisitor& visit) {
  LayerStack old_tree({before});
  LayerStack own_tree({ignored});
  LayerStack new_tree({now});
  auto gone = [&](const std::string& path) -> Status {
    std::vector<std::string> names = TRY(old_tree.list(path));
    for (const std::string& name : names) {
      std::string child = path.empty() ? name : path + "/" + name;
      std::optional<LayerStack::Found> found = TRY(new_tree.find(child));
      if (!found) TRY(visit(Change{ChangeKind::deleted, "/" + child}));
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
      if (!engines) TRY(report(visit, ChangeKind::added, entry));
      return Descend::yes;
    }
    bool both_directories = S_ISDIR(was->st.st_mode) && S_ISDIR(entry.st.st_mode);
    if (!same_attributes(was->st, entry.st)) TRY(report(visit, ChangeKind::modified, entry));
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

namespace {

class TreeArchiver {
 public:
  explicit TreeArchiver(ByteSink& out) : writer_(out) {}

  Status add(const std::string& path, int directory, const std::string& name) {
    std::optional<struct stat> st = TRY(stat_entry(directory, name));
    if (!st || S_ISSOCK(st->st_mode)) return {};
    tar::Entry entry;
    entry.path = path;
    entry.mode = st->st_mode & 07777;
    entry.uid = st->st_uid;
    entry.gid = st->st_gid;
    entry.mtime = st->st_mtim;
    if (!S_ISDIR(st->st_mode) && st->st_nlink > 1) {
      auto [known, fresh] = links_.try_emplace({st->st_dev, st->st_ino}, path);
      if (!fresh) {
        entry.type = tar::Type::hardlink;
        entry.link = known->second;
        return writer_.begin(entry);
      }
    }
    switch (st->st_mode & S_IFMT) {
      case S_IFLNK:
        entry.type = tar::Type::symlink;
        entry.link = TRY(sys::readlinkat(directory, name));
        break;
      case S_IFCHR:
      case S_IFBLK:
        entry.type = S_ISCHR(st->st_mode) ? tar::Type::char_device : tar::Type::block_device;
        entry.major = major(st->st_rdev);
        entry.minor = minor(st->st_rdev);
        break;
      case S_IFIFO:
        entry.type = tar::Type::fifo;
        break;
      case S_IFDIR:
        entry.type = tar::Type::directory;
        break;
      default:
        return add_file(entry, directory, name);
    }
    if (S_ISDIR(st->st_mode)) {
      UniqueFd fd = TRY(sys::openat(directory, name, kOpenDirectory));
      TRY(read_xattrs(fd.get(), entry));
    }
    return writer_.begin(entry);
  }
  Status add_whiteout(const std::string& path) {
    size_t slash = path.rfind('/');
    tar::Entry entry;
    entry.path = slash == std::string::npos
                     ? ".wh." + path
                     : path.substr(0, slash + 1) + ".wh." + path.substr(slash + 1);
    return writer_.begin(entry);
  }
  Status finish() { return writer_.finish(); }

 private:
  // O_NONBLOCK: what was a file a moment ago may be a FIFO now.
  Status add_file(tar::Entry& entry, int directory, const std::string& name) {
    UniqueFd file = TRY(sys::openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    struct stat st = TRY(sys::fstat(file.get()));
    if (!S_ISREG(st.st_mode)) return {};
    entry.size = static_cast<uint64_t>(st.st_size);
    TRY(read_xattrs(file.get(), entry));
    TRY(writer_.begin(entry));
    std::vector<char> buffer(256 << 10);
    for (uint64_t left = entry.size; left > 0;) {
      size_t part = static_cast<size_t>(std::min<uint64_t>(left, buffer.size()));
      size_t got = TRY(sys::read(file.get(), buffer.data(), part));
      if (got == 0) {  // it shrank while being read: the header promised more
        std::fill_n(buffer.begin(), part, '\0');
        got = part;
      }
      TRY(writer_.write({buffer.data(), got}));
      left -= got;
    }
    return {};
  }
  Status read_xattrs(int fd, tar::Entry& entry) {
    char names[8192];
    ssize_t size = ::flistxattr(fd, names, sizeof names);
    if (size <= 0) return {};
    std::string value(64 << 10, '\0');
    for (const char* name = names; name < names + size; name += std::strlen(name) + 1) {
      if (std::string_view(name).starts_with("trusted.overlay.")) continue;
      ssize_t length = ::fgetxattr(fd, name, value.data(), value.size());
      if (length >= 0)
        entry.xattrs.emplace_back(name, value.substr(0, static_cast<size_t>(length)));
    }
    return {};
  }

  tar::Writer writer_;
  std::map<std::pair<dev_t, ino_t>, std::string> links_;
};

}  // namespace

Status write_diff(GraphDriver& driver, const std::string& id, ByteSink& out) {
  TreeArchiver archive(out);
  TRY(driver.diff(id, [&](const Change& change) -> Status {
    std::string path = change.path.substr(1);
    if (change.kind == ChangeKind::deleted) return archive.add_whiteout(path);
    return archive.add(path, change.directory_fd, change.name);
  }));
  return archive.finish();
}

Status write_tree(int root, ByteSink& out) {
  TreeArchiver archive(out);
  auto enter = [&](const TreeEntry& entry) -> Result<Descend> {
    TRY(archive.add(entry.path, entry.directory, entry.name));
    return Descend::yes;
  };
  TRY(walk_tree(root, enter));
  return archive.finish();
}

}  // namespace gantry::drivers

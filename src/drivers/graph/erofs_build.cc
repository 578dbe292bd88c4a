// Applies the members of a layer to a tree, in their order and by the same rules by which unpack.cc
// makes files of them.
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <deque>
#include <map>

#include "base/sys.h"
#include "drivers/graph/erofs_index.h"
#include "drivers/graph/erofs_layer.h"

namespace gantry::drivers {
namespace {

constexpr int kMaxFollowed = 40;  // links, as path_resolution(7)
constexpr size_t kMaxName = 255;
constexpr size_t kKnownDirectories = 512;

std::pair<std::string, std::string> split_last(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

void prepend_parts(std::deque<std::string>& todo, std::string_view path) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < path.size();) {
    size_t end = std::min(path.find('/', at), path.size());
    if (end > at) parts.emplace_back(path.substr(at, end - at));
    at = end + 1;
  }
  todo.insert(todo.begin(), parts.begin(), parts.end());
}

class IndexBuilder {
 public:
  IndexBuilder(ErofsTree& tree, int log, std::vector<int> lower)
      : tree_(tree), log_(log), lower_fds_(lower), lower_(std::move(lower)) {}

  Status run() {
    log_end_ = static_cast<uint64_t>(TRY(sys::fstat(log_)).st_size);
    MemberLogReader reader(log_);
    for (;;) {
      std::optional<LoggedMember> member = TRY(reader.next());
      if (!member) break;
      TRY(apply(*member).context("layer member \"{}\"", member->member.path.substr(0, 256)));
    }
    if (root_opaque_) TRY(hide_below_root());
    if (whiteout_ != 0) TRY(drop_vain_whiteouts());
    return adopt_attributes();
  }

 private:
  enum class Missing { make, fail };

  bool is_whiteout(const TreeInode& inode) const {
    return S_ISCHR(inode.mode) && inode.device_number == 0;
  }

  Result<std::optional<LayerStack::Found>> find_below(InodeId directory, const std::string& path) {
    std::optional<LayerStack::Found> nothing;
    if (lower_fds_.empty()) return nothing;
    for (InodeId at = directory; at != tree_.root();) {
      TreeInode inode = TRY(tree_.inode(at));
      if (inode.opaque) return nothing;
      at = inode.parent;
    }
    return lower_.find(path);
  }

  Result<std::string> link_target(const TreeInode& inode) {
    std::string out(inode.size, '\0');
    size_t got = TRY(sys::pread(log_, out.data(), out.size(), static_cast<off_t>(inode.link_at)));
    if (got != out.size()) return internal("the list of a layer's members ends early");
    return out;
  }

  Result<InodeId> make_implied(InodeId parent, const std::string& name) {
    TreeInode directory;
    directory.mode = S_IFDIR | 0755;
    directory.implied = true;
    directory.implied_before = last_implied_;
    InodeId id = TRY(tree_.add_inode(directory));
    TRY(tree_.link(parent, name, id));
    last_implied_ = id;
    return id;
  }

  // The directory at `path`; links on the way are followed as inside a chroot to the merged tree.
  Result<InodeId> walk(const std::string& path, Missing missing) {
    auto known = known_.find(path);
    if (known != known_.end()) return known->second;
    std::deque<std::string> todo;
    prepend_parts(todo, path);
    InodeId current = tree_.root();
    std::string here;
    int links = 0;
    auto follow = [&](const std::string& target) -> Status {
      if (++links > kMaxFollowed) return errno_error(ELOOP, "{}", path);
      prepend_parts(todo, target);
      if (!target.starts_with('/')) return {};
      current = tree_.root();
      here.clear();
      return {};
    };
    while (!todo.empty()) {
      std::string part = std::move(todo.front());
      todo.pop_front();
      if (part == ".") continue;
      if (part == "..") {
        TreeInode inode = TRY(tree_.inode(current));
        if (current != tree_.root()) current = inode.parent;
        here = split_last(here).first;
        continue;
      }
      std::string child_path = here.empty() ? part : here + "/" + part;
      if (part.size() > kMaxName || child_path.size() >= PATH_MAX)
        return errno_error(ENAMETOOLONG, "{}", path);
      InodeId found = TRY(tree_.find(current, part));
      TreeInode inode;
      if (found != 0) inode = TRY(tree_.inode(found));
      bool deleted = found != 0 && is_whiteout(inode);
      if (found != 0 && S_ISLNK(inode.mode)) {
        std::string target = TRY(link_target(inode));
        TRY(follow(target));
        continue;
      }
      if (found != 0 && S_ISDIR(inode.mode)) {
        current = found;
        here = std::move(child_path);
        continue;
      }
      if (found != 0 && !deleted) return errno_error(ENOTDIR, "{}", child_path);
      if (!deleted) {
        std::optional<LayerStack::Found> below = TRY(find_below(current, child_path));
        if (below && S_ISLNK(below->st.st_mode)) {
          std::string target = TRY(sys::readlinkat(below->directory.get(), below->name));
          TRY(follow(target));
          continue;
        }
      }
      if (missing == Missing::fail) return errno_error(ENOENT, "{}", child_path);
      if (deleted) TRY(tree_.unlink(current, part));
      current = TRY(make_implied(current, part));
      if (deleted) TRY(make_opaque_here(current));
      here = std::move(child_path);
    }
    if (missing == Missing::make) {
      if (known_.size() >= kKnownDirectories) known_.clear();
      known_.emplace(path, current);
    }
    return current;
  }

  Status make_opaque_here(InodeId id) {
    TreeInode inode = TRY(tree_.inode(id));
    inode.opaque = true;
    return tree_.set_inode(id, inode);
  }

  Status apply(const LoggedMember& member) {
    switch (member.member.what) {
      case Member::What::nothing:
        return {};
      case Member::What::root:
        return describe_directory(tree_.root(), member);
      case Member::What::opaque: {
        InodeId directory = TRY(walk(member.member.path, Missing::make));
        if (directory != tree_.root()) return make_opaque_here(directory);
        root_opaque_ = true;
        return {};
      }
      case Member::What::whiteout: {
        auto [parent, name] = split_last(member.member.path);
        InodeId directory = TRY(walk(parent, Missing::make));
        return hide(directory, name);
      }
      case Member::What::file:
        return create(member);
    }
    return {};
  }

  // Hides what is below only: what this archive itself brought stays, whichever came first.
  Status hide(InodeId directory, const std::string& name) {
    if (name.size() > kMaxName) return errno_error(ENAMETOOLONG, "{}", name.substr(0, 64));
    InodeId there = TRY(tree_.find(directory, name));
    if (there != 0) {
      TreeInode inode = TRY(tree_.inode(there));
      return S_ISDIR(inode.mode) ? make_opaque_here(there) : Status();
    }
    if (whiteout_ == 0) {
      TreeInode whiteout;
      whiteout.mode = S_IFCHR;
      whiteout_ = TRY(tree_.add_inode(whiteout));
    }
    return tree_.link(directory, name, whiteout_);
  }

  Status hide_below_root() {
    std::vector<std::string> names = TRY(lower_.list(""));
    for (const std::string& name : names) TRY(hide(tree_.root(), name));
    return {};
  }

  // Whiteouts of nothing: in a directory that no other layer has, overlayfs would list them.
  Status drop_vain_whiteouts() {
    InodeId last = tree_.root();
    for (InodeId id = tree_.root(); id != 0;) {
      std::string path = TRY(tree_.path(id));
      TRY(tree_.filter(id, [&](std::string_view name, InodeId child) -> Result<bool> {
        if (child == whiteout_) {
          std::optional<LayerStack::Found> below = TRY(
              find_below(id, path.empty() ? std::string(name) : fmt::format("{}/{}", path, name)));
          return below.has_value();
        }
        TreeInode inode = TRY(tree_.inode(child));
        if (!S_ISDIR(inode.mode)) return true;
        TRY(set_next(last, child));
        last = child;
        return true;
      }));
      InodeId next = TRY(tree_.inode(id)).next;
      TRY(set_next(id, 0));
      id = next;
    }
    return {};
  }

  Status set_next(InodeId id, InodeId next) {
    TreeInode inode = TRY(tree_.inode(id));
    inode.next = next;
    return tree_.set_inode(id, inode);
  }

  static void describe(TreeInode& inode, const LoggedMember& member) {
    inode.uid = member.uid;
    inode.gid = member.gid;
    inode.mtime = member.mtime;
    inode.mtime_nsec = member.mtime_nsec;
    inode.xattrs_at = member.xattrs_at;
    inode.xattrs_size = static_cast<uint32_t>(member.xattrs.size());
  }

  Status describe_directory(InodeId id, const LoggedMember& member) {
    TreeInode inode = TRY(tree_.inode(id));
    inode.mode = S_IFDIR | member.mode;
    inode.implied = false;
    describe(inode, member);
    return tree_.set_inode(id, inode);
  }

  Status create(const LoggedMember& member) {
    auto [parent, name] = split_last(member.member.path);
    InodeId directory = TRY(walk(parent, Missing::make));
    if (name.size() > kMaxName) return errno_error(ENAMETOOLONG, "{}", name.substr(0, 64));
    InodeId there = TRY(tree_.find(directory, name));
    bool is_directory = member.type == tar::Type::directory;
    bool was_whiteout = false;
    if (there != 0) {
      TreeInode old = TRY(tree_.inode(there));
      was_whiteout = is_whiteout(old);
      if (member.type == tar::Type::hardlink && tar::clean_path(member.link) == member.member.path)
        return {};  // a link to itself, as some writers make
      if (is_directory && S_ISDIR(old.mode)) return describe_directory(there, member);
      if (S_ISDIR(old.mode) || S_ISLNK(old.mode)) known_.clear();
      TRY(tree_.unlink(directory, name));
    }
    if (member.type == tar::Type::hardlink) return create_hardlink(member, directory, name);
    TreeInode inode;
    describe(inode, member);
    inode.mode = member.mode | type_bits(member.type);
    if (member.type == tar::Type::symlink) inode.mode = S_IFLNK | 0777;
    inode.size = member.size;
    inode.device_number = member.device_number;
    inode.chunk_bits = member.chunk_bits;
    inode.link_at = member.link_at;
    inode.chunks_at = member.chunks_at;
    inode.chunks_size = static_cast<uint32_t>(member.chunks.size());
    inode.opaque = is_directory && was_whiteout;
    InodeId id = TRY(tree_.add_inode(inode));
    return tree_.link(directory, name, id);
  }

  static uint32_t type_bits(tar::Type type) {
    switch (type) {
      case tar::Type::char_device:
        return S_IFCHR;
      case tar::Type::block_device:
        return S_IFBLK;
      case tar::Type::directory:
        return S_IFDIR;
      case tar::Type::fifo:
        return S_IFIFO;
      default:
        return S_IFREG;
    }
  }

  Status create_hardlink(const LoggedMember& member, InodeId directory, const std::string& name) {
    std::optional<std::string> target = tar::clean_path(member.link);
    if (!target || target->empty())
      return invalid("the hard link's target \"{}\" is outside of the layer", member.link);
    auto [parent, last] = split_last(*target);
    InodeId holder = TRY(walk(parent, Missing::fail).context("hard link to \"{}\"", member.link));
    InodeId id = TRY(tree_.find(holder, last));
    TreeInode inode;
    if (id != 0) inode = TRY(tree_.inode(id));
    if (id == 0 || is_whiteout(inode))
      return invalid("hard link to \"{}\", which is not in this layer", member.link);
    if (S_ISDIR(inode.mode)) return invalid("hard link to the directory \"{}\"", member.link);
    return tree_.link(directory, name, id);
  }

  // Directories that the archive left out are as they are below.
  Status adopt_attributes() {
    if (lower_fds_.empty()) return {};
    TreeInode root = TRY(tree_.inode(tree_.root()));
    if (root.implied) {
      UniqueFd original = TRY(sys::openat(lower_fds_.front(), ".", kOpenDirectory));
      TRY(adopt(tree_.root(), root, original.get()));
    }
    for (InodeId id = last_implied_; id != 0;) {
      TreeInode inode = TRY(tree_.inode(id));
      InodeId before = inode.implied_before;
      if (inode.implied && !inode.opaque) {
        std::string path = TRY(tree_.path(id));
        std::optional<LayerStack::Found> below = TRY(find_below(inode.parent, path));
        if (below && S_ISDIR(below->st.st_mode)) {
          UniqueFd original = TRY(sys::openat(below->directory.get(), below->name, kOpenDirectory));
          TRY(adopt(id, inode, original.get()));
        }
      }
      id = before;
    }
    return {};
  }

  Status adopt(InodeId id, TreeInode& inode, int original) {
    struct stat st = TRY(sys::fstat(original));
    inode.mode = S_IFDIR | (st.st_mode & 07777);
    inode.uid = st.st_uid;
    inode.gid = st.st_gid;
    inode.mtime = st.st_mtim.tv_sec;
    inode.mtime_nsec = static_cast<uint32_t>(st.st_mtim.tv_nsec);
    std::vector<std::pair<std::string, std::string>> xattrs = TRY(read_xattrs(original));
    std::string left_out;
    std::string encoded = TRY(encode_xattrs(xattrs, tar::Type::directory, left_out));
    inode.xattrs_at = log_end_;
    inode.xattrs_size = static_cast<uint32_t>(encoded.size());
    TRY(sys::pwrite_all(log_, encoded, static_cast<off_t>(log_end_)));
    log_end_ += encoded.size();
    return tree_.set_inode(id, inode);
  }

  static Result<std::vector<std::pair<std::string, std::string>>> read_xattrs(int fd) {
    std::vector<std::pair<std::string, std::string>> out;
    std::string names(64 << 10, '\0');  // XATTR_LIST_MAX
    ssize_t size = ::flistxattr(fd, names.data(), names.size());
    if (size == -1 && errno == EOPNOTSUPP) return out;
    if (size == -1) return error_from_errno(errno, "flistxattr");
    std::string value(64 << 10, '\0');
    for (size_t at = 0; at < static_cast<size_t>(size);) {
      std::string name = names.c_str() + at;
      at += name.size() + 1;
      if (name.starts_with("trusted.overlay.")) continue;
      ssize_t length = ::fgetxattr(fd, name.c_str(), value.data(), value.size());
      if (length == -1) return errno_error(errno, "fgetxattr {}", name);
      out.emplace_back(std::move(name), value.substr(0, static_cast<size_t>(length)));
    }
    return out;
  }

  ErofsTree& tree_;
  int log_;
  uint64_t log_end_ = 0;
  std::vector<int> lower_fds_;
  LayerStack lower_;
  std::map<std::string, InodeId> known_;  // directories by the path as asked for
  InodeId last_implied_ = 0;
  InodeId whiteout_ = 0;
  bool root_opaque_ = false;
};

}  // namespace

Result<IndexedRoot> make_index(int directory, const std::string& id, std::vector<int> lower,
                               int out) {
  UniqueFd log = TRY(sys::openat(directory, kLogName, O_RDWR));
  ErofsTree tree = TRY(ErofsTree::create(directory));
  TRY(IndexBuilder(tree, log.get(), std::move(lower)).run());
  ErofsDevices devices;
  devices.id = id;
  devices.tar_size = static_cast<uint64_t>(TRY(sys::fstatat(directory, kTarName)).st_size);
  if (Result<struct stat> side = sys::fstatat(directory, kSideName); side)
    devices.side_size = static_cast<uint64_t>(side->st_size);
  TRY(write_erofs_index(tree, log.get(), devices, out));
  TreeInode root = TRY(tree.inode(tree.root()));
  return IndexedRoot{root.mode & 07777, root.uid, root.gid};
}

}  // namespace gantry::drivers

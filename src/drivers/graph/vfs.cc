// vfs: every layer and every container is a whole copy. Works on any file system; for where
// overlayfs does not.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <cstring>
#include <map>

#include "base/fs.h"
#include "base/sys.h"
#include "drivers/graph/layer_directories.h"
#include "drivers/graph/layer_files.h"
#include "drivers/graph/layer_tree.h"
#include "drivers/graph/tree_diff.h"

namespace gantry::drivers {
namespace {

Status copy_times(const struct stat& st, int directory, const std::string& name) {
  const timespec times[2] = {st.st_atim, st.st_mtim};
  if (::utimensat(directory, name.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0) return {};
  return errno_error(errno, "utimensat {}", name);
}

// Of what cannot be opened: links and devices. The paths go through a descriptor of ours and one
// further component, which is not followed.
Status copy_xattrs_at(int from, int to, const std::string& name) {
  std::string source = fmt::format("/proc/self/fd/{}/{}", from, name);
  std::string target = fmt::format("/proc/self/fd/{}/{}", to, name);
  std::vector<char> names(64 << 10);  // XATTR_LIST_MAX
  ssize_t size = ::llistxattr(source.c_str(), names.data(), names.size());
  if (size <= 0) return {};
  std::vector<char> value(64 << 10);  // XATTR_SIZE_MAX
  for (const char* key = names.data(); key < names.data() + size; key += std::strlen(key) + 1) {
    ssize_t length = ::lgetxattr(source.c_str(), key, value.data(), value.size());
    if (length == -1 ||
        ::lsetxattr(target.c_str(), key, value.data(), static_cast<size_t>(length), 0) == -1)
      return errno_error(errno, "copy the attribute {} of {}", key, name);
  }
  return {};
}

// Copies a tree, hard links within it, owners, modes, times and xattrs included.
class TreeCopy {
 public:
  explicit TreeCopy(int to_root) : root_(to_root) {}

  Status copy(int from, int to, const std::string& path) {
    std::vector<std::string> names = TRY(fs::list_directory(from));
    for (const std::string& name : names)
      TRY(copy_entry(from, to, name, path.empty() ? name : path + "/" + name));
    TRY(copy_attributes(from, to));
    struct stat st = TRY(sys::fstat(from));
    return copy_times(st, to, ".");
  }

 private:
  // Recursion: an image's depth is bounded by the path length that unpacking takes.
  Status copy_entry(int from, int to, const std::string& name, const std::string& path) {
    struct stat st = TRY(sys::fstatat(from, name));
    if (S_ISDIR(st.st_mode)) {
      TRY(sys::mkdirat(to, name, 0700));
      UniqueFd source = TRY(sys::openat(from, name, kOpenDirectory));
      UniqueFd target = TRY(sys::openat(to, name, kOpenDirectory));
      return copy(source.get(), target.get(), path);
    }
    if (st.st_nlink > 1) {
      auto [known, fresh] = links_.try_emplace(st.st_ino, path);
      if (!fresh) return sys::linkat(root_, known->second, to, name);
    }
    if (S_ISREG(st.st_mode)) {
      TRY(copy_file(from, to, name, st));
    } else if (S_ISLNK(st.st_mode)) {
      std::string target = TRY(sys::readlinkat(from, name));
      TRY(sys::symlinkat(target, to, name));
      TRY(sys::fchownat(to, name, st.st_uid, st.st_gid));
      TRY(copy_xattrs_at(from, to, name));
    } else {
      TRY(sys::mknodat(to, name, st.st_mode, st.st_rdev));
      TRY(sys::fchownat(to, name, st.st_uid, st.st_gid));
      TRY(sys::fchmodat(to, name, st.st_mode & 07777));
      TRY(copy_xattrs_at(from, to, name));
    }
    return copy_times(st, to, name);
  }
  Status copy_file(int from, int to, const std::string& name, const struct stat& st) {
    UniqueFd source = TRY(sys::openat(from, name, O_RDONLY | O_NOFOLLOW));
    UniqueFd target = TRY(sys::openat(to, name, O_WRONLY | O_CREAT | O_EXCL, 0600));
    if (::ioctl(target.get(), FICLONE, source.get()) == -1) {
      for (off_t left = st.st_size; left > 0;) {
        ssize_t copied = sys::retry([&] {
          return ::copy_file_range(source.get(), nullptr, target.get(), nullptr,
                                   static_cast<size_t>(left), 0);
        });
        if (copied == -1) return errno_error(errno, "copy {}", name);
        if (copied == 0) break;
        left -= copied;
      }
    }
    return copy_attributes(source.get(), target.get());
  }

  int root_;
  std::map<ino_t, std::string> links_;
};

// Carries a layer in overlay form out on a whole tree below it, by renaming.
Status merge(int layer, int tree) {
  std::vector<std::string> names = TRY(fs::list_directory(layer));
  for (const std::string& name : names) {
    struct stat st = TRY(sys::fstatat(layer, name));
    std::optional<struct stat> old = TRY(stat_entry(tree, name));
    if (S_ISDIR(st.st_mode)) {
      UniqueFd source = TRY(sys::openat(layer, name, kOpenDirectory));
      bool opaque = TRY(is_opaque(source.get()));
      if (!opaque && old && S_ISDIR(old->st_mode)) {
        UniqueFd target = TRY(sys::openat(tree, name, kOpenDirectory));
        TRY(merge(source.get(), target.get()));
        TRY(copy_attributes(source.get(), target.get()));
        TRY(copy_times(st, tree, name));
        continue;
      }
      if (opaque && ::fremovexattr(source.get(), kOpaqueXattr) == -1)
        return error_from_errno(errno, "fremovexattr");
    }
    if (old) TRY(fs::remove_tree(tree, name));
    if (is_whiteout(st)) continue;
    TRY(sys::renameat(layer, name, tree, name));
    // Renaming touches no time of the entry itself, only of its parents.
  }
  return {};
}

// Whiteouts and marks that hide nothing, left in a tree that was moved as a whole.
Status drop_marks(int directory) {
  std::vector<std::string> names = TRY(fs::list_directory(directory));
  struct stat before = TRY(sys::fstat(directory));
  for (const std::string& name : names) {
    struct stat st = TRY(sys::fstatat(directory, name));
    if (is_whiteout(st)) TRY(sys::unlinkat(directory, name));
    if (!S_ISDIR(st.st_mode)) continue;
    UniqueFd child = TRY(sys::openat(directory, name, kOpenDirectory));
    bool opaque = TRY(is_opaque(child.get()));
    if (opaque && ::fremovexattr(child.get(), kOpaqueXattr) == -1)
      return error_from_errno(errno, "fremovexattr");
    TRY(drop_marks(child.get()));
  }
  return copy_times(before, directory, ".");
}

class Vfs final : public GraphDriver {
 public:
  Vfs(std::string data_root, std::unique_ptr<LayerDirectories> directories)
      : GraphDriver("vfs", std::move(data_root)), directories_(std::move(directories)) {}

  Result<IngestedLayer> ingest(const std::string& directory, ByteSource& tar) override {
    return ingest_files(*directories_, directory, tar);
  }
  Result<LayerInfo> publish(const PublishSpec& spec) override;
  Result<LayerInfo> layer(const Digest& chain_id) override {
    std::shared_ptr<const LayerRecord> record = TRY(directories_->find(chain_id));
    LayerInfo info;
    info.chain_id = chain_id;
    info.parent = Digest::parse(record->parent).value_or(Digest());
    info.directory = record->directory;
    info.size = record->size;
    return info;
  }
  Result<std::unique_ptr<ByteSource>> read_layer(const Digest& chain_id) override {
    std::shared_ptr<const LayerRecord> record = TRY(directories_->find(chain_id));
    return directories_->read_archive(*record);
  }
  Status remove_layer(const std::string& directory) override {
    return directories_->remove(directory);
  }
  Result<RootfsSource> create_container(const ContainerSpec& spec) override;
  Result<RootfsSource> recipe(const std::string& id) override {
    TRY(check_name(id));
    TRY(directories_->open_below("containers/" + id + "/tree").context("container layer {}", id));
    return source(id);
  }
  // A container is a whole copy and stands on nothing.
  Status rebase_container(const std::string&, const Digest&) override { return {}; }
  Status remove_container(const std::string& id) override {
    return directories_->remove_container(id);
  }
  Status diff(const std::string& id, const ChangeVisitor& visit) override;
  LayerDirectories& directories() override { return *directories_; }

 private:
  RootfsSource source(const std::string& id) const {
    RootfsSource out;
    out.type = "bind";
    out.source = directories_->path() + "/containers/" + id + "/tree";
    return out;
  }
  std::unique_ptr<LayerDirectories> directories_;
};

Result<LayerInfo> Vfs::publish(const PublishSpec& spec) {
  UniqueFd below;
  std::vector<int> lower;
  if (!spec.parent.empty()) {
    std::shared_ptr<const LayerRecord> parent = TRY(directories_->find(spec.parent));
    below = TRY(directories_->open_below(parent->directory + "/diff"));
    lower.push_back(below.get());
  }
  SettledFiles settled = TRY(settle_files(*directories_, spec.directory, lower));
  LayerDirectories::Fresh& fresh = settled.layer;
  LayerRecord record = record_of(spec, nullptr);  // a whole copy stands on nothing
  record.size = settled.size;
  if (below.valid()) {
    // diff/ was the layer alone; now it becomes the whole tree.
    int directory = fresh.directory.get();
    TRY(sys::mkdirat(directory, "whole", 0700));
    UniqueFd whole = TRY(sys::openat(directory, "whole", kOpenDirectory));
    TRY(TreeCopy(whole.get()).copy(below.get(), whole.get(), ""));
    struct stat st = TRY(sys::fstat(fresh.diff.get()));
    TRY(merge(fresh.diff.get(), whole.get()));
    TRY(copy_attributes(fresh.diff.get(), whole.get()));
    TRY(copy_times(st, whole.get(), "."));
    TRY(fs::remove_tree(directory, "diff"));
    TRY(sys::renameat(directory, "whole", directory, "diff"));
    fresh.diff = std::move(whole);
  }
  TRY(drop_marks(fresh.diff.get()));
  (void)::unlinkat(fresh.directory.get(), "kept", AT_REMOVEDIR);  // stays when it is in use
  TRY(directories_->publish(fresh.directory.get(), record));
  return layer(spec.chain_id);
}

Result<RootfsSource> Vfs::create_container(const ContainerSpec& spec) {
  TRY(check_name(spec.id));
  std::shared_ptr<const LayerRecord> image;
  if (!spec.image.empty()) image = TRY(directories_->find(spec.image));
  int parent = directories_->containers();
  if (spec.size_limit > 0)
    return unsupported("--storage-opt size is not for the storage driver vfs, which copies images");
  TRY(sys::mkdirat(parent, spec.id, 0700));
  TRY(sys::mkdirat(parent, spec.id + "/tree", 0755));
  TRY(sys::symlinkat(image ? image->directory : "-", parent, spec.id + "/base"));
  UniqueFd tree = TRY(sys::openat(parent, spec.id + "/tree", kOpenDirectory));
  if (image) {
    UniqueFd from = TRY(directories_->open_below(image->directory + "/diff"));
    TRY(TreeCopy(tree.get()).copy(from.get(), tree.get(), ""));
  }
  TRY(init_tree(tree.get()));
  return source(spec.id);
}

Status Vfs::diff(const std::string& id, const ChangeVisitor& visit) {
  TRY(check_name(id));
  std::string base = TRY(
      sys::readlinkat(directories_->containers(), id + "/base").context("container layer {}", id));
  UniqueFd init = TRY(directories_->open_below("init"));
  UniqueFd before =
      base == "-" ? TRY(sys::dup(init.get())) : TRY(directories_->open_below(base + "/diff"));
  UniqueFd now = TRY(directories_->open_below("containers/" + id + "/tree"));
  return diff_trees(before.get(), now.get(), init.get(), visit);
}

}  // namespace

Result<std::shared_ptr<GraphDriver>> open_vfs(const std::string& data_root) {
  std::unique_ptr<LayerDirectories> directories =
      TRY(LayerDirectories::open(data_root, "vfs", {"diff"}));
  return std::shared_ptr<GraphDriver>(std::make_shared<Vfs>(data_root, std::move(directories)));
}

}  // namespace gantry::drivers

// overlay2: a layer is a directory of files in overlayfs's own form, a container an upper
// directory.
#include <fcntl.h>
#include <sys/sysmacros.h>

#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "drivers/graph/layer_directories.h"
#include "drivers/graph/layer_files.h"
#include "drivers/graph/layer_tree.h"
#include "drivers/graph/rootfs_mount.h"
#include "drivers/graph/tree_diff.h"

namespace gantry::drivers {
namespace {

// Everything that would make an upper directory mean more than its files say: diff() and images
// made from it rely on its being plain.
const std::vector<std::string> kOptions = {"redirect_dir=nofollow", "metacopy=off", "index=off"};

enum class VolatileMounts { no, yes };  // "volatile" is of Linux 5.10

class Overlay2 final : public GraphDriver {
 public:
  Overlay2(std::string data_root, std::unique_ptr<LayerDirectories> directories,
           VolatileMounts volatile_mounts)
      : GraphDriver("overlay2", std::move(data_root)),
        directories_(std::move(directories)),
        volatile_mounts_(volatile_mounts) {}

  Result<IngestedLayer> ingest(const std::string& directory, ByteSource& tar) override {
    return ingest_files(*directories_, directory, tar);
  }
  Result<LayerInfo> publish(const PublishSpec& spec) override;
  Result<LayerInfo> layer(const Digest& chain_id) override;
  Result<std::unique_ptr<ByteSource>> read_layer(const Digest& chain_id) override {
    std::shared_ptr<const LayerRecord> record = TRY(directories_->find(chain_id));
    return directories_->read_archive(*record);
  }
  Status remove_layer(const std::string& directory) override {
    return directories_->remove(directory);
  }
  Result<RootfsSource> create_container(const ContainerSpec& spec) override;
  Result<RootfsSource> recipe(const std::string& id) override;
  Status remove_container(const std::string& id) override {
    return directories_->remove_container(id);
  }
  Status diff(const std::string& id, const ChangeVisitor& visit) override;
  LayerDirectories& directories() override { return *directories_; }

 private:
  struct Base {
    std::shared_ptr<const LayerRecord> top;  // null: an empty image
    ContainerLifetime lifetime;
  };
  Result<Base> base_of(const std::string& id) const;
  RootfsSource source(const std::string& id, const Base& base) const;
  Result<std::vector<UniqueFd>> open_stack(const LayerRecord* top) const;

  std::unique_ptr<LayerDirectories> directories_;
  const VolatileMounts volatile_mounts_;
};

std::vector<int> borrowed(const std::vector<UniqueFd>& fds) {
  std::vector<int> out;
  for (const UniqueFd& fd : fds) out.push_back(fd.get());
  return out;
}

LayerInfo info_of(const LayerRecord& record) {
  LayerInfo info;
  info.chain_id = Digest::parse(record.chain_id).value_or(Digest());
  info.parent = Digest::parse(record.parent).value_or(Digest());
  info.directory = record.directory;
  info.size = record.size;
  return info;
}

Result<std::vector<UniqueFd>> Overlay2::open_stack(const LayerRecord* top) const {
  std::vector<UniqueFd> fds;
  if (top)
    for (const std::string& name : top->stack)
      fds.push_back(TRY(directories_->open_below(name + "/diff")));
  return fds;
}

Result<LayerInfo> Overlay2::publish(const PublishSpec& spec) {
  std::shared_ptr<const LayerRecord> parent;
  if (!spec.parent.empty()) parent = TRY(directories_->find(spec.parent));
  std::vector<UniqueFd> lower = TRY(open_stack(parent.get()));
  SettledFiles settled = TRY(settle_files(*directories_, spec.directory, borrowed(lower)));
  LayerRecord record;
  record.chain_id = spec.chain_id.text();
  record.parent = spec.parent.text();
  record.directory = spec.directory;
  record.size = settled.size;
  record.stack = {spec.directory};
  if (parent) record.stack.insert(record.stack.end(), parent->stack.begin(), parent->stack.end());
  struct stat root = TRY(sys::fstat(settled.layer.diff.get()));
  record.root_mode = root.st_mode & 07777;
  record.root_uid = root.st_uid;
  record.root_gid = root.st_gid;
  TRY(directories_->publish(settled.layer, record));
  return info_of(record);
}

Result<LayerInfo> Overlay2::layer(const Digest& chain_id) {
  std::shared_ptr<const LayerRecord> record = TRY(directories_->find(chain_id));
  return info_of(*record);
}

RootfsSource Overlay2::source(const std::string& id, const Base& base) const {
  const std::string& root = directories_->path();
  RootfsSource source;
  source.type = "overlay";
  if (base.top)
    for (const std::string& name : base.top->stack)
      source.lower.push_back(root + "/" + name + "/diff");
  source.lower.push_back(root + "/init");
  source.upper = root + "/containers/" + id + "/upper";
  source.work = root + "/containers/" + id + "/work";
  source.options = kOptions;
  if (base.lifetime == ContainerLifetime::ephemeral && volatile_mounts_ == VolatileMounts::yes)
    source.options.push_back("volatile");
  return source;
}

// base: a link whose text is the topmost layer's directory ("-" for none) and the lifetime; a link
// because it is made and read by one call each and needs no block on the disk.
Result<RootfsSource> Overlay2::create_container(const ContainerSpec& spec) {
  TRY(check_name(spec.id));
  Base base{nullptr, spec.lifetime};
  if (!spec.image.empty()) base.top = TRY(directories_->find(spec.image));
  int parent = directories_->containers();
  TRY(failpoint("layer.container"));
  TRY(sys::mkdirat(parent, spec.id, 0700));
  TRY(failpoint("layer.container.made"));
  TRY(sys::mkdirat(parent, spec.id + "/upper", 0755));
  TRY(sys::mkdirat(parent, spec.id + "/work", 0700));
  std::string text = base.top ? base.top->directory : "-";
  if (spec.lifetime == ContainerLifetime::ephemeral) text += ",ephemeral";
  TRY(failpoint("layer.container.base"));
  TRY(sys::symlinkat(text, parent, spec.id + "/base"));
  // The merged root shows the attributes of the upper directory.
  uint32_t mode = base.top ? base.top->root_mode : 0755;
  TRY(sys::fchmodat(parent, spec.id + "/upper", mode));
  if (base.top && (base.top->root_uid != 0 || base.top->root_gid != 0))
    TRY(sys::fchownat(parent, spec.id + "/upper", base.top->root_uid, base.top->root_gid));
  TRY(failpoint("layer.container.ready"));
  return source(spec.id, base);
}

Result<Overlay2::Base> Overlay2::base_of(const std::string& id) const {
  TRY(check_name(id));
  Result<std::string> text = sys::readlinkat(directories_->containers(), id + "/base");
  if (!text) {
    if (text.error().code() != ENOENT) return std::move(text).error();
    return not_found("container layer {} is not here", id);
  }
  size_t comma = std::min(text->find(','), text->size());
  Base base{nullptr, comma < text->size() ? ContainerLifetime::ephemeral : ContainerLifetime::kept};
  std::string top = text->substr(0, comma);
  if (top != "-") base.top = TRY(directories_->by_directory(top).context("container layer {}", id));
  return base;
}

Result<RootfsSource> Overlay2::recipe(const std::string& id) {
  Base base = TRY(base_of(id));
  if (base.lifetime == ContainerLifetime::ephemeral) {
    // A volatile mount leaves a mark that refuses the next one, since files may be torn after a
    // crash of the machine (overlayfs.rst, "Volatile mount"). Containers that are not kept do not
    // outlive a boot.
    std::string work = id + "/work";
    int parent = directories_->containers();
    if (::faccessat(parent, (work + "/work/incompat").c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
      TRY(fs::remove_tree(parent, work));
      TRY(sys::mkdirat(parent, work, 0700));
    }
  }
  return source(id, base);
}

Status Overlay2::diff(const std::string& id, const ChangeVisitor& visit) {
  Base base = TRY(base_of(id));
  std::vector<UniqueFd> lower = TRY(open_stack(base.top.get()));
  lower.push_back(TRY(directories_->open_below("init")));
  UniqueFd upper = TRY(directories_->open_below("containers/" + id + "/upper"));
  return diff_overlay(upper.get(), borrowed(lower), visit);
}

// Mounts an overlay in the data root and deletes a file of the lower layer: everything the driver
// needs. A volatile mount is tried first: besides showing whether there are such, it spares the
// flush of the whole file system that unmounting any other overlay means.
Status probe(LayerDirectories& directories, VolatileMounts volatile_mounts) {
  std::string name = "probe-" + random_hex(6);
  Status works = [&]() -> Status {
    TRY(sys::mkdirat(directories.fd(), name, 0700));
    for (const char* part : {"lower", "upper", "work"})
      TRY(sys::mkdirat(directories.fd(), fmt::format("{}/{}", name, part), 0755));
    TRY(sys::openat(directories.fd(), name + "/lower/file", O_WRONLY | O_CREAT | O_EXCL, 0644));
    RootfsSource source;
    source.type = "overlay";
    std::string path = directories.path() + "/" + name;
    source.lower = {path + "/lower", directories.path() + "/init"};
    source.upper = path + "/upper";
    source.work = path + "/work";
    source.options = kOptions;
    if (volatile_mounts == VolatileMounts::yes) source.options.push_back("volatile");
    UniqueFd mount = TRY(mount_overlay(source));
    TRY(sys::unlinkat(mount.get(), "file"));
    struct stat st = TRY(sys::fstatat(directories.fd(), name + "/upper/file"));
    if (!is_whiteout(st)) return unsupported("deleting a file leaves no whiteout");
    UniqueFd upper = TRY(directories.open_below(name + "/upper"));
    return make_opaque(upper.get());
  }();
  Status removed = fs::remove_tree(directories.fd(), name);
  if (!works) return works;
  return removed;
}

}  // namespace

Result<std::shared_ptr<GraphDriver>> open_overlay2(const std::string& data_root) {
  std::unique_ptr<LayerDirectories> directories =
      TRY(LayerDirectories::open(data_root, "overlay2"));
  VolatileMounts volatile_mounts = VolatileMounts::yes;
  Status works = probe(*directories, volatile_mounts);
  if (!works) {
    volatile_mounts = VolatileMounts::no;
    works = probe(*directories, volatile_mounts);
  }
  if (!works)
    return std::move(works)
        .error()
        .context(fmt::format("overlay2 does not work on {}", data_root))
        .with_kind(ErrorKind::unsupported);
  return std::shared_ptr<GraphDriver>(
      std::make_shared<Overlay2>(data_root, std::move(directories), volatile_mounts));
}

}  // namespace gantry::drivers

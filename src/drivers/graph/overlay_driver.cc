#include "drivers/graph/overlay_driver.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "drivers/graph/layer_tree.h"
#include "drivers/graph/project_quota.h"
#include "drivers/graph/rootfs_mount.h"
#include "drivers/graph/tree_diff.h"

namespace gantry::drivers {
namespace {

// Everything that would make an upper directory mean more than its files say: diff() and images
// made from it rely on its being plain.
const std::vector<std::string> kOverlayOptions = {"redirect_dir=nofollow", "metacopy=off",
                                                  "index=off"};

Status probe_with(const LayerDirectories& directories, RootfsSource source, VolatileMounts mounts,
                  const std::function<Status(int root)>& check) {
  std::string name = "probe-" + random_hex(6);
  Status works = [&]() -> Status {
    TRY(sys::mkdirat(directories.fd(), name, 0700));
    for (const char* part : {"upper", "work"})
      TRY(sys::mkdirat(directories.fd(), fmt::format("{}/{}", name, part), 0755));
    std::string path = directories.path() + "/" + name;
    source.type = "overlay";
    source.lower.push_back(directories.path() + "/init");
    source.upper = path + "/upper";
    source.work = path + "/work";
    source.options = kOverlayOptions;
    if (mounts == VolatileMounts::yes) source.options.push_back("volatile");
    UniqueFd mount = TRY(mount_overlay(source));
    if (check) TRY(check(mount.get()));
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

Result<VolatileMounts> probe_overlay(const LayerDirectories& directories,
                                     const RootfsSource& layers,
                                     const std::function<Status(int root)>& check) {
  Status works = probe_with(directories, layers, VolatileMounts::yes, check);
  if (works) return VolatileMounts::yes;
  TRY(probe_with(directories, layers, VolatileMounts::no, check));
  return VolatileMounts::no;
}

LayerInfo info_of(const LayerRecord& record) {
  LayerInfo info;
  info.chain_id = Digest::parse(record.chain_id).value_or(Digest());
  info.parent = Digest::parse(record.parent).value_or(Digest());
  info.directory = record.directory;
  info.size = record.size;
  return info;
}

Result<LayerInfo> OverlayDriver::layer(const Digest& chain_id) {
  std::shared_ptr<const LayerRecord> record = TRY(directories_->find(chain_id));
  return info_of(*record);
}

RootfsSource OverlayDriver::source(const std::string& id, const Base& base) {
  const std::string& root = directories_->path();
  RootfsSource source;
  source.type = "overlay";
  if (base.top) add_layers(*base.top, source);
  source.lower.push_back(root + "/init");
  source.upper = root + "/containers/" + id + "/upper";
  source.work = root + "/containers/" + id + "/work";
  source.options = kOverlayOptions;
  if (base.lifetime == ContainerLifetime::ephemeral && volatile_mounts_ == VolatileMounts::yes)
    source.options.push_back("volatile");
  return source;
}

// base: a link whose text is the topmost layer's directory ("-" for none) and the lifetime; a link
// because it is made and read by one call each and needs no block on the disk.
Result<RootfsSource> OverlayDriver::create_container(const ContainerSpec& spec) {
  TRY(check_name(spec.id));
  Base base{nullptr, spec.lifetime};
  if (!spec.image.empty()) base.top = TRY(directories_->find(spec.image));
  int parent = directories_->containers();
  TRY(failpoint("layer.container"));
  TRY(sys::mkdirat(parent, spec.id, 0700));
  TRY(failpoint("layer.container.made"));
  if (spec.size_limit > 0) {
    UniqueFd directory = TRY(sys::openat(parent, spec.id, kOpenDirectory));
    TRY(limit_tree(directory.get(), spec.size_limit));
  }
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

Result<OverlayDriver::Base> OverlayDriver::base_of(const std::string& id) const {
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

Result<RootfsSource> OverlayDriver::recipe(const std::string& id) {
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

Status OverlayDriver::rebase_container(const std::string& id, const Digest& image) {
  TRY(check_name(id));
  int parent = directories_->containers();
  Result<std::string> text = sys::readlinkat(parent, id + "/base");
  if (!text && text.error().code() == ENOENT)
    return not_found("container layer {} is not here", id);
  TRY(std::move(text));
  size_t comma = std::min(text->find(','), text->size());
  if (text->substr(0, comma) == "-") return {};
  std::shared_ptr<const LayerRecord> top = TRY(directories_->find(image));
  if (text->substr(0, comma) == top->directory) return {};
  const std::string fresh = id + "/base.new";
  Status removed = sys::unlinkat(parent, fresh);
  if (!removed && removed.error().code() != ENOENT) return removed;
  TRY(sys::symlinkat(top->directory + text->substr(comma), parent, fresh));
  return sys::renameat(parent, fresh, parent, id + "/base");
}

Status OverlayDriver::diff(const std::string& id, const ChangeVisitor& visit) {
  Base base = TRY(base_of(id));
  OpenStack stack = TRY(open_stack(base.top.get()));
  UniqueFd init = TRY(directories_->open_below("init"));
  std::vector<int> lower = stack.roots();
  lower.push_back(init.get());
  UniqueFd upper = TRY(directories_->open_below("containers/" + id + "/upper"));
  return diff_overlay(upper.get(), lower, visit);
}

}  // namespace gantry::drivers

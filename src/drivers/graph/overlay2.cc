// overlay2: a layer is a directory of files in overlayfs's own form, a container an upper
// directory.
#include <fcntl.h>

#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "drivers/graph/layer_files.h"
#include "drivers/graph/overlay_driver.h"

namespace gantry::drivers {
namespace {

class Overlay2 final : public OverlayDriver {
 public:
  Overlay2(std::string data_root, std::unique_ptr<LayerDirectories> directories,
           VolatileMounts volatile_mounts)
      : OverlayDriver("overlay2", std::move(data_root), std::move(directories), volatile_mounts) {}

  Result<IngestedLayer> ingest(const std::string& directory, ByteSource& tar) override {
    return ingest_files(*directories_, directory, tar);
  }
  Result<LayerInfo> publish(const PublishSpec& spec) override;
  Result<std::unique_ptr<ByteSource>> read_layer(const Digest& chain_id) override {
    std::shared_ptr<const LayerRecord> record = TRY(directories_->find(chain_id));
    return directories_->read_archive(*record);
  }

 protected:
  void add_layers(const LayerRecord& top, RootfsSource& source) override {
    for (const std::string& name : top.stack)
      source.lower.push_back(directories_->path() + "/" + name + "/diff");
  }
  Result<OpenStack> open_stack(const LayerRecord* top) override {
    OpenStack out;
    if (!top) return out;
    for (const std::string& name : top->stack) {
      UniqueFd fd = TRY(directories_->open_below(name + "/diff"));
      out.held.push_back(std::make_shared<const UniqueFd>(std::move(fd)));
    }
    return out;
  }
};

Result<LayerInfo> Overlay2::publish(const PublishSpec& spec) {
  std::shared_ptr<const LayerRecord> parent;
  if (!spec.parent.empty()) parent = TRY(directories_->find(spec.parent));
  OpenStack lower = TRY(open_stack(parent.get()));
  SettledFiles settled = TRY(settle_files(*directories_, spec.directory, lower.roots()));
  LayerRecord record = record_of(spec, parent.get());
  record.size = settled.size;
  struct stat root = TRY(sys::fstat(settled.layer.diff.get()));
  record.root_mode = root.st_mode & 07777;
  record.root_uid = root.st_uid;
  record.root_gid = root.st_gid;
  (void)::unlinkat(settled.layer.directory.get(), "kept", AT_REMOVEDIR);  // stays when in use
  TRY(directories_->publish(settled.layer.directory.get(), record));
  return info_of(record);
}

Result<VolatileMounts> probe(const LayerDirectories& directories) {
  std::string name = "probe-" + random_hex(6);
  Result<VolatileMounts> works = [&]() -> Result<VolatileMounts> {
    TRY(sys::mkdirat(directories.fd(), name, 0755));
    TRY(sys::openat(directories.fd(), name + "/file", O_WRONLY | O_CREAT | O_EXCL, 0644));
    RootfsSource layers;
    layers.lower = {directories.path() + "/" + name};
    return probe_overlay(directories, layers, nullptr);
  }();
  TRY(fs::remove_tree(directories.fd(), name));
  return works;
}

}  // namespace

Result<std::shared_ptr<GraphDriver>> open_overlay2(const std::string& data_root) {
  std::unique_ptr<LayerDirectories> directories =
      TRY(LayerDirectories::open(data_root, "overlay2", {"diff"}));
  Result<VolatileMounts> works = probe(*directories);
  if (!works)
    return std::move(works)
        .error()
        .context(fmt::format("overlay2 does not work on {}", data_root))
        .with_kind(ErrorKind::unsupported);
  return std::shared_ptr<GraphDriver>(
      std::make_shared<Overlay2>(data_root, std::move(directories), *works));
}

}  // namespace gantry::drivers

// What the drivers share whose containers are upper directories of an overlay: overlay2 and erofs.
// They differ in what a layer is.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "drivers/graph/layer_directories.h"

namespace gantry::drivers {

enum class VolatileMounts { no, yes };  // "volatile" is of Linux 5.10

// The open roots of a stack of layers, topmost first, in overlay form; held as long as it lives.
struct OpenStack {
  std::vector<std::shared_ptr<const UniqueFd>> held;
  std::vector<int> roots() const {
    std::vector<int> out;
    for (const auto& fd : held) out.push_back(fd->get());
    return out;
  }
};

class OverlayDriver : public GraphDriver {
 public:
  Result<LayerInfo> layer(const Digest& chain_id) override;
  Status remove_layer(const std::string& directory) override {
    return directories_->remove(directory);
  }
  Result<RootfsSource> create_container(const ContainerSpec& spec) override;
  Result<RootfsSource> recipe(const std::string& id) override;
  Status rebase_container(const std::string& id, const Digest& image) override;
  Status remove_container(const std::string& id) override {
    return directories_->remove_container(id);
  }
  Status diff(const std::string& id, const ChangeVisitor& visit) override;
  LayerDirectories& directories() override { return *directories_; }

 protected:
  OverlayDriver(std::string name, std::string data_root,
                std::unique_ptr<LayerDirectories> directories, VolatileMounts volatile_mounts)
      : GraphDriver(std::move(name), std::move(data_root)),
        directories_(std::move(directories)),
        volatile_mounts_(volatile_mounts) {}

  // The layers of `top`'s stack as a part of a recipe, in `images` or `lower`.
  virtual void add_layers(const LayerRecord& top, RootfsSource& source) = 0;
  // null: an empty stack.
  virtual Result<OpenStack> open_stack(const LayerRecord* top) = 0;

  std::unique_ptr<LayerDirectories> directories_;

 private:
  struct Base {
    std::shared_ptr<const LayerRecord> top;  // null: an empty image
    ContainerLifetime lifetime;
  };
  Result<Base> base_of(const std::string& id) const;
  RootfsSource source(const std::string& id, const Base& base);

  const VolatileMounts volatile_mounts_;
};

LayerInfo info_of(const LayerRecord& record);

// Mounts an overlay over `layers` (images or lower directories that hold a file "file") in the data
// root and deletes the file: everything the drivers need. A volatile mount is tried first: besides
// showing whether there are such, it spares the flush of the whole file system that unmounting any
// other overlay means. Gives which are possible. `check` sees the mounted root before the deletion.
Result<VolatileMounts> probe_overlay(const LayerDirectories& directories,
                                     const RootfsSource& layers,
                                     const std::function<Status(int root)>& check);

}  // namespace gantry::drivers

// The directory tree that the drivers share:
//
//   <data root>/<driver>/           0700
//     layers/<hex of chain id>      symbolic link to the layer's directory: published
//     <directory>/                  a layer: layer.json and what the driver keeps. Files: diff/
//                                   (they), kept/ (those that the archive itself replaced), archive
//                                   (the record of the tar). erofs: tar, index, side
//     containers/<id>/              a container layer; its contents are the driver's
//     init/                         what every container needs to have mounted over (see
//     init_tree())
//   <data root>/trash/              waiting for deletion
//
// A layer appears by the creation of its link and disappears by its removal, both atomic.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/unique_fd.h"
#include "drivers/graph/graph_driver.h"

namespace gantry::drivers {

// layer.json
struct LayerRecord {
  std::string chain_id;
  std::string parent;
  std::string directory;
  std::string diff_id;       // empty: was not told
  std::string index_digest;  // erofs: of the index
  uint64_t size = 0;
  std::vector<std::string> stack;  // directories of this layer and those below, topmost first
  // Attributes of the merged root, for the upper directory of a container.
  uint32_t root_mode = 0755;
  uint32_t root_uid = 0;
  uint32_t root_gid = 0;
};

// Thread-safe.
class LayerDirectories {
 public:
  // `parts`: names in a layer's directory without which it is not whole.
  static Result<std::unique_ptr<LayerDirectories>> open(const std::string& data_root,
                                                        const std::string& driver,
                                                        std::vector<std::string> parts);

  const std::string& path() const { return path_; }  // <data root>/<driver>
  int fd() const { return root_.get(); }
  int containers() const { return containers_.get(); }

  // Makes an unpublished layer directory; conflict when it exists.
  Result<UniqueFd> make_empty(const std::string& directory) const;
  // The same with diff/ and kept/ in it.
  struct Fresh {
    UniqueFd directory;
    UniqueFd diff;
    UniqueFd kept;
  };
  Result<Fresh> make(const std::string& directory) const;
  // The same of a directory that make() made.
  Result<Fresh> reopen(const std::string& directory) const;
  // Writes layer.json and points the chain id at the directory.
  Status publish(int directory, const LayerRecord& record);
  Result<std::shared_ptr<const LayerRecord>> find(const Digest& chain_id);           // not_found
  Result<std::shared_ptr<const LayerRecord>> by_directory(const std::string& name);  // not_found
  Result<std::vector<std::shared_ptr<const LayerRecord>>> published();
  // Whether the layer is published and every directory of its stack is there.
  Result<bool> complete(const Digest& chain_id);
  Result<UniqueFd> open_below(const std::string& relative) const;  // a directory, for reading
  Result<std::unique_ptr<ByteSource>> read_archive(const LayerRecord& record) const;
  Status remove(const std::string& directory);
  Status remove_container(const std::string& id) const;
  bool layer_exists(const std::string& directory) const;  // on disk or in the trash
  bool container_exists(const std::string& id) const;     // the same
  Result<std::vector<std::string>> all_layers() const;    // directories, published or not
  Result<std::vector<std::string>> all_containers() const;
  // Deletes what remove() or remove_container() put aside; absent is success.
  Status empty_trash(const std::string& name) const;

 private:
  LayerDirectories(std::string path, std::string driver, std::vector<std::string> parts)
      : path_(std::move(path)), driver_(std::move(driver)), parts_(std::move(parts)) {}
  std::string trash_name(const std::string& name) const { return driver_ + "-" + name; }

  std::string path_;
  std::string driver_;
  std::vector<std::string> parts_;
  UniqueFd root_;
  UniqueFd layers_;
  UniqueFd containers_;
  UniqueFd trash_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const LayerRecord>> records_;  // by directory
};

// Where the container's runtime mounts things whatever the image holds: /dev, /proc, /sys,
// /etc/hosts and so on. Made once; the lowest layer of every container, so that an image that has
// them wins.
struct InitEntry {
  const char* path;
  mode_t mode;       // with the file type
  const char* link;  // target of a symbolic link
};
extern const std::vector<InitEntry> kInitEntries;
// Makes whatever of it is missing below `root`.
Status init_tree(int root);

// What publish() was told, over `parent` (null: the lowest).
LayerRecord record_of(const PublishSpec& spec, const LayerRecord* parent);

// Refuses ids and directory names that are not one plain path component.
Status check_name(const std::string& name);

// Shared by the drivers: open_graph_driver() calls these.
Result<std::shared_ptr<GraphDriver>> open_erofs(const std::string& data_root);
Result<std::shared_ptr<GraphDriver>> open_overlay2(const std::string& data_root);
Result<std::shared_ptr<GraphDriver>> open_vfs(const std::string& data_root);

}  // namespace gantry::drivers

template <>
struct gantry::json::Schema<gantry::drivers::LayerRecord> {
  using T = gantry::drivers::LayerRecord;
  static constexpr Field fields[] = {field<&T::chain_id>("chain_id", kRequired),
                                     field<&T::parent>("parent", kOmitEmpty),
                                     field<&T::directory>("directory", kRequired),
                                     field<&T::diff_id>("diff_id", kOmitEmpty),
                                     field<&T::index_digest>("index_digest", kOmitEmpty),
                                     field<&T::size>("size"),
                                     field<&T::stack>("stack"),
                                     field<&T::root_mode>("root_mode"),
                                     field<&T::root_uid>("root_uid"),
                                     field<&T::root_gid>("root_gid")};
};

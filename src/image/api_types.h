// Images as the Engine API shows them (v1.51: ImageSummary, ImageInspect, HistoryResponseItem,
// ImageDeleteResponseItem, ImagePruneResponse).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "image/config.h"
#include "image/origin.h"

namespace gantry::image {

struct ImageSummary {
  std::string id;
  std::string parent_id;
  std::vector<std::string> repo_tags;
  std::vector<std::string> repo_digests;
  int64_t created = 0;  // seconds since the epoch
  int64_t size = 0;
  int64_t shared_size = -1;
  std::optional<std::map<std::string, std::string>> labels;
  int64_t containers = -1;
};

struct RootFsInspect {
  std::string type;
  std::vector<std::string> layers;
};
struct DriverData {
  std::string name;
  std::map<std::string, std::string> data;
};
struct ImageMetadata {
  std::string last_tag_time;
};
struct ImageInspect {
  std::string id;
  std::vector<std::string> repo_tags;
  std::vector<std::string> repo_digests;
  std::string parent;
  std::string comment;
  std::string created;
  std::string docker_version;
  std::string author;
  ContainerConfig config;
  std::string architecture;
  std::string variant;
  std::string os;
  std::string os_version;
  int64_t size = 0;
  DriverData graph_driver;
  RootFsInspect root_fs;
  ImageMetadata metadata;
  std::vector<Origin> origins;  // Gantry's own
};

struct HistoryItem {
  std::string id;  // "<missing>" for what is not an image here
  int64_t created = 0;
  std::string created_by;
  std::vector<std::string> tags;
  int64_t size = 0;
  std::string comment;
};

// Exactly one of the two is set.
struct RemovedItem {
  std::string untagged;
  std::string deleted;
};

struct PruneReport {
  std::vector<RemovedItem> images_deleted;
  int64_t space_reclaimed = 0;
};

}  // namespace gantry::image

namespace gantry::json {

template <>
struct Schema<image::ImageSummary> {
  using T = image::ImageSummary;
  static constexpr Field fields[] = {field<&T::containers>("Containers"),
                                     field<&T::created>("Created"),
                                     field<&T::id>("Id"),
                                     field<&T::labels>("Labels"),
                                     field<&T::parent_id>("ParentId"),
                                     field<&T::repo_digests>("RepoDigests"),
                                     field<&T::repo_tags>("RepoTags"),
                                     field<&T::shared_size>("SharedSize"),
                                     field<&T::size>("Size")};
};

template <>
struct Schema<image::RootFsInspect> {
  using T = image::RootFsInspect;
  static constexpr Field fields[] = {field<&T::type>("Type"),
                                     field<&T::layers>("Layers", kOmitEmpty)};
};
template <>
struct Schema<image::DriverData> {
  using T = image::DriverData;
  static constexpr Field fields[] = {field<&T::data>("Data", kNullEmpty), field<&T::name>("Name")};
};
template <>
struct Schema<image::ImageMetadata> {
  using T = image::ImageMetadata;
  static constexpr Field fields[] = {field<&T::last_tag_time>("LastTagTime", kOmitEmpty)};
};
template <>
struct Schema<image::ImageInspect> {
  using T = image::ImageInspect;
  static constexpr Field fields[] = {field<&T::id>("Id"),
                                     field<&T::repo_tags>("RepoTags"),
                                     field<&T::repo_digests>("RepoDigests"),
                                     field<&T::parent>("Parent"),
                                     field<&T::comment>("Comment"),
                                     field<&T::created>("Created", kOmitEmpty),
                                     field<&T::docker_version>("DockerVersion"),
                                     field<&T::author>("Author"),
                                     field<&T::config>("Config"),
                                     field<&T::architecture>("Architecture"),
                                     field<&T::variant>("Variant", kOmitEmpty),
                                     field<&T::os>("Os"),
                                     field<&T::os_version>("OsVersion", kOmitEmpty),
                                     field<&T::size>("Size"),
                                     field<&T::graph_driver>("GraphDriver"),
                                     field<&T::root_fs>("RootFS"),
                                     field<&T::metadata>("Metadata"),
                                     field<&T::origins>("Origins", kOmitEmpty)};
};

template <>
struct Schema<image::HistoryItem> {
  using T = image::HistoryItem;
  static constexpr Field fields[] = {field<&T::comment>("Comment"),
                                     field<&T::created>("Created"),
                                     field<&T::created_by>("CreatedBy"),
                                     field<&T::id>("Id"),
                                     field<&T::size>("Size"),
                                     field<&T::tags>("Tags", kNullEmpty)};
};

template <>
struct Schema<image::RemovedItem> {
  using T = image::RemovedItem;
  static constexpr Field fields[] = {field<&T::untagged>("Untagged", kOmitEmpty),
                                     field<&T::deleted>("Deleted", kOmitEmpty)};
};
template <>
struct Schema<image::PruneReport> {
  using T = image::PruneReport;
  static constexpr Field fields[] = {field<&T::images_deleted>("ImagesDeleted", kNullEmpty),
                                     field<&T::space_reclaimed>("SpaceReclaimed")};
};

}  // namespace gantry::json

// The store on graph, content store and graph driver; see image_store.h for what it promises.
#pragma once

#include <mutex>
#include <set>

#include "engine/job.h"
#include "graph/content_store.h"
#include "graph/graph.h"
#include "image/image_store.h"
#include "image/layer_claims.h"
#include "image/manifest.h"
#include "image/partial_blobs.h"

namespace gantry::image {

// Data of an image node.
struct ImageRecord {
  std::string created;
  std::string top_layer;  // chain id; "" without layers
  int64_t size = 0;
  int64_t tagged_at = 0;  // ns since the epoch; 0: never here
  std::string os;
  std::string architecture;
  std::string variant;
  std::string parent;  // id of the image it was made from here
  std::map<std::string, std::string> labels;
  std::vector<Origin> origins;  // the latest last
  std::vector<StoredSignature> signatures;
};
// Takes what was found out about an image into its record; false when nothing is new.
bool merge_admission(ImageRecord& record, const Admission& admission);
// Data of a layer node.
// A compressed form that a layer has had in some registry, or that it was given by a push from
// here.
struct LayerBlob {
  std::string digest;
  int64_t size = 0;
  std::string media_type;
  std::string encoder;               // "gantry-gzip-1"; "": made elsewhere
  std::vector<std::string> sources;  // "docker.io/library/busybox": repositories that had it
};
struct LayerData {
  std::string diff_id;
  std::string directory;
  int64_t archive_size = 0;  // of the tar
  std::vector<LayerBlob> blobs;
};
// Data of a blob node that is a manifest or an index.
struct ManifestData {
  std::string media_type;
};
// Takes `blob` into the list: a form that is known gets more sources.
void merge_blob(std::vector<LayerBlob>& blobs, const LayerBlob& blob);

// What one image adds to the graph, collected while the job runs and written by its closing
// transaction.
struct Addition {
  struct NewLayer {
    Digest chain_id;
    Digest parent;
    LayerData data;
    int64_t size = 0;
  };
  Digest id;
  int64_t config_size = 0;
  ImageConfig config;
  std::string parent;
  std::vector<Digest> chain;  // all layers, lowest first
  std::vector<NewLayer> new_layers;
  std::vector<Reference> names;
  // What a registry had of it. `held_by_digest`: kept by the reference by digest, not by the image
  // (an index, which is of several images).
  struct KnownManifest {
    Digest digest;
    int64_t size = 0;
    std::string media_type;
    bool is_index = false;
  };
  std::vector<KnownManifest> manifests;
  std::map<std::string, LayerBlob> layer_blobs;  // by chain id
  std::set<std::string> kept_blobs;              // digests of compressed blobs that are kept
  std::optional<Admission> admission;
};

class LocalStore final : public ImageStore {
 public:
  LocalStore(graph::Database& database, graph::ContentStore& content,
             std::shared_ptr<drivers::GraphDriver> driver, std::string temporary_directory)
      : graph_(database),
        content_(content),
        driver_(std::move(driver)),
        temporary_directory_(std::move(temporary_directory)) {}

  Result<Image> find(std::string_view name) const override;
  Result<std::vector<ImageSummary>> list(const ListOptions& options) const override;
  Result<ImageInspect> inspect(std::string_view name) const override;
  Result<std::vector<HistoryItem>> history(std::string_view name) const override;
  Result<int64_t> count() const override;
  Status save(const std::vector<std::string>& names, ByteSink& out) const override;
  Result<std::vector<LoadedImage>> load(engine::JobContext& job, ByteSource& archive,
                                        const Progress& progress) override;
  Result<Digest> import(engine::JobContext& job, ByteSource& tarball,
                        const ImportOptions& options) override;
  Result<Digest> commit(engine::JobContext& job, std::string_view base,
                        const std::function<Status(ByteSink&)>& write_layer,
                        const CommitOptions& options, std::string& name) override;
  Result<std::string> tag(engine::JobContext& job, std::string_view source,
                          const std::string& repository, const std::string& tag) override;
  Result<std::vector<RemovedItem>> remove(engine::JobContext& job, std::string_view name,
                                          const RemoveOptions& options) override;
  Result<PruneReport> prune(engine::JobContext& job, const Filters& filters) override;
  Status lock(engine::JobContext& job) const override;
  Result<std::vector<StoreFinding>> check(engine::JobContext& job,
                                          const CheckOptions& options) override;
  Result<std::vector<ImageSource>> sources_of(const StoreFinding& finding) const override;
  Result<bool> is_here(const StoreFinding& finding) const override;
  Result<Refetched> refetch(engine::JobContext& job, const StoreFinding& finding,
                            const RemoteOpener& open, const PullOptions& options) override;
  Result<Rebuilt> rebuild(engine::JobContext& job) override;
  Status prepare_transfers(engine::Engine& engine) override;
  void set_limits(const LayerLimits& limits) override { limits_ = limits; }
  void set_pull_policy(PullPolicy policy) override { pull_policy_ = std::move(policy); }
  void set_archive_policy(ArchivePolicy policy) override { archive_policy_ = std::move(policy); }
  Result<PulledImage> pull(engine::JobContext& job, RemoteRepository& remote,
                           const Reference& reference, const PullOptions& options,
                           const Progress& progress) override;
  Result<PushedImage> push(engine::JobContext& job, RemoteRepository& remote,
                           const Reference& reference, const PushOptions& options,
                           const Progress& progress) override;
  Result<std::vector<Reference>> tags_of(const Reference& repository) const override;

 private:
  struct Located {
    graph::Node node;
    std::optional<Reference> reference;  // when it was found by name
  };
  // One layer to be made while a job runs.
  struct LayerInput {
    Digest parent;
    Digest chain_id;
    Digest diff_id;
    int64_t compressed_size = -1;  // of the blob; < 0: not known
  };
  struct Applied {
    drivers::LayerInfo info;
    Digest diff_id;
    int64_t archive_size = 0;
  };

  Result<Located> locate(graph::View& view, std::string_view name) const;
  Result<std::vector<Reference>> references(graph::View& view, graph::NodeId image) const;
  Result<ImageConfig> config_of(const graph::Node& image) const;
  Result<std::vector<graph::Node>> layers_of(graph::View& view, graph::NodeId image) const;

  // The archive that a layer was made from.
  struct Archived {
    Digest digest;
    int64_t size = 0;
  };
  // As it is made again from the layer's files; heeds the job's cancellation.
  Result<Archived> measure_layer(engine::JobContext& job, const Digest& chain_id);
  Result<Applied> apply_layer(engine::JobContext& job, const LayerInput& input, ByteSource& blob,
                              const std::string& directory);
  Result<std::optional<StoreFinding>> check_layer(engine::JobContext& job, graph::View& view,
                                                  const graph::Node& layer,
                                                  const CheckOptions& options);
  // False when one is missing or not sound; those that the graph lacks are added to the addition.
  Result<bool> find_layers(engine::JobContext& job, Addition& addition);
  // Makes the layer unless it is here; one that the graph has and the disk has lost is made again.
  Status add_layer(engine::JobContext& job, const LayerInput& input, ByteSource& blob,
                   Addition& addition);
  Status put_config(engine::JobContext& job, std::string_view blob, Addition& addition);
  // Adds what is collected to the closing transaction.
  Status add_images(engine::JobContext& job, std::vector<Addition> additions);
  // Puts a small blob (a configuration, a manifest) into the content store, under its row.
  Status put_blob(engine::JobContext& job, std::string_view blob, const Digest& digest);
  Status write_manifests(graph::Transaction& tx, const Addition& addition,
                         graph::NodeId image) const;
  Status write_addition(graph::Transaction& tx, const Addition& addition) const;
  Status set_tag(graph::Transaction& tx, const Reference& name, graph::NodeId image) const;
  Status set_admission(graph::Transaction& tx, const Admission& admission,
                       graph::NodeId image) const;

  friend class LayerRefetcher;
  friend class Loader;
  friend class Puller;
  friend class Pusher;
  friend class Remover;

  graph::Graph graph_;
  graph::ContentStore& content_;
  std::shared_ptr<drivers::GraphDriver> driver_;
  std::string temporary_directory_;
  std::unique_ptr<PartialBlobs> partials_;
  LayerClaims claims_;
  LayerLimits limits_;
  PullPolicy pull_policy_;
  ArchivePolicy archive_policy_;
  mutable std::mutex cache_mutex_;
  mutable std::map<std::string, std::shared_ptr<const ImageConfig>> configs_;  // by image id
};

}  // namespace gantry::image

namespace gantry::json {
template <>
struct Schema<image::ImageRecord> {
  using T = image::ImageRecord;
  static constexpr Field fields[] = {field<&T::created>("created", kOmitEmpty),
                                     field<&T::top_layer>("top_layer", kOmitEmpty),
                                     field<&T::size>("size"),
                                     field<&T::tagged_at>("tagged_at", kOmitEmpty),
                                     field<&T::os>("os"),
                                     field<&T::architecture>("architecture"),
                                     field<&T::variant>("variant", kOmitEmpty),
                                     field<&T::parent>("parent", kOmitEmpty),
                                     field<&T::labels>("labels", kOmitEmpty),
                                     field<&T::origins>("origins", kOmitEmpty),
                                     field<&T::signatures>("signatures", kOmitEmpty)};
};
template <>
struct Schema<image::LayerBlob> {
  using T = image::LayerBlob;
  static constexpr Field fields[] = {
      field<&T::digest>("digest"), field<&T::size>("size"), field<&T::media_type>("media_type"),
      field<&T::encoder>("encoder", kOmitEmpty), field<&T::sources>("sources", kOmitEmpty)};
};
template <>
struct Schema<image::ManifestData> {
  using T = image::ManifestData;
  static constexpr Field fields[] = {field<&T::media_type>("media_type", kOmitEmpty)};
};
template <>
struct Schema<image::LayerData> {
  using T = image::LayerData;
  static constexpr Field fields[] = {
      field<&T::diff_id>("diff_id"), field<&T::directory>("directory"),
      field<&T::archive_size>("archive_size"), field<&T::blobs>("blobs", kOmitEmpty)};
};
}  // namespace gantry::json

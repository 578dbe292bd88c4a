// Taking images in: archives of `docker save` and OCI layouts.
#include <algorithm>

#include "base/failpoint.h"
#include "drivers/graph/layer_directories.h"
#include "engine/engine.h"
#include "image/archive.h"
#include "image/local_store.h"

namespace gantry::image {

using graph::NodeKind;

namespace {

constexpr int kMaxIndexDepth = 4;

std::string host_architecture() {
#if defined(__x86_64__)
  return "amd64";
#elif defined(__aarch64__)
  return "arm64";
#else
  return "unknown";
#endif
}

// Heeds the job's cancellation.
class Watched final : public ByteSource {
 public:
  Watched(ByteSource& source, engine::JobContext& job) : source_(source), job_(job) {}
  Result<size_t> read(std::span<char> into) override {
    TRY(job_.check());
    return source_.read(into);
  }

 private:
  ByteSource& source_;
  engine::JobContext& job_;
};

}  // namespace

Result<LocalStore::Applied> LocalStore::apply_layer(engine::JobContext& job,
                                                    const LayerInput& input, ByteSource& blob,
                                                    const std::string& directory) {
  // Without the parent nothing is read.
  if (!input.parent.empty()) (void)TRY(driver_->layer(input.parent));
  Watched watched(blob, job);
  PipelineInput pipeline;
  pipeline.name = input.diff_id.text();
  pipeline.size = input.compressed_size;
  pipeline.compressed = &watched;
  pipeline.limits = limits_;
  pipeline.digest_compressed = false;
  PipelineResult read = TRY(run_pipeline(pipeline, [&](ByteSource& tar) -> Status {
    (void)TRY(driver_->ingest(directory, tar));
    return {};
  }));
  if (read.tar != input.diff_id)
    return invalid("wrong diff id calculated on extraction: expected {}, got {}",
                   input.diff_id.text(), read.tar.text());
  Applied applied;
  applied.diff_id = read.tar;
  applied.archive_size = read.tar_size;
  applied.info = TRY(driver_->publish({input.chain_id, input.diff_id, input.parent, directory}));
  return applied;
}

Status LocalStore::put_config(engine::JobContext& job, std::string_view blob, Addition& addition) {
  addition.id = Digest::of(blob);
  addition.config_size = static_cast<int64_t>(blob.size());
  return put_blob(job, blob, addition.id);
}

Status LocalStore::put_blob(engine::JobContext& job, std::string_view blob, const Digest& digest) {
  bool known = TRY(graph_.read().contains(NodeKind::blob, digest.text()));
  if (known && content_.contains(digest)) return {};
  engine::Resource row;
  row.kind = kBlobKind;
  row.name = digest.text();
  row.owner = "blob:" + digest.text();
  Status taken = job.take({row});
  if (!taken && taken.error().kind() != ErrorKind::conflict) return taken;
  // This job has it already, or its file was lost and its row was not.
  if (!taken && content_.contains(digest)) return {};
  TRY(content_.put(blob));
  return {};
}

Status LocalStore::add_layer(engine::JobContext& job, const LayerInput& input, ByteSource& blob,
                             Addition& addition) {
  bool known = TRY(graph_.read().contains(NodeKind::layer, input.chain_id.text()));
  if (known) {
    bool complete = TRY(driver_->directories().complete(input.chain_id));
    if (complete) return {};
    TRY(job.release_owned("layer:" + input.chain_id.text()));
  }
  engine::Resource row;
  row.kind = drivers::kLayerKind;
  row.name = drivers::new_layer_directory();
  row.owner = "layer:" + input.chain_id.text();
  TRY(job.take({row}));
  Applied applied = TRY(apply_layer(job, input, blob, row.name));
  Addition::NewLayer layer;
  layer.chain_id = input.chain_id;
  layer.parent = input.parent;
  layer.data = {applied.diff_id.text(), row.name, applied.archive_size};
  layer.size = static_cast<int64_t>(applied.info.size);
  addition.new_layers.push_back(std::move(layer));
  return {};
}

// One load job.
class Loader {
 public:
  Loader(LocalStore& store, engine::JobContext& job, const Archive& archive,
         const Progress& progress)
      : store_(store), job_(job), archive_(archive), progress_(progress) {}

  Result<std::vector<LoadedImage>> run() {
    if (archive_.contains("manifest.json")) {
      TRY(admit("docker-archive"));
      TRY(load_saved());
    } else if (archive_.contains("index.json")) {
      TRY(admit("oci-archive"));
      TRY(load_layout());
    } else {
      return invalid("the archive holds no image: neither manifest.json nor index.json is in it");
    }
    if (additions_.empty()) return invalid("the archive holds no image for this platform");
    std::vector<LoadedImage> loaded;
    for (const Addition& addition : additions_) {
      LoadedImage image{addition.id, {}};
      for (const Reference& name : addition.names) image.names.push_back(name.familiar());
      loaded.push_back(std::move(image));
    }
    TRY(store_.add_images(job_, std::move(additions_)));
    for (const LoadedImage& image : loaded) {
      for (const std::string& name : image.names) say("Loaded image: " + name);
      if (image.names.empty()) say("Loaded image ID: " + image.id.text());
    }
    return loaded;
  }

 private:
  Status admit(std::string_view transport) {
    if (store_.archive_policy_) admission_ = TRY(store_.archive_policy_({transport}));
    return {};
  }

  void say(const std::string& text) {
    if (progress_) progress_(json::object{{"stream", text + "\n"}});
  }

  Status load_saved() {
    std::string text = TRY(archive_.read("manifest.json"));
    auto images = TRY(json::parse<std::vector<SavedImage>>(text).context("manifest.json"));
    for (const SavedImage& image : images) {
      std::string blob = TRY(archive_.read(image.config));
      std::vector<Reference> names;
      for (const std::string& tag : image.repo_tags) {
        Reference name = TRY(Reference::parse(tag).context("manifest.json: RepoTags"));
        if (name.tag().empty()) return invalid("manifest.json: RepoTags: \"{}\" has no tag", tag);
        names.push_back(name.without_digest());
      }
      TRY(add_image(blob, image.layers, std::move(names)));
    }
    return {};
  }

  Status load_layout() {
    std::string text = TRY(archive_.read("index.json"));
    Manifest index = TRY(Manifest::parse(text).context("index.json"));
    if (!index.is_index()) return invalid("index.json: it is not an index");
    return load_index(index, {}, 0);
  }

  // A name may be given at any level; what is below inherits it.
  Status load_index(const Manifest& index, const std::vector<Reference>& inherited, int depth) {
    if (depth > kMaxIndexDepth) return invalid("index.json: indexes are nested too deep");
    for (const Descriptor& descriptor : *index.manifests) {
      if (descriptor.annotations.contains("vnd.docker.reference.type")) continue;  // attestations
      if (descriptor.platform && !fits(*descriptor.platform)) continue;
      std::vector<Reference> names = TRY(names_of(descriptor));
      if (names.empty()) names = inherited;
      std::string blob = TRY(read_blob(descriptor));
      Manifest manifest = TRY(Manifest::parse(blob).context("{}", descriptor.digest));
      if (manifest.is_index()) {
        TRY(load_index(manifest, names, depth + 1));
        continue;
      }
      std::string config = TRY(read_blob(*manifest.config));
      std::vector<std::string> layers;
      for (const Descriptor& layer : *manifest.layers) {
        Digest digest = TRY(Digest::parse(layer.digest));
        layers.push_back(blob_path(digest));
      }
      TRY(add_image(config, layers, std::move(names)));
    }
    return {};
  }

  static bool fits(const Platform& platform) {
    return platform.os == "linux" &&
           (platform.architecture.empty() || platform.architecture == host_architecture());
  }

  // containerd writes the whole name, the OCI annotation is only a tag unless it has the form of a
  // name.
  static Result<std::vector<Reference>> names_of(const Descriptor& descriptor) {
    for (const char* key : {"io.containerd.image.name", "org.opencontainers.image.ref.name"}) {
      auto found = descriptor.annotations.find(key);
      if (found == descriptor.annotations.end() || found->second.empty()) continue;
      bool whole = std::string_view(key).starts_with("io.") ||
                   found->second.find_first_of("/:") != std::string::npos;
      if (!whole) continue;
      Reference name = TRY(Reference::parse(found->second).context("annotation {}", key));
      name = name.without_digest().with_default_tag();
      return std::vector<Reference>{std::move(name)};
    }
    return std::vector<Reference>();
  }

  Result<std::string> read_blob(const Descriptor& descriptor) {
    Digest digest = TRY(Digest::parse(descriptor.digest));
    std::string blob = TRY(archive_.read(blob_path(digest)));
    if (Digest::of(blob) != digest || static_cast<int64_t>(blob.size()) != descriptor.size)
      return invalid("blob {} does not have the digest and size that its descriptor says",
                     descriptor.digest);
    return blob;
  }

  Status add_image(const std::string& blob, const std::vector<std::string>& layers,
                   std::vector<Reference> names) {
    Addition addition;
    addition.config = TRY(ImageConfig::parse(blob));
    if (addition.config.os != "linux")
      return invalid("cannot load {} image on linux", addition.config.os);
    const std::vector<std::string>& diff_ids = addition.config.rootfs.diff_ids;
    if (layers.size() != diff_ids.size())
      return invalid("invalid manifest, layers length mismatch: expected {}, got {}", layers.size(),
                     diff_ids.size());
    addition.chain = TRY(chain_ids(diff_ids));
    for (size_t i = 0; i < layers.size(); ++i) {
      LocalStore::LayerInput input;
      if (i > 0) input.parent = addition.chain[i - 1];
      input.chain_id = addition.chain[i];
      input.diff_id = TRY(Digest::parse(diff_ids[i]));
      bool made = !made_.insert(input.chain_id.text()).second;
      if (made) continue;
      std::unique_ptr<ByteSource> source = TRY(archive_.open(layers[i]));
      input.compressed_size = static_cast<int64_t>(TRY(archive_.size(layers[i])));
      TRY(store_.add_layer(job_, input, *source, addition).context("layer {}", layers[i]));
    }
    TRY(store_.put_config(job_, blob, addition));
    addition.names = std::move(names);
    addition.admission = admission_;
    // The same image twice in one archive is one image with more names.
    auto same = std::find_if(additions_.begin(), additions_.end(),
                             [&](const Addition& other) { return other.id == addition.id; });
    if (same == additions_.end()) {
      additions_.push_back(std::move(addition));
    } else {
      same->names.insert(same->names.end(), addition.names.begin(), addition.names.end());
    }
    return {};
  }

  LocalStore& store_;
  engine::JobContext& job_;
  const Archive& archive_;
  const Progress& progress_;
  std::vector<Addition> additions_;
  std::set<std::string> made_;  // chain ids
  std::optional<Admission> admission_;
};

Result<std::vector<LoadedImage>> LocalStore::load(engine::JobContext& job, ByteSource& archive,
                                                  const Progress& progress) {
  TRY(failpoint("image.spool"));
  std::unique_ptr<Archive> spooled = TRY(Archive::spool(archive, temporary_directory_, limits_));
  TRY(failpoint("image.spooled"));
  TRY(job.check());
  TRY(lock(job));
  return Loader(*this, job, *spooled, progress).run();
}

}  // namespace gantry::image

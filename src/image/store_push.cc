// Sending images to a registry. What was pulled goes out under the manifest it came with; layers
// are skipped, mounted, streamed from where they came from, or made again and compared, in this
// order.
#include <algorithm>
#include <thread>

#include "base/failpoint.h"
#include "base/log.h"
#include "engine/engine.h"
#include "image/layer_encoder.h"
#include "image/layer_fetcher.h"
#include "image/local_store.h"

namespace gantry::image {

using graph::EdgeKind;
using graph::Node;
using graph::NodeKind;

namespace {

constexpr auto kBetween = std::chrono::milliseconds(100);
constexpr std::string_view kDockerLayer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";

std::string domain_of(const std::string& name) { return name.substr(0, name.find('/')); }
std::string path_of(const std::string& name) { return name.substr(name.find('/') + 1); }

// The tar of a layer, compared with its diff id as it passes.
class CheckedTar final : public ByteSource {
 public:
  CheckedTar(std::unique_ptr<ByteSource> tar, Digest expected)
      : tar_(std::move(tar)), expected_(std::move(expected)) {}
  Result<size_t> read(std::span<char> into) override {
    size_t got = TRY(tar_->read(into));
    if (got > 0) {
      hash_.update({into.data(), got});
    } else if (!std::exchange(checked_, true) && hash_.finish() != expected_) {
      return internal("layer {}: its files have changed on disk", expected_.text());
    }
    return got;
  }

 private:
  std::unique_ptr<ByteSource> tar_;
  Digest expected_;
  Sha256 hash_;
  bool checked_ = false;
};

}  // namespace

// One image, one tag.
class Pusher {
 public:
  Pusher(LocalStore& store, engine::JobContext& job, RemoteRepository& remote,
         const Reference& reference, const PushOptions& options, const Progress& progress)
      : store_(store),
        job_(job),
        remote_(remote),
        reference_(reference),
        options_(options),
        progress_(progress) {}

  Result<PushedImage> run() {
    TRY(find());
    for (const Layer& layer : layers_) say(layer, "Preparing");
    TRY(send_layers());
    TRY(send_config());
    TRY(failpoint("image.push-manifest"));
    TRY(make_manifest());
    TRY(remote_.put_manifest(reference_.tag(), manifest_));
    TRY(remember());
    PushedImage pushed{manifest_.digest, static_cast<int64_t>(manifest_.bytes.size()),
                       recompressed_};
    say({{"status", fmt::format("{}: digest: {} size: {}", reference_.tag(), pushed.digest.text(),
                                pushed.size)}});
    say({{"progressDetail", json::object{}},
         {"aux", json::object{{"Tag", reference_.tag()},
                              {"Digest", pushed.digest.text()},
                              {"Size", pushed.size}}}});
    return pushed;
  }

 private:
  struct Layer {
    Digest chain_id;
    Digest diff_id;
    LayerData data;
    std::optional<Descriptor> wanted;  // as the manifest that is sent has it
    LayerBlob sent;                    // what the registry has now
    bool done = false;
  };
  struct Event {
    std::string id;
    std::string status;
    int64_t current = -1;
    int64_t total = -1;
  };

  void say(json::object line) {
    if (progress_) progress_(std::move(line));
  }
  void say(const Layer& layer, std::string_view status) {
    say({{"status", status}, {"progressDetail", json::object{}}, {"id", short_id(layer.diff_id)}});
  }

  Status find() {
    graph::View view = store_.graph_.read();
    Result<Node> tag = view.get(NodeKind::tag, reference_.text());
    std::vector<Node> images;
    if (tag) images = TRY(view.targets(tag->id, EdgeKind::names));
    if (images.empty())
      return not_found("An image does not exist locally with the tag: {}",
                       reference_.familiar_name());
    image_ = images.front();
    id_ = TRY(Digest::parse(image_.key));
    config_ = TRY(store_.content_.read(id_));
    std::vector<Node> nodes = TRY(store_.layers_of(view, image_.id));
    for (const Node& node : nodes) {
      Layer layer;
      layer.chain_id = TRY(Digest::parse(node.key));
      layer.data = TRY(json::parse<LayerData>(node.data));
      layer.diff_id = TRY(Digest::parse(layer.data.diff_id));
      layers_.push_back(std::move(layer));
    }
    // The image stays until this is done, whatever is removed meanwhile.
    TRY(store_.graph_.database().write(graph::Durability::normal, graph::Space::ordinary,
                                       [&](graph::Transaction& tx) -> Status {
                                         (void)TRY(store_.graph_.read(tx).get(image_.id));
                                         return job_.lease(tx, image_.id);
                                       }));
    return find_manifest(view);
  }

  // The manifest that the image came with, byte for byte; the latest when there are several.
  Status find_manifest(graph::View& view) {
    std::vector<Node> blobs = TRY(view.targets(image_.id, EdgeKind::content_of));
    std::sort(blobs.begin(), blobs.end(),
              [](const Node& a, const Node& b) { return a.used_at > b.used_at; });
    // One that this repository has by digest is preferred: most is there already.
    std::stable_partition(blobs.begin(), blobs.end(), [&](const Node& blob) {
      return view.contains(NodeKind::tag, reference_.with_digest(blob.key).text()).value_or(false);
    });
    for (const Node& blob : blobs) {
      Result<ManifestData> data = json::parse<ManifestData>(blob.data);
      if (!data || data->media_type.empty()) continue;
      Result<Digest> digest = Digest::parse(blob.key);
      if (!digest) continue;
      Result<std::string> bytes = store_.content_.read(*digest);
      if (!bytes) continue;
      Result<Manifest> parsed = Manifest::parse(*bytes);
      if (!parsed || parsed->is_index() || parsed->layers->size() != layers_.size()) continue;
      manifest_ = {*digest, data->media_type, bytes.release()};
      for (size_t i = 0; i < layers_.size(); ++i) layers_[i].wanted = (*parsed->layers)[i];
      return {};
    }
    return {};
  }

  Status send_layers() {
    size_t count =
        std::min<size_t>(layers_.size(), static_cast<size_t>(std::max(options_.parallel, 1)));
    std::vector<std::thread> threads;
    running_ = count;
    for (size_t i = 0; i < count; ++i) threads.emplace_back([this] { work(); });
    while (count > 0) {
      std::optional<Event> event = events_.pop();
      if (!event) break;
      json::object line{{"status", event->status}, {"id", event->id}};
      json::object detail;
      if (event->current >= 0) detail["current"] = event->current;
      if (event->total >= 0) detail["total"] = event->total;
      line["progressDetail"] = std::move(detail);
      say(std::move(line));
    }
    for (std::thread& thread : threads) thread.join();
    if (failure_) return std::move(*failure_);
    return {};
  }

  void work() {
    while (true) {
      Layer* layer = nullptr;
      {
        std::lock_guard lock(mutex_);
        if (!failure_ && next_ < layers_.size()) layer = &layers_[next_++];
        if (layer == nullptr && --running_ == 0) events_.close();
      }
      if (layer == nullptr) return;
      Status status;
      try {
        status = send(*layer);
      } catch (const std::exception& error) {
        status = internal("layer {}: {}", layer->diff_id.text(), error.what());
      }
      if (status) continue;
      std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::move(status).error();
    }
  }

  void tell(const Layer& layer, std::string status, int64_t current = -1, int64_t total = -1) {
    Event event{short_id(layer.diff_id), std::move(status), current, total};
    if (current >= 0)
      (void)events_.try_push(std::move(event));
    else
      (void)events_.push(std::move(event));
  }

  // The forms in which the layer may be sent, the best first.
  std::vector<LayerBlob> forms(const Layer& layer) const {
    std::vector<LayerBlob> out;
    if (layer.wanted) {
      LayerBlob form;
      form.digest = layer.wanted->digest;
      form.size = layer.wanted->size;
      form.media_type = layer.wanted->media_type;
      for (const LayerBlob& known : layer.data.blobs)
        if (known.digest == form.digest) {
          form.encoder = known.encoder;
          form.sources = known.sources;
        }
      out.push_back(std::move(form));
      return out;
    }
    out = layer.data.blobs;
    // What this very repository has had comes first.
    std::stable_partition(out.begin(), out.end(), [&](const LayerBlob& form) {
      return std::find(form.sources.begin(), form.sources.end(), remote_.name()) !=
             form.sources.end();
    });
    return out;
  }

  Status send(Layer& layer) {
    TRY(failpoint("image.push-layer"));
    std::vector<LayerBlob> candidates = forms(layer);
    for (const LayerBlob& form : candidates) {
      Digest digest = TRY(Digest::parse(form.digest));
      bool there = TRY(remote_.has_blob(digest));
      if (!there) continue;
      tell(layer, "Layer already exists");
      return sent(layer, form);
    }
    for (const LayerBlob& form : candidates) {
      bool mounted = TRY(mount(layer, form));
      if (mounted) return sent(layer, form);
    }
    tell(layer, "Waiting");
    std::string why;
    for (const LayerBlob& form : candidates) {
      bool streamed = TRY(stream_original(layer, form, why));
      if (streamed) return sent(layer, form);
    }
    for (const LayerBlob& form : candidates) {
      if (!form.encoder.empty() && form.encoder != encoder_name()) continue;
      bool same = TRY(encode_same(layer, form, why));
      if (same) return sent(layer, form);
    }
    if (layer.wanted && !options_.recompress)
      return Error(
          ErrorKind::conflict,
          fmt::format(
              "layer {}: its compressed form {} is not here, and cannot be had or made again "
              "({}): push with --recompress to send it compressed anew, which changes the "
              "image's digest",
              short_id(layer.diff_id), layer.wanted->digest,
              why.empty() ? "no source has it" : why));
    return encode(layer);
  }

  Status sent(Layer& layer, LayerBlob form) {
    form.sources = {remote_.name()};
    layer.sent = std::move(form);
    layer.done = true;
    return {};
  }

  Result<bool> mount(Layer& layer, const LayerBlob& form) {
    Digest digest = TRY(Digest::parse(form.digest));
    for (const std::string& source : form.sources) {
      if (source == remote_.name() || domain_of(source) != domain_of(remote_.name())) continue;
      bool mounted = TRY(remote_.mount(digest, path_of(source)));
      if (!mounted) continue;
      tell(layer, "Mounted from " + path_of(source));
      return true;
    }
    return false;
  }

  std::function<void(int64_t)> meter(const Layer& layer, int64_t total) {
    auto last = std::make_shared<std::chrono::steady_clock::time_point>();
    return [this, &layer, total, last](int64_t size) {
      auto now = std::chrono::steady_clock::now();
      if (now - *last < kBetween && size != total) return;
      *last = now;
      tell(layer, "Pushing", size, total);
    };
  }

  // The kept blob, or the one of a registry that had it. False when nobody gives it.
  Result<bool> stream_original(Layer& layer, const LayerBlob& form, std::string& why) {
    Digest digest = TRY(Digest::parse(form.digest));
    std::vector<BlobOpener> openers;
    if (store_.content_.contains(digest))
      openers.push_back([this, digest]() -> Result<std::unique_ptr<ByteSource>> {
        UniqueFd fd = TRY(store_.content_.open_blob(digest));
        return std::unique_ptr<ByteSource>(std::make_unique<FdSource>(std::move(fd)));
      });
    Descriptor descriptor;
    descriptor.digest = form.digest;
    descriptor.size = form.size;
    descriptor.media_type = form.media_type;
    for (const std::string& source : form.sources) {
      if (source == remote_.name() || !options_.sources) continue;
      Result<std::unique_ptr<RemoteRepository>> opened = options_.sources(source);
      if (!opened) continue;
      std::shared_ptr<RemoteRepository> repository = opened.release();
      openers.push_back([repository, descriptor] { return repository->blob(descriptor, 0); });
    }
    for (const BlobOpener& open : openers) {
      Result<std::unique_ptr<ByteSource>> probe = open();
      if (!probe) {
        if (probe.error().kind() == ErrorKind::cancelled) return std::move(probe).error();
        why = probe.error().message();
        continue;
      }
      probe->reset();
      Result<UploadedBlob> uploaded =
          remote_.upload(digest, form.size, open, meter(layer, form.size));
      if (!uploaded) return std::move(uploaded).error().context("layer " + short_id(layer.diff_id));
      tell(layer, "Pushed");
      return true;
    }
    return false;
  }

  BlobOpener encoder_of(const Layer& layer) {
    return [this, &layer]() -> Result<std::unique_ptr<ByteSource>> {
      std::unique_ptr<ByteSource> tar = TRY(store_.driver_->read_layer(layer.chain_id));
      return encode_layer(std::make_unique<CheckedTar>(std::move(tar), layer.diff_id));
    };
  }

  // Compresses as Gantry does and compares before anything is sent.
  Result<bool> encode_same(Layer& layer, const LayerBlob& form, std::string& why) {
    Digest digest = TRY(Digest::parse(form.digest));
    BlobOpener open = encoder_of(layer);
    if (form.encoder.empty()) {
      std::unique_ptr<ByteSource> trial = TRY(open());
      Sha256 hash;
      std::vector<char> buffer(256u << 10);
      int64_t size = 0;
      while (true) {
        TRY(job_cancelled());
        size_t got = TRY(trial->read(buffer));
        if (got == 0) break;
        hash.update({buffer.data(), got});
        size += static_cast<int64_t>(got);
        if (size > form.size) break;
      }
      if (hash.finish() != digest) {
        if (why.empty()) why = "it was compressed by another encoder";
        return false;
      }
    }
    Result<UploadedBlob> uploaded =
        remote_.upload(digest, form.size, open, meter(layer, form.size));
    if (!uploaded) return std::move(uploaded).error().context("layer " + short_id(layer.diff_id));
    tell(layer, "Pushed");
    return true;
  }

  Status job_cancelled() { return job_.cancel().check(); }

  Status encode(Layer& layer) {
    Result<UploadedBlob> uploaded =
        remote_.upload({}, -1, encoder_of(layer), meter(layer, layer.data.archive_size));
    if (!uploaded) return std::move(uploaded).error().context("layer " + short_id(layer.diff_id));
    LayerBlob form;
    form.digest = uploaded->digest.text();
    form.size = uploaded->size;
    form.media_type = kDockerLayer;
    form.encoder = encoder_name();
    tell(layer, "Pushed");
    return sent(layer, std::move(form));
  }

  Status send_config() {
    bool there = TRY(remote_.has_blob(id_));
    if (there) return {};
    BlobOpener open = [this]() -> Result<std::unique_ptr<ByteSource>> {
      return std::unique_ptr<ByteSource>(std::make_unique<MemorySource>(config_));
    };
    Result<UploadedBlob> uploaded =
        remote_.upload(id_, static_cast<int64_t>(config_.size()), open, {});
    if (!uploaded) return std::move(uploaded).error().context("configuration " + short_id(id_));
    return {};
  }

  // What is here already, unless a layer went out in another form.
  Status make_manifest() {
    bool same = !manifest_.bytes.empty();
    for (const Layer& layer : layers_)
      same = same && layer.wanted && layer.wanted->digest == layer.sent.digest;
    if (same) return {};
    recompressed_ = !manifest_.bytes.empty();
    json::array layers;
    for (const Layer& layer : layers_)
      layers.push_back(json::object{{"mediaType", docker_type(layer.sent.media_type)},
                                    {"size", layer.sent.size},
                                    {"digest", layer.sent.digest}});
    json::object manifest{{"schemaVersion", 2},
                          {"mediaType", kDockerManifest},
                          {"config", json::object{{"mediaType", kDockerConfig},
                                                  {"size", static_cast<int64_t>(config_.size())},
                                                  {"digest", id_.text()}}},
                          {"layers", std::move(layers)}};
    bool zstd = std::any_of(layers_.begin(), layers_.end(), [](const Layer& layer) {
      return layer.sent.media_type.ends_with("+zstd");
    });
    if (zstd) {  // which only OCI knows
      manifest["mediaType"] = kOciManifest;
      manifest["config"].get_object()["mediaType"] = kOciConfig;
      for (size_t i = 0; i < layers_.size(); ++i)
        manifest["layers"].get_array()[i].get_object()["mediaType"] =
            oci_type(layers_[i].sent.media_type);
    }
    manifest_.bytes = json::serialize(manifest);
    manifest_.digest = Digest::of(manifest_.bytes);
    manifest_.media_type = zstd ? kOciManifest : kDockerManifest;
    return {};
  }
  static std::string docker_type(const std::string& type) {
    if (type == kOciLayer || type == "application/vnd.docker.image.rootfs.diff.tar")
      return "application/vnd.docker.image.rootfs.diff.tar";
    return std::string(kDockerLayer);
  }
  static std::string oci_type(const std::string& type) {
    if (type.ends_with("+zstd")) return type;
    if (docker_type(type) == kDockerLayer) return std::string(kOciLayer) + "+gzip";
    return std::string(kOciLayer);
  }

  // Without the images' lock, which would be held while other tags are sent; a lease keeps the
  // image.
  Status remember() {
    Addition addition;
    addition.id = id_;
    addition.config_size = static_cast<int64_t>(config_.size());
    addition.names = {reference_.with_digest(manifest_.digest.text())};
    for (const Layer& layer : layers_) {
      addition.chain.push_back(layer.chain_id);
      addition.layer_blobs[layer.chain_id.text()] = layer.sent;
    }
    TRY(store_.put_blob(job_, manifest_.bytes, manifest_.digest));
    Addition::KnownManifest known;
    known.digest = manifest_.digest;
    known.size = static_cast<int64_t>(manifest_.bytes.size());
    known.media_type = manifest_.media_type;
    addition.manifests.push_back(std::move(known));
    LocalStore* store = &store_;
    job_.on_commit([store, addition = std::move(addition)](graph::Transaction& tx) -> Status {
      // Removed meanwhile: then there is nothing to remember.
      bool there = TRY(store->graph_.read(tx).contains(NodeKind::image, addition.id.text()));
      return there ? store->write_addition(tx, addition) : Status();
    });
    return {};
  }

  LocalStore& store_;
  engine::JobContext& job_;
  RemoteRepository& remote_;
  const Reference& reference_;
  const PushOptions& options_;
  const Progress& progress_;
  Node image_;
  Digest id_;
  std::string config_;
  RemoteManifest manifest_;
  std::vector<Layer> layers_;
  bool recompressed_ = false;

  Channel<Event> events_{256};
  std::mutex mutex_;
  size_t next_ = 0;
  size_t running_ = 0;
  std::optional<Error> failure_;
};

Result<PushedImage> LocalStore::push(engine::JobContext& job, RemoteRepository& remote,
                                     const Reference& reference, const PushOptions& options,
                                     const Progress& progress) {
  if (!reference.digest().empty()) return invalid("cannot push a digest reference");
  return Pusher(*this, job, remote, reference, options, progress).run();
}

}  // namespace gantry::image

// Images as one archive that is both what `docker load` has always read (manifest.json,
// repositories) and an OCI layout (oci-layout, index.json, blobs), as Docker 25 and later write it.
#include <algorithm>

#include "base/tar.h"
#include "image/local_store.h"

namespace gantry::image {

using graph::Node;

namespace {

json::object descriptor(std::string_view media_type, const std::string& digest, int64_t size) {
  return {{"mediaType", media_type}, {"digest", digest}, {"size", size}};
}

// Adds each name once; the times are zero so that equal images make equal archives.
class ArchiveWriter {
 public:
  explicit ArchiveWriter(ByteSink& out) : tar_(out) {}

  Status directory(const std::string& path) {
    tar::Entry entry;
    entry.type = tar::Type::directory;
    entry.path = path;
    entry.mode = 0755;
    return tar_.begin(entry);
  }
  Status file(const std::string& path, std::string_view contents) {
    if (!names_.insert(path).second) return {};
    return tar_.add(entry_of(path, contents.size()), contents);
  }
  bool has(const std::string& path) const { return names_.contains(path); }
  // `size` bytes of `source`, which must have just that many.
  Status stream(const std::string& path, uint64_t size, ByteSource& source) {
    names_.insert(path);
    TRY(tar_.begin(entry_of(path, size)));
    std::vector<char> buffer(256 << 10);
    for (;;) {
      size_t got = TRY(source.read(buffer));
      if (got == 0) return {};
      TRY(tar_.write({buffer.data(), got}));
    }
  }
  Status finish() { return tar_.finish(); }

 private:
  static tar::Entry entry_of(const std::string& path, uint64_t size) {
    tar::Entry entry;
    entry.path = path;
    entry.mode = 0644;
    entry.size = size;
    return entry;
  }
  tar::Writer tar_;
  std::set<std::string> names_;
};

// Digests what passes, so that a layer that no longer is what it was is noticed.
class Checked final : public ByteSource {
 public:
  Checked(ByteSource& source, const Digest& expected) : source_(source), expected_(expected) {}
  Result<size_t> read(std::span<char> into) override {
    size_t got = TRY(source_.read(into));
    if (got > 0) {
      hash_.update({into.data(), got});
    } else if (!checked_) {
      checked_ = true;
      if (hash_.finish() != expected_)
        return internal("layer {}: its files have changed on disk", expected_.text());
    }
    return got;
  }

 private:
  ByteSource& source_;
  Digest expected_;
  Sha256 hash_;
  bool checked_ = false;
};

struct Wanted {
  Node node;
  std::vector<Reference> names;
};

}  // namespace

Status LocalStore::save(const std::vector<std::string>& names, ByteSink& out) const {
  std::vector<Wanted> wanted;
  graph::View view = graph_.read();
  for (const std::string& name : names) {
    Located located = TRY(locate(view, name));
    std::vector<Reference> tags;
    if (located.reference && !located.reference->tag().empty()) tags = {*located.reference};
    auto known = std::find_if(wanted.begin(), wanted.end(),
                              [&](const Wanted& w) { return w.node.id == located.node.id; });
    if (known == wanted.end()) {
      wanted.push_back({std::move(located.node), std::move(tags)});
    } else {
      known->names.insert(known->names.end(), tags.begin(), tags.end());
    }
  }
  ArchiveWriter archive(out);
  TRY(archive.directory("blobs"));
  TRY(archive.directory("blobs/sha256"));
  json::array index;
  json::array saved;
  json::object repositories;
  for (const Wanted& image : wanted) {
    Digest id = TRY(Digest::parse(image.node.key));
    std::string config = TRY(content_.read(id));
    TRY(archive.file(blob_path(id), config));
    json::array layer_descriptors;
    json::array layer_paths;
    json::object layer_sources;
    std::string top;
    std::vector<Node> layers = TRY(layers_of(view, image.node.id));
    for (const Node& layer : layers) {
      LayerData data = TRY(json::parse<LayerData>(layer.data));
      Digest diff_id = TRY(Digest::parse(data.diff_id));
      Digest chain_id = TRY(Digest::parse(layer.key));
      std::string path = blob_path(diff_id);
      top = chain_id.hex();
      if (!archive.has(path)) {
        std::unique_ptr<ByteSource> tar = TRY(driver_->read_layer(chain_id));
        Checked checked(*tar, diff_id);
        TRY(archive.stream(path, static_cast<uint64_t>(data.archive_size), checked));
      }
      json::object described = descriptor(kOciLayer, data.diff_id, data.archive_size);
      layer_sources[data.diff_id] = described;
      layer_descriptors.push_back(std::move(described));
      layer_paths.push_back(json::value(path));
    }
    json::object manifest{
        {"schemaVersion", 2},
        {"mediaType", kOciManifest},
        {"config", descriptor(kOciConfig, id.text(), static_cast<int64_t>(config.size()))},
        {"layers", std::move(layer_descriptors)}};
    std::string text = json::serialize(manifest);
    Digest manifest_digest = Digest::of(text);
    TRY(archive.file(blob_path(manifest_digest), text));
    json::object described =
        descriptor(kOciManifest, manifest_digest.text(), static_cast<int64_t>(text.size()));
    json::array tags;
    for (const Reference& name : image.names) {
      json::object named = described;
      named["annotations"] = json::object{{"io.containerd.image.name", name.text()},
                                          {"org.opencontainers.image.ref.name", name.tag()}};
      index.push_back(std::move(named));
      tags.push_back(json::value(name.familiar()));
      json::value& repository = repositories[name.familiar_name()];
      if (!repository.is_object()) repository = json::object();
      repository.get_object()[name.tag()] = top;
    }
    if (image.names.empty()) index.push_back(std::move(described));
    saved.push_back(
        json::object{{"Config", blob_path(id)},
                     {"RepoTags", tags.empty() ? json::value(nullptr) : json::value(tags)},
                     {"Layers", std::move(layer_paths)},
                     {"LayerSources", std::move(layer_sources)}});
  }
  TRY(archive.file("index.json", json::serialize(json::object{{"schemaVersion", 2},
                                                              {"mediaType", kOciIndex},
                                                              {"manifests", std::move(index)}})));
  TRY(archive.file("manifest.json", json::serialize(saved)));
  TRY(archive.file("oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
  if (!repositories.empty()) TRY(archive.file("repositories", json::serialize(repositories)));
  return archive.finish();
}

}  // namespace gantry::image

// erofs: a layer is kept as the tar that its diff id names, with a small EROFS index over it that
// maps the contents of files to where they lie in the tar. Nothing is unpacked; the layer is
// mounted out of the two files (Linux 6.12) under an overlay. A container is an upper directory, as
// of overlay2.
#include <fcntl.h>

#include <list>
#include <map>
#include <mutex>

#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/overlay_mount.h"
#include "base/page_cache.h"
#include "base/sys.h"
#include "base/tar.h"
#include "drivers/graph/erofs_layer.h"
#include "drivers/graph/overlay_driver.h"

namespace gantry::drivers {
namespace {

constexpr const char* kIndexName = "index";
constexpr std::string_view kDirectIo = "directio";
constexpr const char* kIngestedSize = "ingested";

// Read past the page cache the tar's bytes are cached once, as those of the files in it. But what
// was taken in just now is in the cache, and the disk would have to be asked for all of it again.
ErofsImage suited(ErofsImage image) {
  Result<UniqueFd> tar = sys::open(image.devices.front(), O_RDONLY | O_NOFOLLOW);
  if (!tar) return image;
  Result<uint64_t> cached = cached_bytes(tar->get());
  Result<struct stat> st = sys::fstat(tar->get());
  bool mostly = cached && st && st->st_size > 0 && *cached > static_cast<uint64_t>(st->st_size) / 2;
  if (mostly) std::erase(image.options, kDirectIo);
  return image;
}

// Mounts of layers, attached to nothing: for looking into them (publish, diff), and for containers,
// so that those of one image share what is cached of it. Thread-safe.
class LayerMounts {
 public:
  Result<std::shared_ptr<const UniqueFd>> get(const std::string& directory,
                                              const ErofsImage& image) {
    {
      std::lock_guard lock(mutex_);
      auto known = mounts_.find(directory);
      if (known != mounts_.end()) {
        order_.splice(order_.begin(), order_, known->second.place);
        return known->second.mount;
      }
    }
    UniqueFd mount = TRY(mount_erofs(suited(image)));
    auto shared = std::make_shared<const UniqueFd>(std::move(mount));
    std::lock_guard lock(mutex_);
    if (mounts_.contains(directory)) return shared;
    order_.push_front(directory);
    mounts_[directory] = {shared, order_.begin()};
    if (mounts_.size() > kKept) {
      mounts_.erase(order_.back());
      order_.pop_back();
    }
    return shared;
  }
  void forget(const std::string& directory) {
    std::lock_guard lock(mutex_);
    auto known = mounts_.find(directory);
    if (known == mounts_.end()) return;
    order_.erase(known->second.place);
    mounts_.erase(known);
  }

 private:
  static constexpr size_t kKept = 256;
  struct Kept {
    std::shared_ptr<const UniqueFd> mount;
    std::list<std::string>::iterator place;
  };
  std::mutex mutex_;
  std::list<std::string> order_;  // last used first
  std::map<std::string, Kept> mounts_;
};

class Erofs final : public OverlayDriver {
 public:
  Erofs(std::string data_root, std::unique_ptr<LayerDirectories> directories,
        VolatileMounts volatile_mounts, std::vector<std::string> options)
      : OverlayDriver("erofs", std::move(data_root), std::move(directories), volatile_mounts),
        options_(std::move(options)) {}

  Result<IngestedLayer> ingest(const std::string& directory, ByteSource& tar) override;
  Result<LayerInfo> publish(const PublishSpec& spec) override;
  Result<std::unique_ptr<ByteSource>> read_layer(const Digest& chain_id) override;
  Status check_layer(const Digest& chain_id) override;
  Status remove_layer(const std::string& directory) override {
    mounts_.forget(directory);
    return OverlayDriver::remove_layer(directory);
  }

 protected:
  void add_layers(const LayerRecord& top, RootfsSource& source) override {
    for (const std::string& name : top.stack) {
      ErofsImage image = image_of(name);
      // What cannot be mounted here tells its reason to whoever mounts it there.
      if (Result<std::shared_ptr<const UniqueFd>> mount = mounts_.get(name, image); mount)
        image.mounted = fmt::format("/proc/{}/fd/{}", ::getpid(), (*mount)->get());
      source.images.push_back(std::move(image));
    }
  }
  Result<OpenStack> open_stack(const LayerRecord* top) override {
    OpenStack out;
    if (!top) return out;
    for (const std::string& name : top->stack)
      out.held.push_back(TRY(mounts_.get(name, image_of(name)).context("layer {}", name)));
    return out;
  }

 private:
  ErofsImage image_of(const std::string& name) const;
  Status share(int directory, const LayerRecord& record);

  std::vector<std::string> options_;
  LayerMounts mounts_;
  std::mutex share_mutex_;
};

ErofsImage image_in(const LayerDirectories& directories, const std::string& name) {
  std::string path = directories.path() + "/" + name + "/";
  ErofsImage image;
  image.index = path + kIndexName;
  image.devices = {path + kTarName};
  bool side = ::faccessat(directories.fd(), (name + "/" + kSideName).c_str(), F_OK, 0) == 0;
  if (side) image.devices.push_back(path + kSideName);
  return image;
}

ErofsImage Erofs::image_of(const std::string& name) const {
  ErofsImage image = image_in(*directories_, name);
  image.id = name;
  image.options = options_;
  return image;
}

Result<IngestedLayer> Erofs::ingest(const std::string& directory, ByteSource& tar) {
  UniqueFd fresh = TRY(directories_->make_empty(directory));
  uint64_t size = TRY(ingest_archive(fresh.get(), tar));
  TRY(fs::replace_file_at(fresh.get(), kIngestedSize, std::to_string(size)));
  TRY(failpoint("layer.unpacked"));
  return IngestedLayer{directory, size};
}

Result<Digest> digest_of(int file) {
  if (::lseek(file, 0, SEEK_SET) == -1) return error_from_errno(errno, "lseek");
  FdSource source(file);
  Sha256 hash;
  std::vector<char> buffer(256 << 10);
  for (;;) {
    size_t got = TRY(source.read(buffer));
    if (got == 0) return hash.finish();
    hash.update({buffer.data(), got});
  }
}

Result<LayerInfo> Erofs::publish(const PublishSpec& spec) {
  std::shared_ptr<const LayerRecord> parent;
  if (!spec.parent.empty()) parent = TRY(directories_->find(spec.parent));
  OpenStack lower = TRY(open_stack(parent.get()));
  UniqueFd directory = TRY(directories_->open_below(spec.directory));
  TRY(failpoint("layer.settle"));
  LayerRecord record = record_of(spec, parent.get());
  std::string size = TRY(fs::read_file_at(directory.get(), kIngestedSize));
  record.size = std::strtoull(size.c_str(), nullptr, 10);
  UniqueFd index = TRY(sys::openat(directory.get(), kIndexName, O_RDWR | O_CREAT | O_EXCL, 0600));
  IndexedRoot root = TRY(make_index(directory.get(), spec.directory, lower.roots(), index.get()));
  record.root_mode = root.mode;
  record.root_uid = root.uid;
  record.root_gid = root.gid;
  record.index_digest = TRY(digest_of(index.get())).text();
  for (const char* part : {kLogName, kIngestedSize}) TRY(sys::unlinkat(directory.get(), part));
  if (!spec.diff_id.empty()) TRY(share(directory.get(), record));
  TRY(failpoint("layer.settled"));
  TRY(directories_->publish(directory.get(), record));
  return info_of(record);
}

// One tar for all layers of one diff id: the one that was compared with it just now, since an older
// one may be damaged. Whoever has mounted an older one keeps it for as long.
Status Erofs::share(int directory, const LayerRecord& record) {
  std::lock_guard lock(share_mutex_);
  std::vector<std::shared_ptr<const LayerRecord>> layers = TRY(directories_->published());
  for (const auto& other : layers) {
    if (other->diff_id != record.diff_id || other->directory == record.directory) continue;
    Result<UniqueFd> there = directories_->open_below(other->directory);
    if (!there) continue;  // removed meanwhile
    std::string temporary = fmt::format(".{}", kTarName);
    (void)::unlinkat(there->get(), temporary.c_str(), 0);
    TRY(sys::linkat(directory, kTarName, there->get(), temporary));
    TRY(sys::renameat(there->get(), temporary, there->get(), kTarName));
    mounts_.forget(other->directory);
  }
  return {};
}

Result<std::unique_ptr<ByteSource>> Erofs::read_layer(const Digest& chain_id) {
  std::shared_ptr<const LayerRecord> record = TRY(directories_->find(chain_id));
  UniqueFd tar = TRY(
      sys::openat(directories_->fd(), record->directory + "/" + kTarName, O_RDONLY | O_NOFOLLOW));
  (void)::posix_fadvise(tar.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  return std::unique_ptr<ByteSource>(std::make_unique<FdSource>(std::move(tar)));
}

Status Erofs::check_layer(const Digest& chain_id) {
  std::shared_ptr<const LayerRecord> record = TRY(directories_->find(chain_id));
  UniqueFd index = TRY(
      sys::openat(directories_->fd(), record->directory + "/" + kIndexName, O_RDONLY | O_NOFOLLOW));
  Digest found = TRY(digest_of(index.get()));
  if (found.text() == record->index_digest) return {};
  return invalid("its index has the digest {}, not {}", found.text(), record->index_digest);
}

// A layer with a file whose contents do not begin at a page of the tar.
std::string probe_archive(const std::string& contents) {
  StringSink sink;
  tar::Writer writer(sink);
  tar::Entry entry;
  entry.path = "file";
  entry.mode = 0644;
  entry.size = contents.size();
  log::ignored("the archive of the probe", writer.add(entry, contents));
  log::ignored("the archive of the probe", writer.finish());
  return std::move(sink.bytes());
}

struct Probed {
  VolatileMounts volatile_mounts = VolatileMounts::no;
  std::vector<std::string> options;
};

Result<Probed> probe_erofs(const LayerDirectories& directories) {
  std::string name = "probe-" + random_hex(6);
  std::string contents(6000, 'x');
  contents.back() = 'y';
  Result<Probed> works = [&]() -> Result<Probed> {
    TRY(sys::mkdirat(directories.fd(), name, 0700));
    UniqueFd directory = TRY(directories.open_below(name));
    std::string archive = probe_archive(contents);
    MemorySource source(archive);
    (void)TRY(ingest_archive(directory.get(), source));
    UniqueFd index = TRY(sys::openat(directory.get(), kIndexName, O_RDWR | O_CREAT | O_EXCL, 0600));
    (void)TRY(make_index(directory.get(), "", {}, index.get()));
    RootfsSource layers;
    layers.images = {image_in(directories, name)};
    auto check = [&](int root) -> Status {
      std::string text = TRY(fs::read_file_at(root, "file"));
      return text == contents ? Status() : unsupported("files read back wrong");
    };
    // Without it every byte that is read is cached twice.
    for (const std::vector<std::string>& options :
         {std::vector<std::string>{std::string(kDirectIo)}, std::vector<std::string>{}}) {
      layers.images.front().options = options;
      Result<VolatileMounts> mounted = probe_overlay(directories, layers, check);
      if (mounted) return Probed{*mounted, options};
      if (options.empty()) return std::move(mounted).error();
    }
    return internal("unreachable");
  }();
  TRY(fs::remove_tree(directories.fd(), name));
  return works;
}

}  // namespace

Result<std::shared_ptr<GraphDriver>> open_erofs(const std::string& data_root) {
  std::unique_ptr<LayerDirectories> directories =
      TRY(LayerDirectories::open(data_root, "erofs", {kIndexName, kTarName}));
  Result<Probed> works = probe_erofs(*directories);
  if (works)
    return std::shared_ptr<GraphDriver>(std::make_shared<Erofs>(
        data_root, std::move(directories), works->volatile_mounts, works->options));
  Error error = std::move(works).error();
  // Nothing of it is left where another driver is used.
  Result<std::vector<std::string>> layers = directories->all_layers();
  Result<std::vector<std::string>> containers = directories->all_containers();
  bool unused = layers && layers->empty() && containers && containers->empty();
  std::string path = directories->path();
  directories.reset();
  if (unused) TRY(fs::remove_tree(path));
  return std::move(error)
      .context(
          fmt::format("erofs does not work on {} (it needs Linux 6.12, and no tmpfs)", data_root))
      .with_kind(ErrorKind::unsupported);
}

}  // namespace gantry::drivers

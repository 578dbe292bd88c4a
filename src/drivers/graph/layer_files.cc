#include "drivers/graph/layer_files.h"

#include <fcntl.h>
#include <sys/xattr.h>

#include "base/failpoint.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/sys.h"
#include "drivers/graph/layer_tree.h"
#include "drivers/graph/tar_split.h"
#include "drivers/graph/unpack.h"

namespace gantry::drivers {

// ingested.json
struct IngestRecord {
  uint64_t size = 0;
  bool root_opaque = false;
};

namespace {

constexpr const char* kParents = "parents";
constexpr const char* kIngested = "ingested.json";
constexpr int kCreate = O_WRONLY | O_CREAT | O_EXCL;

// Lines up small writes.
class BufferedSink final : public ByteSink {
 public:
  explicit BufferedSink(UniqueFd fd) : file_(std::move(fd)) {}
  Status write(std::string_view bytes) override {
    buffer_ += bytes;
    return buffer_.size() < kFlushAt ? Status() : flush();
  }
  Status flush() {
    TRY(file_.write(buffer_));
    buffer_.clear();
    return {};
  }

 private:
  static constexpr size_t kFlushAt = 64 << 10;
  FdSink file_;
  std::string buffer_;
};

Result<IngestRecord> unpack_into(const LayerDirectories::Fresh& fresh, std::vector<int> lower,
                                 ByteSource& archive) {
  int directory = fresh.directory.get();
  FdSink record(TRY(sys::openat(directory, "archive", kCreate, 0600)));
  SplitRecorder recorder(record);
  BufferedSink parents(TRY(sys::openat(directory, kParents, kCreate, 0600)));
  UnpackTarget target;
  target.root = fresh.diff.get();
  target.lower = std::move(lower);
  target.scratch = fresh.kept.get();
  target.recorder = &recorder;
  target.parents = &parents;
  Unpacked unpacked = TRY(unpack_layer(archive, target));
  TRY(recorder.finish());
  TRY(parents.flush());
  return IngestRecord{unpacked.size, unpacked.root_opaque};
}

// What the layers below have where this one had to make a directory.
enum class Below { fits, leads_elsewhere };

class Settler {
 public:
  Settler(const LayerDirectories::Fresh& layer, std::vector<int> lower)
      : layer_(layer), lower_(lower), tree_(layer.diff.get(), std::move(lower)) {}

  // Takes attributes over, parents before what is in them, up to the first that is no directory
  // below.
  Result<Below> adopt() {
    FdSource list(TRY(sys::openat(layer_.directory.get(), kParents, O_RDONLY)));
    std::string path;
    std::vector<char> buffer(64 << 10);
    for (;;) {
      size_t got = TRY(list.read(buffer));
      if (got == 0) return Below::fits;
      std::string_view bytes(buffer.data(), got);
      for (size_t end; (end = bytes.find('\0')) != bytes.npos; bytes.remove_prefix(end + 1)) {
        path += bytes.substr(0, end);
        Below below = TRY(adopt_one(path));
        if (below != Below::fits) return below;
        path.clear();
      }
      path += bytes;
    }
  }

  // overlayfs knows no opaque root: every name below it is hidden by itself.
  Status hide_below_root() {
    LayerStack below(lower_);
    struct stat before = TRY(sys::fstat(layer_.diff.get()));
    std::vector<std::string> names = TRY(below.list(""));
    for (const std::string& name : names) {
      std::optional<struct stat> st = TRY(stat_entry(layer_.diff.get(), name));
      if (!st) {
        TRY(make_whiteout(layer_.diff.get(), name));
      } else if (S_ISDIR(st->st_mode)) {
        UniqueFd directory = TRY(sys::openat(layer_.diff.get(), name, kOpenDirectory));
        TRY(make_opaque(directory.get()));
      }
    }
    return set_times(layer_.diff.get(), before.st_mtim);
  }

 private:
  static Status set_times(int fd, timespec mtime) {
    const timespec times[2] = {mtime, mtime};
    if (::futimens(fd, times) == -1) return error_from_errno(errno, "futimens");
    return {};
  }

  Result<UniqueFd> attributes_of(const std::string& path, Below& below) {
    if (path.empty()) {
      if (lower_.empty()) return UniqueFd();
      return sys::openat(lower_.front(), ".", kOpenDirectory);
    }
    std::optional<LayerStack::Found> found = TRY(tree_.find_below(path));
    if (!found) return UniqueFd();
    if (S_ISDIR(found->st.st_mode))
      return sys::openat(found->directory.get(), found->name, kOpenDirectory);
    below = Below::leads_elsewhere;
    return UniqueFd();
  }

  Result<Below> adopt_one(const std::string& path) {
    Result<UniqueFd> opened = sys::openat2(layer_.diff.get(), path.empty() ? "." : path,
                                           kOpenDirectory, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    if (!opened) return Below::fits;  // replaced by a later member
    int fd = opened->get();
    char none;
    if (::fgetxattr(fd, kParentXattr, &none, sizeof none) == -1) {
      if (errno == ENODATA) return Below::fits;  // a later member told how it is
      return errno_error(errno, "fgetxattr {}", kParentXattr);
    }
    Below below = Below::fits;
    bool opaque = TRY(is_opaque(fd));
    UniqueFd original;
    if (!opaque) original = TRY(attributes_of(path, below));
    if (below != Below::fits) return below;
    timespec mtime = {};  // the same whenever it is unpacked
    if (original.valid()) {
      TRY(copy_attributes(original.get(), fd));
      mtime = TRY(sys::fstat(original.get())).st_mtim;
    }
    if (::fremovexattr(fd, kParentXattr) == -1 && errno != ENODATA)
      return errno_error(errno, "fremovexattr {}", kParentXattr);
    TRY(set_times(fd, mtime));
    return below;
  }

  const LayerDirectories::Fresh& layer_;
  std::vector<int> lower_;
  LayerTree tree_;
};

// The archive is read from what it was unpacked to, so that stays until the end.
Result<IngestRecord> unpack_again(const LayerDirectories& directories, const std::string& directory,
                                  LayerDirectories::Fresh& layer, std::vector<int> lower) {
  LayerRecord record;
  record.directory = directory;
  std::unique_ptr<ByteSource> archive = TRY(directories.read_archive(record));
  int whole = layer.directory.get();
  TRY(sys::mkdirat(whole, "again", 0700));
  LayerDirectories::Fresh again;
  again.directory = TRY(sys::openat(whole, "again", kOpenDirectory));
  for (const char* part : {"diff", "kept"}) TRY(sys::mkdirat(again.directory.get(), part, 0700));
  again.diff = TRY(sys::openat(again.directory.get(), "diff", kOpenDirectory));
  again.kept = TRY(sys::openat(again.directory.get(), "kept", kOpenDirectory));
  IngestRecord ingested = TRY(unpack_into(again, std::move(lower), *archive));
  for (const char* part : {"diff", "kept", "archive", kParents}) {
    TRY(fs::remove_tree(whole, part));
    TRY(sys::renameat(again.directory.get(), part, whole, part));
  }
  TRY(sys::unlinkat(whole, "again", AT_REMOVEDIR));
  again.directory = std::move(layer.directory);
  layer = std::move(again);
  return ingested;
}

}  // namespace
}  // namespace gantry::drivers

template <>
struct gantry::json::Schema<gantry::drivers::IngestRecord> {
  using T = gantry::drivers::IngestRecord;
  static constexpr Field fields[] = {field<&T::size>("size"),
                                     field<&T::root_opaque>("root_opaque")};
};

namespace gantry::drivers {

Result<IngestedLayer> ingest_files(const LayerDirectories& directories,
                                   const std::string& directory, ByteSource& archive) {
  LayerDirectories::Fresh fresh = TRY(directories.make(directory));
  IngestRecord record = TRY(unpack_into(fresh, {}, archive));
  TRY(fs::replace_file_at(fresh.directory.get(), kIngested, json::dump(record)));
  TRY(failpoint("layer.unpacked"));
  return IngestedLayer{directory, record.size};
}

Result<SettledFiles> settle_files(const LayerDirectories& directories, const std::string& directory,
                                  std::vector<int> lower) {
  SettledFiles out;
  out.layer = TRY(directories.reopen(directory));
  std::string text = TRY(fs::read_file_at(out.layer.directory.get(), kIngested));
  IngestRecord record = TRY(json::parse<IngestRecord>(text).context("layer {}", directory));
  TRY(failpoint("layer.settle"));
  Below below = TRY(Settler(out.layer, lower).adopt());
  if (below == Below::leads_elsewhere) {
    record = TRY(unpack_again(directories, directory, out.layer, lower));
    (void)TRY(Settler(out.layer, lower).adopt());
  }
  if (record.root_opaque) TRY(Settler(out.layer, lower).hide_below_root());
  for (const char* part : {kParents, kIngested})
    TRY(sys::unlinkat(out.layer.directory.get(), part));
  TRY(failpoint("layer.settled"));
  out.size = record.size;
  return out;
}

}  // namespace gantry::drivers

#include "drivers/graph/layer_files.h"

#include <fcntl.h>
#include <sys/xattr.h>

#include <functional>

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
  bool depends = false;
};

namespace {

constexpr const char* kParents = "parents";
constexpr const char* kWhiteouts = "whiteouts";
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

Result<IngestRecord> unpack_into(const LayerDirectories::Fresh& fresh, Lower known,
                                 std::vector<int> lower, ByteSource& archive) {
  int directory = fresh.directory.get();
  FdSink record(TRY(sys::openat(directory, "archive", kCreate, 0600)));
  SplitRecorder recorder(record);
  BufferedSink parents(TRY(sys::openat(directory, kParents, kCreate, 0600)));
  BufferedSink whiteouts(TRY(sys::openat(directory, kWhiteouts, kCreate, 0600)));
  UnpackTarget target;
  target.root = fresh.diff.get();
  target.known = known;
  target.lower = std::move(lower);
  target.scratch = fresh.kept.get();
  target.recorder = &recorder;
  target.parents = &parents;
  target.whiteouts = &whiteouts;
  Unpacked unpacked = TRY(unpack_layer(archive, target));
  TRY(recorder.finish());
  TRY(parents.flush());
  TRY(whiteouts.flush());
  return IngestRecord{unpacked.size, unpacked.root_opaque, unpacked.depends};
}

// Visits the strings of a file that a NUL byte ends each.
Status each_path(int directory, const char* file,
                 const std::function<Status(const std::string&)>& visit) {
  FdSource list(TRY(sys::openat(directory, file, O_RDONLY)));
  std::string path;
  std::vector<char> buffer(64 << 10);
  for (;;) {
    size_t got = TRY(list.read(buffer));
    if (got == 0) return {};
    std::string_view bytes(buffer.data(), got);
    for (size_t end; (end = bytes.find('\0')) != bytes.npos; bytes.remove_prefix(end + 1)) {
      path += bytes.substr(0, end);
      TRY(visit(path));
      path.clear();
    }
    path += bytes;
  }
}

class Settler {
 public:
  Settler(const LayerDirectories::Fresh& layer, std::vector<int> lower)
      : layer_(layer), lower_(lower), tree_(layer.diff.get(), std::move(lower)) {}

  // Whether a directory was made where the layers below have a symbolic link.
  Result<bool> goes_through_link() {
    LayerStack below(lower_);
    bool found = false;
    if (lower_.empty()) return found;
    TRY(each_path(layer_.directory.get(), kParents, [&](const std::string& path) -> Status {
      if (found) return {};
      std::optional<LayerStack::Found> there = TRY(below.find(path));
      found = there && S_ISLNK(there->st.st_mode);
      return {};
    }));
    return found;
  }

  // Takes attributes over, parents before what is in them.
  Status adopt() {
    return each_path(layer_.directory.get(), kParents,
                     [&](const std::string& path) { return adopt_one(path); });
  }

  Status drop_vain_whiteouts() {
    return each_path(layer_.directory.get(), kWhiteouts, [&](const std::string& path) -> Status {
      size_t slash = path.rfind('/');
      std::string parent = slash == std::string::npos ? "." : path.substr(0, slash);
      std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
      Result<UniqueFd> directory = sys::openat2(layer_.diff.get(), parent, kOpenDirectory,
                                                RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
      if (!directory) return {};  // replaced by a later member
      std::optional<struct stat> st = TRY(stat_entry(directory->get(), name));
      if (!st || !is_whiteout(*st)) return {};
      std::optional<LayerStack::Found> below = TRY(tree_.find_below(path));
      if (below) return {};
      struct stat before = TRY(sys::fstat(directory->get()));
      TRY(sys::unlinkat(directory->get(), name));
      return set_times(directory->get(), before.st_mtim);
    });
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

  Result<UniqueFd> attributes_of(const std::string& path) {
    if (path.empty()) {
      if (lower_.empty()) return UniqueFd();
      return sys::openat(lower_.front(), ".", kOpenDirectory);
    }
    std::optional<LayerStack::Found> found = TRY(tree_.find_below(path));
    if (!found) return UniqueFd();
    if (!S_ISDIR(found->st.st_mode)) return UniqueFd();  // the directory hides it
    return sys::openat(found->directory.get(), found->name, kOpenDirectory);
  }

  Status adopt_one(const std::string& path) {
    Result<UniqueFd> opened = sys::openat2(layer_.diff.get(), path.empty() ? "." : path,
                                           kOpenDirectory, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    if (!opened) return {};  // replaced by a later member
    int fd = opened->get();
    char none;
    if (::fgetxattr(fd, kParentXattr, &none, sizeof none) == -1) {
      if (errno == ENODATA) return {};  // a later member told how it is
      return errno_error(errno, "fgetxattr {}", kParentXattr);
    }
    bool opaque = TRY(is_opaque(fd));
    UniqueFd original;
    if (!opaque) original = TRY(attributes_of(path));
    timespec mtime = {};  // the same whenever it is unpacked
    if (original.valid()) {
      TRY(copy_attributes(original.get(), fd));
      mtime = TRY(sys::fstat(original.get())).st_mtim;
    }
    if (::fremovexattr(fd, kParentXattr) == -1 && errno != ENODATA)
      return errno_error(errno, "fremovexattr {}", kParentXattr);
    return set_times(fd, mtime);
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
  IngestRecord ingested = TRY(unpack_into(again, Lower::known, std::move(lower), *archive));
  for (const char* part : {"diff", "kept", "archive", kParents, kWhiteouts}) {
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
  static constexpr Field fields[] = {field<&T::size>("size"), field<&T::root_opaque>("root_opaque"),
                                     field<&T::depends>("depends")};
};

namespace gantry::drivers {

Result<IngestedLayer> ingest_files(const LayerDirectories& directories,
                                   const std::string& directory, ByteSource& archive) {
  LayerDirectories::Fresh fresh = TRY(directories.make(directory));
  IngestRecord record = TRY(unpack_into(fresh, Lower::unknown, {}, archive));
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
  bool through_link = TRY(Settler(out.layer, lower).goes_through_link());
  if (through_link || record.depends)
    record = TRY(unpack_again(directories, directory, out.layer, lower));
  if (record.root_opaque) TRY(Settler(out.layer, lower).hide_below_root());
  TRY(Settler(out.layer, lower).adopt());
  TRY(Settler(out.layer, lower).drop_vain_whiteouts());
  for (const char* part : {kParents, kWhiteouts, kIngested})
    TRY(sys::unlinkat(out.layer.directory.get(), part));
  TRY(failpoint("layer.settled"));
  out.size = record.size;
  return out;
}

}  // namespace gantry::drivers

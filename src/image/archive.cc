#include "image/archive.h"

#include <fcntl.h>

#include <limits>

#include "base/sys.h"
#include "base/tar.h"
#include "image/compression.h"
#include "image/manifest.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxMembers = 200'000;
constexpr int kMaxLinks = 16;

// Copies every byte of the archive to the file.
class Spool final : public tar::RawObserver {
 public:
  explicit Spool(int fd) : fd_(fd) {}
  Status literal(std::string_view bytes) override { return write(bytes); }
  Status payload(std::string_view bytes) override { return write(bytes); }
  uint64_t written() const { return written_; }

 private:
  Status write(std::string_view bytes) {
    written_ += bytes.size();
    return sys::write_all(fd_, bytes).context("temporary file of the archive");
  }
  int fd_;
  uint64_t written_ = 0;
};

class Counted final : public ByteSource {
 public:
  explicit Counted(ByteSource& source) : source_(source) {}
  Result<size_t> read(std::span<char> into) override {
    size_t got = TRY(source_.read(into));
    size_ += static_cast<int64_t>(got);
    return got;
  }
  int64_t size() const { return size_; }

 private:
  ByteSource& source_;
  int64_t size_ = 0;
};

// What comes out of a decoder, as long as it is not out of all proportion to what went in.
class Proportionate final : public ByteSource {
 public:
  Proportionate(ByteSource& plain, const Counted& compressed, LayerLimits limits)
      : plain_(plain), compressed_(compressed), limits_(limits) {
    limits_.max_size = std::numeric_limits<int64_t>::max();
  }
  Result<size_t> read(std::span<char> into) override {
    size_t got = TRY(plain_.read(into));
    size_ += static_cast<int64_t>(got);
    TRY(check_limits(limits_, "the archive", size_, compressed_.size()));
    return got;
  }

 private:
  ByteSource& plain_;
  const Counted& compressed_;
  LayerLimits limits_;
  int64_t size_ = 0;
};

std::string directory_of(std::string_view path) {
  size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? "" : std::string(path.substr(0, slash + 1));
}

}  // namespace

Result<std::unique_ptr<Archive>> Archive::spool(ByteSource& source, const std::string& directory,
                                                const LayerLimits& limits) {
  auto archive = std::make_unique<Archive>();
  archive->file_ = TRY(sys::open(directory, O_TMPFILE | O_RDWR, 0600));
  Counted compressed(source);
  Decompressed plain = TRY(decompress(compressed));
  Proportionate bounded(*plain.source, compressed, limits);
  Spool spool(archive->file_.get());
  tar::Reader reader(bounded, &spool);
  for (;;) {
    std::optional<tar::Entry> entry = TRY(reader.next());
    if (!entry) break;
    std::optional<std::string> path = tar::clean_path(entry->path);
    if (!path) return invalid("archive member \"{}\" leads outside of the archive", entry->path);
    if (archive->members_.size() >= kMaxMembers) return invalid("archive has too many members");
    Member member{spool.written(), reader.payload_size(), ""};
    if (entry->type == tar::Type::symlink || entry->type == tar::Type::hardlink) {
      std::string base = entry->type == tar::Type::symlink ? directory_of(*path) : "";
      std::optional<std::string> target = tar::clean_path(base + entry->link);
      if (!target) return invalid("archive member \"{}\" links outside of the archive", *path);
      member.link = *target;
    } else if (entry->type != tar::Type::regular) {
      continue;
    } else if (entry->extents) {
      return invalid("archive member \"{}\" is sparse", *path);
    }
    archive->members_.insert_or_assign(*path, std::move(member));
  }
  TRY(reader.finish());
  return archive;
}

Result<const Archive::Member*> Archive::resolve(std::string_view path) const {
  std::string name = tar::clean_path(path).value_or("");
  for (int links = 0; links < kMaxLinks; ++links) {
    auto found = members_.find(name);
    if (found == members_.end()) return not_found("the archive has no \"{}\"", path);
    if (found->second.link.empty()) return &found->second;
    name = found->second.link;
  }
  return invalid("archive member \"{}\" is a loop of links", path);
}

bool Archive::contains(std::string_view path) const {
  Result<const Member*> member = resolve(path);
  return member.has_value();
}

Result<uint64_t> Archive::size(std::string_view path) const {
  const Member* member = TRY(resolve(path));
  return member->size;
}

Result<std::unique_ptr<ByteSource>> Archive::open(std::string_view path) const {
  const Member* member = TRY(resolve(path));
  return std::unique_ptr<ByteSource>(
      std::make_unique<FileRangeSource>(file_.get(), member->offset, member->size));
}

Result<std::string> Archive::read(std::string_view path, size_t limit) const {
  std::unique_ptr<ByteSource> source = TRY(open(path));
  return read_all(*source, limit).context("archive member \"{}\"", path);
}

namespace {

using SmallMembers = std::map<std::string, std::string>;

Result<SmallMembers> read_small_members(ByteSource& source) {
  constexpr size_t kMember = 1u << 20;
  constexpr size_t kTotal = 32u << 20;
  SmallMembers members;
  size_t total = 0;
  Decompressed plain = TRY(decompress(source));
  tar::Reader reader(*plain.source);
  for (;;) {
    std::optional<tar::Entry> entry = TRY(reader.next());
    if (!entry) return members;
    std::optional<std::string> path = tar::clean_path(entry->path);
    if (!path || entry->type != tar::Type::regular || entry->size > kMember || entry->extents)
      continue;
    total += entry->size;
    if (total > kTotal) return invalid("the archive has too many small members");
    std::string& contents = members[*path];
    contents.clear();
    for (;;) {
      std::string_view piece = TRY(reader.payload());
      if (piece.empty()) break;
      contents += piece;
    }
  }
}

Status collect_ids(const SmallMembers& members, const Manifest& manifest, int depth,
                   std::vector<Digest>& ids) {
  if (!manifest.is_index()) {
    ids.push_back(TRY(Digest::parse(manifest.config->digest)));
    return {};
  }
  if (depth > 4) return invalid("indexes are nested too deep");
  for (const Descriptor& descriptor : *manifest.manifests) {
    Digest digest = TRY(Digest::parse(descriptor.digest));
    auto found = members.find(blob_path(digest));
    if (found == members.end()) continue;
    Manifest below = TRY(Manifest::parse(found->second));
    TRY(collect_ids(members, below, depth + 1, ids));
  }
  return {};
}

}  // namespace

Result<std::vector<Digest>> archive_image_ids(ByteSource& source) {
  SmallMembers members = TRY(read_small_members(source));
  std::vector<Digest> ids;
  if (auto saved = members.find("manifest.json"); saved != members.end()) {
    auto images = TRY(json::parse<std::vector<SavedImage>>(saved->second));
    for (const SavedImage& image : images) {
      auto config = members.find(tar::clean_path(image.config).value_or(""));
      if (config != members.end()) ids.push_back(Digest::of(config->second));
    }
  } else if (auto index = members.find("index.json"); index != members.end()) {
    Manifest manifest = TRY(Manifest::parse(index->second));
    TRY(collect_ids(members, manifest, 0, ids));
  }
  return ids;
}

}  // namespace gantry::image

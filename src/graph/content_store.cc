#include "graph/content_store.h"

#include <cerrno>

#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/sys.h"

namespace gantry::graph {
namespace {

constexpr size_t kBuffer = 256 << 10;

// "xx/HEX" below blobs/sha256.
std::string relative_path(const Digest& digest) {
  std::string hex = digest.hex();
  return hex.substr(0, 2) + "/" + hex;
}

ContentStore::Info info_of(const Digest& digest, const struct stat& st) {
  return {digest, st.st_size, int64_t{st.st_mtim.tv_sec} * 1'000'000'000 + st.st_mtim.tv_nsec};
}

Result<UniqueFd> open_directory(int dirfd, const std::string& path) {
  return sys::openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

Status sync_directory_at(int dirfd, const std::string& path) {
  UniqueFd directory = TRY(open_directory(dirfd, path));
  return sys::fsync(directory.get());
}

}  // namespace

ContentStore::ContentStore(std::string root, UniqueFd blobs, UniqueFd ingest)
    : root_(std::move(root)), blobs_(std::move(blobs)), ingest_(std::move(ingest)) {}

Result<std::unique_ptr<ContentStore>> ContentStore::open(const std::string& root) {
  TRY(fs::make_directories(root + "/blobs/sha256", 0700));
  TRY(fs::make_directories(root + "/ingest", 0700));
  UniqueFd blobs = TRY(sys::open(root + "/blobs/sha256", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  UniqueFd ingest = TRY(sys::open(root + "/ingest", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  std::vector<std::string> left = TRY(fs::list_directory(ingest.get()));
  for (const std::string& name : left)
    TRY(fs::remove_tree(ingest.get(), name).context("{}/ingest", root));
  return std::unique_ptr<ContentStore>(new ContentStore(root, std::move(blobs), std::move(ingest)));
}

ContentStore::Writer::Writer(const ContentStore* store, UniqueFd file, std::string name)
    : store_(store), file_(std::move(file)), name_(std::move(name)) {}

ContentStore::Writer::Writer(Writer&& other) noexcept
    : store_(other.store_),
      file_(std::move(other.file_)),
      name_(std::exchange(other.name_, {})),
      hash_(std::move(other.hash_)),
      size_(other.size_) {}

ContentStore::Writer::~Writer() {
  if (!name_.empty()) (void)::unlinkat(store_->ingest_.get(), name_.c_str(), 0);
}

Status ContentStore::Writer::write(std::string_view bytes) {
  TRY(failpoint("content.write"));
  TRY(sys::write_all(file_.get(), bytes).context("storing content"));
  hash_.update(bytes);
  size_ += static_cast<int64_t>(bytes.size());
  return {};
}

Result<ContentStore::Info> ContentStore::Writer::commit(const Digest& expected) {
  Digest digest = hash_.finish();
  if (!expected.empty() && digest != expected)
    return invalid("digest mismatch: expected {}, got {}", expected.text(), digest.text());
  if (store_->contains(digest) && ::utimensat(store_->blobs_.get(), relative_path(digest).c_str(),
                                              nullptr, AT_SYMLINK_NOFOLLOW) == 0)
    return store_->stat(digest);

  TRY(failpoint("content.sync"));
  TRY(sys::fsync(file_.get()).context("storing content"));
  std::string directory = digest.hex().substr(0, 2);
  int blobs = store_->blobs_.get();
  if (::mkdirat(blobs, directory.c_str(), 0700) == 0)
    TRY(sys::fsync(blobs));
  else if (errno != EEXIST)
    return errno_error(errno, "storing content: mkdir {}", directory);
  TRY(failpoint("content.rename"));
  TRY(sys::renameat(store_->ingest_.get(), name_, blobs, relative_path(digest)));
  name_.clear();
  TRY(failpoint("content.renamed"));
  TRY(sync_directory_at(blobs, directory));
  return store_->stat(digest);
}

Result<ContentStore::Writer> ContentStore::writer() const {
  TRY(failpoint("content.create"));
  std::string name = random_hex(16);
  UniqueFd file =
      TRY(sys::openat(ingest_.get(), name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0400));
  return Writer(this, std::move(file), std::move(name));
}

Result<ContentStore::Info> ContentStore::put(std::string_view bytes) const {
  Writer out = TRY(writer());
  TRY(out.write(bytes));
  return out.commit();
}

Result<UniqueFd> ContentStore::open_blob(const Digest& digest) const {
  if (digest.empty()) return invalid("content: no digest given");
  Result<UniqueFd> file =
      sys::openat(blobs_.get(), relative_path(digest), O_RDONLY | O_NOFOLLOW | O_NOCTTY);
  if (!file && file.error().code() == ENOENT)
    return not_found("content {} is missing", digest.text());
  return file;
}

Result<std::string> ContentStore::read(const Digest& digest, size_t limit) const {
  UniqueFd file = TRY(open_blob(digest));
  std::string bytes = TRY(sys::read_all(file.get(), limit).context("content {}", digest.text()));
  if (Digest::of(bytes) != digest) return internal("content {} is damaged on disk", digest.text());
  return bytes;
}

Result<ContentStore::Info> ContentStore::stat(const Digest& digest) const {
  if (digest.empty()) return invalid("content: no digest given");
  Result<struct stat> st = sys::fstatat(blobs_.get(), relative_path(digest));
  if (!st) {
    if (st.error().code() == ENOENT) return not_found("content {} is missing", digest.text());
    return std::move(st).error();
  }
  return info_of(digest, *st);
}

bool ContentStore::contains(const Digest& digest) const { return stat(digest).has_value(); }

Status ContentStore::remove(const Digest& digest) const {
  if (digest.empty()) return invalid("content: no digest given");
  TRY(failpoint("content.remove"));
  Status removed = sys::unlinkat(blobs_.get(), relative_path(digest));
  if (!removed && removed.error().code() == ENOENT) return {};
  return removed;
}

Result<std::string> ContentStore::discard(const Digest& digest) const {
  if (digest.empty()) return invalid("content: no digest given");
  std::string name = random_hex(16);
  Status moved = sys::renameat(blobs_.get(), relative_path(digest), ingest_.get(), name);
  if (moved) return name;
  if (moved.error().code() == ENOENT) return std::string();
  return std::move(moved).error();
}

void ContentStore::purge(const std::string& discarded) const {
  log::ignored("freeing content", sys::unlinkat(ingest_.get(), discarded));
}

Result<std::vector<ContentStore::Info>> ContentStore::list() const {
  std::vector<Info> all;
  std::vector<std::string> directories = TRY(fs::list_directory(blobs_.get()));
  for (const std::string& directory : directories) {
    Result<UniqueFd> opened = open_directory(blobs_.get(), directory);
    if (!opened) continue;  // not one of ours
    UniqueFd fd = opened.release();
    std::vector<std::string> names = TRY(fs::list_directory(fd.get()));
    for (const std::string& name : names) {
      Result<Digest> digest = Digest::parse("sha256:" + name);
      if (!digest || name.substr(0, 2) != directory) continue;
      Result<struct stat> st = sys::fstatat(fd.get(), name);
      if (st && S_ISREG(st->st_mode)) all.push_back(info_of(*digest, *st));
    }
  }
  return all;
}

Result<ContentStore::Health> ContentStore::verify(const Digest& digest,
                                                  int64_t expected_size) const {
  Result<UniqueFd> file = open_blob(digest);
  if (!file) {
    if (file.error().kind() == ErrorKind::not_found) return Health::missing;
    return std::move(file).error();
  }
  Sha256 hash;
  int64_t size = 0;
  auto buffer = std::make_unique<char[]>(kBuffer);
  for (;;) {
    Result<size_t> got = sys::read(file->get(), buffer.get(), kBuffer);
    // A sector that cannot be read is damage, not a failure of the check.
    if (!got && got.error().code() == EIO) return Health::corrupt;
    size_t count = TRY(std::move(got));
    if (count == 0) break;
    hash.update({buffer.get(), count});
    size += static_cast<int64_t>(count);
  }
  bool same = hash.finish() == digest && (expected_size < 0 || size == expected_size);
  return same ? Health::sound : Health::corrupt;
}

std::string ContentStore::path(const Digest& digest) const {
  return root_ + "/blobs/sha256/" + relative_path(digest);
}

}  // namespace gantry::graph
